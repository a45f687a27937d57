"""The job service over a custom resource API in memory; the database is real, away, or refuses."""

import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from codebase_index.api.source_policy import Root, SourcePolicy
from codebase_index.store.database import Database
from codebase_index.store.ingest.work import Work
from codebase_index.store.jobs.jobs import Jobs
from codebase_mcp.jobs.service import JobService
from tests.unit.server.jobs.memory_cluster import MemoryCluster


@pytest.fixture
def cluster() -> MemoryCluster:
    return MemoryCluster()


@pytest.fixture
def repository(tmp_path: Path) -> str:
    (tmp_path / "shop").mkdir()
    return str(tmp_path / "shop")


@pytest.fixture
def service_on(cluster: MemoryCluster, tmp_path: Path) -> Callable[[Database], JobService]:
    def service_on(database: Database) -> JobService:
        policy = SourcePolicy((Root(PurePosixPath(tmp_path), tmp_path),), frozenset({"git.example.org"}))
        return JobService(policy, cluster, Jobs(database), Work(database))

    return service_on


@pytest.fixture
def service(service_on: Callable[[Database], JobService], database: Database) -> JobService:
    return service_on(database)


@pytest.fixture
async def without_database(service_on: Callable[[Database], JobService]) -> AsyncIterator[JobService]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    database = await Database.open(f"postgresql://u:p@127.0.0.1:{port}/x", name="test", timeout=2)
    yield service_on(database)
    await database.close()


@pytest.fixture
async def refusing(service_on: Any, database: Database) -> AsyncIterator[JobService]:
    """A service whose database has another schema."""
    async with database.connection() as connection:
        await connection.execute("ALTER TABLE jobs RENAME TO elsewhere")
    yield service_on(database)
