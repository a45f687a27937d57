"""Fixtures that several suites share: a real Postgres outside the cluster, a fresh database for each test."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator

import asyncpg
import pytest
from hypothesis import HealthCheck, settings

from codebase_index.store.database import Database
from tests.support.postgres import COPY, running

pytest_plugins = ["tests.support.cluster", "tests.support.embedded"]

# How long an example takes says how busy the machine is. The rest stays as it is: in CI the same in every run.
settings.register_profile("any-machine", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any-machine")


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The address of a real Postgres with pgvector, started for this run and removed after it."""
    with running() as uri:
        asyncio.run(_make_template(uri))
        yield uri


async def _make_template(uri: str) -> None:
    """Migrate one database; each test gets a copy of it, which is a fraction of the work of a migration."""
    connection = await asyncpg.connect(uri)
    await connection.execute("CREATE DATABASE migrated")
    await connection.close()
    database = await Database.open(with_database(uri, "migrated"), name="template")
    await database.migrate()
    await database.close()


def with_database(uri: str, name: str) -> str:
    """Return the address with another database name."""
    head, _, query = uri.partition("?")
    return head.rsplit("/", 1)[0] + "/" + name + (f"?{query}" if query else "")


@pytest.fixture
async def dsn(postgres: str) -> AsyncIterator[str]:
    """The address of a migrated, empty database of this test's own."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    admin = await asyncpg.connect(postgres)
    await admin.execute(f"CREATE DATABASE {name} {COPY}")
    yield with_database(postgres, name)
    await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await admin.close()


@pytest.fixture
async def database(dsn: str) -> AsyncIterator[Database]:
    """A pool on this test's own database."""
    database = await Database.open(dsn, name="test")
    yield database
    await database.close()
