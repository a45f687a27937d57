"""Slots: granted by the database, which alone sees what every operator has done."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import pytest

from codebase_index.api.job import JobState
from codebase_index.api.resource import IndexingJob
from codebase_index.store.database import Database
from codebase_index.store.errors import StoreUnavailable
from codebase_index.store.jobs.jobs import Jobs, connection_name
from tests.store.jobs.test_jobs import custom_resource, started


async def created(database: Database, count: int, *, repository: str | None = None) -> list[UUID]:
    """Rows of so many new jobs, each for a repository of its own or all for one."""
    resources = [custom_resource(repository or f"/work/{n}", f"job-{n}") for n in range(count)]
    for resource in resources:
        await Jobs(database).create(resource)
    return [UUID(resource.metadata.uid) for resource in resources]


async def test_of_twenty_admissions_at_once_three_are_granted(database: Database, dsn: str) -> None:
    other = await Database.open(dsn, name="second operator", size=8)
    job_ids = await created(database, 20)
    answers = await asyncio.gather(
        *(Jobs(database if n % 2 else other).admit(job_id, 1, 3) for n, job_id in enumerate(job_ids))
    )
    await other.close()
    assert sum(answers) == 3
    rows = (await Jobs(database).get_many(job_ids)).values()
    assert {(row.slot, row.attempt) for row in rows} == {(True, 1), (False, 0)}


async def test_an_admission_is_safe_to_repeat(database: Database) -> None:
    [job_id] = await created(database, 1)
    assert [await Jobs(database).admit(job_id, 1, 1) for _ in range(2)] == [True, True]
    assert (await Jobs(database).get(job_id)).attempt == 1


async def test_two_jobs_of_one_repository_never_have_slots(database: Database) -> None:
    first, second = await created(database, 2, repository="/work/shop")
    assert await Jobs(database).admit(first, 1, 3)
    assert not await Jobs(database).admit(second, 1, 3)
    await Jobs(database).cancel(first)
    assert not await Jobs(database).admit(second, 1, 3), "its pod may still be there"
    assert await Jobs(database).release_slot(first)
    assert await Jobs(database).admit(second, 1, 3)


async def test_jobs_of_other_namespaces_do_not_count(database: Database) -> None:
    [mine] = await created(database, 1)
    body = custom_resource("/work/other", "other").model_dump(mode="json", by_alias=True)
    theirs = IndexingJob.parse({**body, "metadata": {**body["metadata"], "namespace": "elsewhere"}})
    await Jobs(database).create(theirs)
    assert await Jobs(database).admit(mine, 1, 1)
    assert await Jobs(database).admit(UUID(theirs.metadata.uid), 1, 1)


async def test_a_final_job_gets_no_slot(database: Database) -> None:
    [job_id] = await created(database, 1)
    await Jobs(database).cancel(job_id)
    assert not await Jobs(database).admit(job_id, 2, 3)


async def test_a_running_job_keeps_its_slot(database: Database) -> None:
    [job_id] = await created(database, 1)
    await Jobs(database).admit(job_id, 1, 3)
    await Jobs(database).claim(job_id, 1, "p1")
    assert not await Jobs(database).release_slot(job_id)
    assert (await Jobs(database).get(job_id)).slot


async def test_a_blocked_job_can_be_suspended(database: Database) -> None:
    job_id, jobs = await started(database), Jobs(database)
    await jobs.block(job_id, 1, "Waiting for the embedding service")
    assert await jobs.suspend(job_id)
    row = await jobs.get(job_id)
    assert (row.state, row.attempt, row.blocked_since) == (JobState.PENDING, 2, None)


@pytest.mark.parametrize("change", ["fence", "cancel", "suspend"])
async def test_a_pod_that_hangs_in_a_transaction_is_cut_off(database: Database, dsn: str, change: str) -> None:
    """Its node may be lost: neither its successor nor a cancel can wait for the end of its transaction."""
    job_id, jobs = await started(database), Jobs(database)
    changes: dict[str, Callable[[], Awaitable[Any]]] = {
        "fence": lambda: jobs.fence(job_id, 2, failed=False, message="Restarting"),
        "cancel": lambda: jobs.cancel(job_id),
        "suspend": lambda: jobs.suspend(job_id),
    }
    pod = await Database.open(dsn, name=connection_name("indexer", job_id, "p1"))
    with pytest.raises(StoreUnavailable):
        async with pod.transaction() as connection:
            await connection.execute("SELECT 1 FROM jobs WHERE id = $1 FOR UPDATE", job_id)
            async with asyncio.timeout(3):  # the server itself would end it after 5 s
                assert await changes[change]()
            await connection.execute("SELECT 1")
    await pod.close()


async def test_a_program_that_stands_still_in_a_transaction_loses_its_locks(database: Database) -> None:
    job_id = await started(database)
    with pytest.raises(StoreUnavailable):
        async with database.transaction() as connection:
            await connection.execute("SELECT 1 FROM jobs WHERE id = $1 FOR UPDATE", job_id)
            ended = asyncio.Event()  # after 5 s
            connection.add_termination_listener(lambda _: ended.set())
            await asyncio.wait_for(ended.wait(), 30)
            await connection.execute("SELECT 1")
