"""Rows that deleted custom resources left behind: which ones are found, and what may be deleted."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from codebase_index.api.resource import IndexingJob
from codebase_index.store.database import Database
from codebase_index.store.ingest.work import ScanEntry, Work
from codebase_index.store.jobs.jobs import Jobs
from tests.store.jobs.test_jobs import count, custom_resource, started

WEEK = timedelta(days=7)


async def cancelled(database: Database, name: str, ago: timedelta, namespace: str = "code") -> UUID:
    """A job of its own repository that was cancelled so long ago and has no slot."""
    created = datetime.now(UTC).isoformat()
    metadata = {"name": name, "namespace": namespace, "uid": str(uuid4()), "creationTimestamp": created}
    job = IndexingJob.parse({"metadata": metadata, "spec": {"source": {"path": f"/work/{name}"}}})
    await Jobs(database).create(job)
    await Jobs(database).cancel(UUID(job.metadata.uid))
    async with database.connection() as connection:
        await connection.execute(
            "UPDATE jobs SET cancelled_at = now() - $2::interval WHERE id = $1", UUID(job.metadata.uid), ago
        )
    return UUID(job.metadata.uid)


async def test_only_final_rows_without_a_resource_are_found_the_oldest_first(database: Database) -> None:
    older = await cancelled(database, "older", 3 * WEEK)
    old = await cancelled(database, "old", WEEK)
    kept = await cancelled(database, "kept", 9 * WEEK)
    await cancelled(database, "young", WEEK - timedelta(minutes=5))
    await cancelled(database, "elsewhere", 9 * WEEK, namespace="other")
    await started(database, custom_resource("/work/active", "active"))
    jobs = Jobs(database)
    assert list(await jobs.orphans("code", [kept], WEEK, 10)) == [older, old]
    assert list(await jobs.orphans("code", [kept], WEEK, 1)) == [older]


async def test_a_row_with_a_slot_is_neither_found_nor_deleted(database: Database) -> None:
    job_id, jobs = await cancelled(database, "old", WEEK), Jobs(database)
    async with database.connection() as connection:
        await connection.execute("UPDATE jobs SET slot = true WHERE id = $1", job_id)
    assert await jobs.orphans("code", [], WEEK, 10) == {}
    assert not await jobs.delete(job_id)
    assert await jobs.release_slot(job_id)
    assert list(await jobs.orphans("code", [], WEEK, 10)) == [job_id]
    assert await jobs.delete(job_id)


async def test_a_row_goes_with_its_work_list(database: Database) -> None:
    job_id, jobs = await started(database), Jobs(database)
    await Work(database).freeze(job_id, 1, [ScanEntry("a.py", 3), ScanEntry("b.bin", 3, "binary")])
    await jobs.cancel(job_id)
    await jobs.release_slot(job_id)
    assert await jobs.delete(job_id)
    assert await count(database, "work") == await count(database, "jobs") == 0


async def test_an_active_row_is_not_deleted(database: Database) -> None:
    job_id = await started(database)
    assert not await Jobs(database).delete(job_id)
