"""A worker over a database that refuses it: it waits, the job says why, and it goes on when that is mended."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import asyncpg
import pytest

from codebase_index.api.job import JobState
from tests.store.harness import WorkerHarness, make_tree

FILES = 40


@pytest.fixture
async def role(harness: WorkerHarness, postgres: str) -> AsyncIterator[str]:
    """A role with a password, that may do what an indexer does."""
    name = f"indexer_{uuid4().hex[:8]}"
    admin = await asyncpg.connect(harness.dsn)
    hba = Path(await admin.fetchval("SHOW hba_file"))
    hba.write_text(f"local all {name} scram-sha-256\n{hba.read_text()}")
    await admin.execute(f"SELECT pg_reload_conf(); CREATE ROLE {name} LOGIN PASSWORD 'first'")
    for what in ("TABLES", "SEQUENCES", "FUNCTIONS"):
        await admin.execute(f"GRANT ALL ON ALL {what} IN SCHEMA public TO {name}")
    yield name
    await admin.execute(f"DROP OWNED BY {name}; DROP ROLE {name}")
    await admin.close()


@pytest.fixture
def address(harness: WorkerHarness, role: str, tmp_path: Path) -> Path:
    """The file that holds the worker's address."""
    file = tmp_path / "url"
    harness.env["CODEBASE_DATABASE_URL_FILE"] = str(file)
    make_tree(harness.root / "shop", FILES)
    write(file, harness, role, "first")
    return file


def write(file: Path, harness: WorkerHarness, role: str, password: str) -> None:
    parts = urlsplit(harness.dsn)
    folder = parse_qs(parts.query)["host"][0]
    file.write_text(f"postgresql://{role}:{password}@{parts.path}?host={folder}")


@pytest.mark.parametrize("table", ["chunks", "pending_batches", "work", "segments"])
async def test_a_right_that_is_missing_blocks_the_job_with_the_reason_until_it_is_granted(
    harness: WorkerHarness, role: str, address: Path, table: str
) -> None:
    await harness.fetch(f"REVOKE INSERT, UPDATE, DELETE ON {table} FROM {role}")
    job = await harness.job("shop")
    process = await harness.start(job)
    try:
        row = await harness.until(job, lambda row: row.state is JobState.BLOCKED)
        assert f"permission denied for table {table}" in row.message and "grant this right" in row.message
        await harness.fetch(f"GRANT ALL ON {table} TO {role}")
        assert await asyncio.wait_for(process.wait(), 120) == 0
    finally:
        if process.returncode is None:
            process.kill()
    row = await harness.row(job)
    assert (row.state, row.files_indexed, row.attempt, row.failures) == (JobState.COMPLETED, FILES, 1, 0)


async def test_a_password_that_is_rotated_under_a_worker_is_read_again(
    harness: WorkerHarness, role: str, address: Path
) -> None:
    await harness.fetch(f"REVOKE INSERT ON chunks FROM {role}")  # so that the work is not over too soon
    job = await harness.job("shop")
    process = await harness.start(job)
    try:
        await harness.until(job, lambda row: row.state is JobState.BLOCKED)
        await harness.fetch(f"ALTER ROLE {role} PASSWORD 'second'")
        await harness.fetch("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1", role)
        await harness.fetch(f"GRANT ALL ON chunks TO {role}")
        await asyncio.sleep(2)
        assert process.returncode is None
        assert (await harness.row(job)).state is JobState.BLOCKED
        write(address, harness, role, "second")
        assert await asyncio.wait_for(process.wait(), 120) == 0
    finally:
        if process.returncode is None:
            process.kill()
    row = await harness.row(job)
    assert (row.state, row.files_indexed, row.attempt) == (JobState.COMPLETED, FILES, 1)
