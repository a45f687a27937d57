"""Since when a job starts, and how often it was disturbed: what bounds a slot that is held without work."""

from uuid import UUID

import asyncpg

from codebase_index.store.database import Database
from codebase_index.store.jobs.jobs import Jobs
from codebase_index.store.migrate import migrations
from tests.store.jobs.test_jobs import custom_resource


async def created(jobs: Jobs) -> UUID:
    job = custom_resource()
    await jobs.create(job)
    return UUID(job.metadata.uid)


async def set_back(database: Database, job_id: UUID, **columns: str) -> None:
    """Write what a test cannot wait for, as SQL expressions."""
    changes = ", ".join(f"{name} = {value}" for name, value in columns.items())
    async with database.connection() as connection:
        await connection.execute(f"UPDATE jobs SET {changes} WHERE id = $1", job_id)


HOUR_AGO = "now() - interval '1 hour'"


async def test_a_start_begins_with_the_slot_and_not_again_with_each_attempt(database: Database) -> None:
    jobs = Jobs(database)
    job_id = await created(jobs)
    assert (await jobs.get(job_id)).starting_since is None
    assert await jobs.admit(job_id, 1, 3)
    await set_back(database, job_id, starting_since=HOUR_AGO)
    began = (await jobs.get(job_id)).starting_since
    assert await jobs.admit(job_id, 1, 3)  # repeated
    assert await jobs.fence(job_id, 1, failed=False, message="")
    assert await jobs.fence(job_id, 2, failed=False, message="again")
    assert (await jobs.get(job_id)).starting_since == began


async def test_after_a_claim_the_next_attempt_is_a_new_start(database: Database) -> None:
    jobs = Jobs(database)
    job_id = await created(jobs)
    await jobs.admit(job_id, 1, 3)
    await jobs.claim(job_id, 1, "p1")
    await set_back(database, job_id, starting_since=HOUR_AGO)
    began = (await jobs.get(job_id)).starting_since
    assert await jobs.fence(job_id, 1, failed=False, message="")
    assert (await jobs.get(job_id)).starting_since == began  # repeated: nothing has changed
    assert await jobs.fence(job_id, 2, failed=False, message="")
    later = (await jobs.get(job_id)).starting_since
    assert began and later and later > began


async def test_a_suspended_job_starts_anew(database: Database) -> None:
    jobs = Jobs(database)
    job_id = await created(jobs)
    await jobs.admit(job_id, 1, 3)
    await jobs.claim(job_id, 1, "p1")
    await set_back(database, job_id, starting_since=HOUR_AGO, disruptions="7")
    assert await jobs.suspend(job_id)
    assert (await jobs.get(job_id)).starting_since is None
    assert await jobs.release_slot(job_id)
    assert await jobs.admit(job_id, 3, 3)
    row = await jobs.get(job_id)
    assert row.starting_since is not None and row.disruptions == 0


async def test_a_job_that_is_resumed_before_its_slot_was_given_back_starts_anew(database: Database) -> None:
    jobs = Jobs(database)
    job_id = await created(jobs)
    await jobs.admit(job_id, 1, 3)
    await jobs.claim(job_id, 1, "p1")
    await set_back(database, job_id, starting_since=HOUR_AGO)
    began = (await jobs.get(job_id)).starting_since
    await jobs.suspend(job_id)
    assert await jobs.fence(job_id, 2, failed=False, message="Starting")
    later = (await jobs.get(job_id)).starting_since
    assert began and later and later > began


async def test_disruptions_are_counted_in_a_row_until_a_file_more_is_done(database: Database) -> None:
    jobs = Jobs(database)
    job_id = await created(jobs)
    await jobs.admit(job_id, 1, 3)
    for attempt in (2, 3):
        assert await jobs.fence(job_id, attempt, failed=False, message="")
        assert await jobs.fence(job_id, attempt, failed=False, message="")  # repeated: counted once
    assert (await jobs.get(job_id)).disruptions == 2
    await jobs.claim(job_id, 3, "p3")
    await set_back(database, job_id, files_indexed="1")
    await jobs.fence(job_id, 4, failed=False, message="")
    assert (await jobs.get(job_id)).disruptions == 1
    await jobs.fence(job_id, 5, failed=True, message="")
    row = await jobs.get(job_id)
    assert (row.disruptions, row.failures) == (1, 1)


async def test_a_slot_that_was_held_before_the_upgrade_starts_with_it(database: Database) -> None:
    (starts,) = [m for m in migrations() if m.name.endswith("_starts.sql")]
    jobs = Jobs(database)
    waiting, working = await created(jobs), await created(jobs)
    await set_back(database, waiting, slot="true")
    await set_back(database, working, slot="true", pod="'p1'")
    async with database.connection() as connection:
        await connection.execute("ALTER TABLE jobs DROP COLUMN starting_since, DROP COLUMN disruptions")
        await connection.execute(starts.sql)
        found: list[asyncpg.Record] = await connection.fetch("SELECT id, starting_since IS NULL AS none FROM jobs")
    assert {record["id"]: record["none"] for record in found} == {waiting: False, working: True}
