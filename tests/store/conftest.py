"""Fixtures that run real workers on a real Postgres."""

import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from codebase_index.store.database import Database
from tests.conftest import with_database
from tests.store.harness import WorkerHarness


@pytest.fixture
def harness(database: Database, dsn: str, tmp_path: Path) -> WorkerHarness:
    root = tmp_path / "roots"
    root.mkdir()
    return WorkerHarness(database, dsn, root)


@pytest.fixture
async def empty_database(postgres: str) -> AsyncIterator[str]:
    """The address of a database with nothing in it."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    admin = await asyncpg.connect(postgres)
    await admin.execute(f"CREATE DATABASE {name}")
    yield with_database(postgres, name)
    await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await admin.close()


@pytest.fixture
async def program(empty_database: str) -> AsyncIterator[Database]:
    """A program of the present version that meets that database."""
    database = await Database.open(empty_database, name="program")
    yield database
    await database.close()
