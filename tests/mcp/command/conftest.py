"""The command as a process, beside a real server over HTTP on a real database: one for all tests of this folder,
since a server takes seconds to start. Before each test the database is emptied.
"""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from tests.conftest import with_database
from tests.mcp.http_server import run_server


@pytest.fixture(scope="session")
async def dsn_of_all(postgres: str) -> AsyncIterator[str]:
    admin = await asyncpg.connect(postgres)
    await admin.execute("CREATE DATABASE of_commands TEMPLATE migrated")
    yield with_database(postgres, "of_commands")
    await admin.execute("DROP DATABASE of_commands WITH (FORCE)")
    await admin.close()


@pytest.fixture
async def dsn(dsn_of_all: str) -> str:
    """The address of the database, which is empty now."""
    connection = await asyncpg.connect(dsn_of_all)
    tables = await connection.fetchval(
        "SELECT string_agg(tablename, ', ') FROM pg_tables WHERE schemaname = 'public'"
        " AND tablename NOT IN ('job_transitions', 'schema_migrations')"
    )
    await connection.execute(f"TRUNCATE {tables}")
    await connection.close()
    return dsn_of_all


@pytest.fixture(scope="session")
def root_of_all(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("roots")


@pytest.fixture
def roots(root_of_all: Path) -> Path:
    """The one configured root, with a repository `shop` and a file."""
    (root_of_all / "shop").mkdir(exist_ok=True)
    (root_of_all / "a-file").write_text("not a directory")
    return root_of_all


@pytest.fixture(scope="session")
async def url_of_all(
    environment_of: Callable[..., dict[str, str]], dsn_of_all: str, root_of_all: Path
) -> AsyncIterator[str]:
    async with run_server(environment_of(dsn_of_all, root_of_all)) as (url, _):
        yield url


@pytest.fixture
def url(url_of_all: str, dsn: str) -> str:
    """The address of the server, whose database is empty now."""
    return url_of_all


@dataclass(frozen=True)
class Ended:
    """How the command ended."""

    code: int | None
    out: str
    err: str

    def json(self) -> Any:
        """What it wrote for a program."""
        return json.loads(self.out)


ENDS_WITHIN = 180
"""Seconds: a bound for a machine that is busy. On one that is not, a command takes one or two."""

Command = Callable[..., Awaitable[Ended]]


@pytest.fixture
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty home folder: no kubeconfig, no clients, no embedded server."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture
def surroundings(home: Path) -> dict[str, str]:
    """The environment of a person who has nothing yet."""
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "PYTHONPATH", "LANG")}
    return {**kept, "HOME": str(home), "CODEBASE_DATA": str(home / "data")}


@pytest.fixture
def command(surroundings: dict[str, str], url: str) -> Command:
    """Run a sub-command against the server."""

    async def command(*arguments: str, **variables: str) -> Ended:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "codebase_cli", *arguments,
            env={**surroundings, "CODEBASE_URL": url, **variables},
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, err = await asyncio.wait_for(process.communicate(), ENDS_WITHIN)
        return Ended(process.returncode, out.decode(), err.decode())

    return command
