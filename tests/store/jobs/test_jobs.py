import asyncio
from datetime import UTC, datetime
from uuid import UUID, uuid4

import asyncpg
import numpy as np
import pytest

from codebase_index.api.job import FINAL, TRANSITIONS, JobState, Phase
from codebase_index.api.resource import IndexingJob
from codebase_index.store.catalog.indexes import Indexes
from codebase_index.store.database import Database
from codebase_index.store.errors import (
    AnotherJobRuns,
    FenceLost,
    IllegalTransition,
    JobNotFound,
    StoreUnavailable,
)
from codebase_index.store.ingest.batch import Chunk, IndexedFile, SkippedFile, UnchangedFile
from codebase_index.store.ingest.chunks import Chunks, Writer
from codebase_index.store.ingest.sweep import Sweep
from codebase_index.store.ingest.work import ScanEntry, Work
from codebase_index.store.jobs.jobs import Jobs, Progress
from tests.support.terms import packed


def custom_resource(path: str = "/work/shop", name: str = "shop-1") -> IndexingJob:
    return IndexingJob.parse(
        {
            "metadata": {
                "name": name, "namespace": "code", "uid": str(uuid4()),
                "creationTimestamp": datetime.now(UTC).isoformat(),
            },
            "spec": {"source": {"path": path}},
        }
    )  # fmt: skip


async def started(database: Database, job: IndexingJob | None = None) -> UUID:
    """A job whose first attempt is claimed by pod `p1`."""
    job = job or custom_resource()
    jobs, job_id = Jobs(database), UUID(job.metadata.uid)
    await jobs.create(job)
    assert await jobs.fence(job_id, 1, failed=False, message="Starting")
    await jobs.claim(job_id, 1, "p1")
    return job_id


async def test_the_database_holds_the_same_transitions_as_the_code(database: Database) -> None:
    async with database.connection() as connection:
        rows = await connection.fetch("SELECT from_state, to_state FROM job_transitions")
    assert {(r[0], r[1]) for r in rows} == {(a.value, b.value) for a, to in TRANSITIONS.items() for b in to}


@pytest.mark.parametrize("state", sorted(FINAL))
async def test_a_final_state_is_never_left(database: Database, state: JobState) -> None:
    job_id = await started(database)
    extra = {"completed": "completed_at = now()", "cancelled": "cancelled_at = now()"}
    extra["failed"] = "completed_at = now(), error_type = 'x'"
    async with database.connection() as connection:
        await connection.execute(f"UPDATE jobs SET state = '{state}', {extra[state]} WHERE id = $1", job_id)
    with pytest.raises(IllegalTransition):
        async with database.connection() as connection:
            await connection.execute("UPDATE jobs SET state = 'running' WHERE id = $1", job_id)


async def test_progress_never_falls_even_when_a_worker_reports_less(database: Database) -> None:
    job_id, jobs = await started(database), Jobs(database)
    await jobs.heartbeat(job_id, 1, Progress(Phase.EMBEDDING, 40, "far"))
    await jobs.heartbeat(job_id, 1, Progress(Phase.EMBEDDING, 12, "less"))
    assert (await jobs.get(job_id)).percent == 40


@pytest.mark.parametrize("column", ["attempt", "files_indexed", "chunks_created"])
async def test_the_database_refuses_a_counter_that_falls(database: Database, column: str) -> None:
    job_id = await started(database)
    async with database.connection() as connection:
        await connection.execute(f"UPDATE jobs SET {column} = 5 WHERE id = $1", job_id)
        with pytest.raises(asyncpg.CheckViolationError, match="never fall"):
            await connection.execute(f"UPDATE jobs SET {column} = 4 WHERE id = $1", job_id)


async def test_fencing_twice_with_one_number_is_one_fence(database: Database) -> None:
    job_id, jobs = await started(database), Jobs(database)
    assert await jobs.fence(job_id, 2, failed=True, message="again")
    assert await jobs.fence(job_id, 2, failed=True, message="again")
    row = await jobs.get(job_id)
    assert (row.attempt, row.failures, row.pod) == (2, 1, None)


async def test_a_fence_that_skips_a_number_is_refused(database: Database) -> None:
    job_id, jobs = await started(database), Jobs(database)
    assert not await jobs.fence(job_id, 3, failed=False, message="")


async def test_the_old_attempt_can_write_nothing_after_the_fence(database: Database) -> None:
    job_id, jobs = await started(database), Jobs(database)
    await Work(database).freeze(job_id, 1, [ScanEntry("a.py", 3)])
    item = (await Work(database).claim(job_id, 1, "p1", 1))[0]
    writer = await writer_for(database, job_id, 1)
    await jobs.fence(job_id, 2, failed=False, message="replaced")
    for write in (
        jobs.heartbeat(job_id, 1, Progress(Phase.EMBEDDING, 50, "zombie")),
        jobs.set_commit(job_id, 1, "c0ffee"),
        jobs.block(job_id, 1, "x"),
        jobs.fail(job_id, 1, "InternalError", "x"),
        jobs.claim(job_id, 1, "p1"),
        Work(database).claim(job_id, 1, "p1", 1),
        Work(database).freeze(job_id, 1, []),
        Chunks(database).commit_batch(writer, packed([indexed(item.seq, "a.py")])),
        Sweep(database).remove(writer, []),
    ):
        with pytest.raises(FenceLost, match="no action needed"):
            await write
    assert await count(database, "chunks") == 0


async def test_after_a_cancel_nothing_can_be_written(database: Database) -> None:
    job_id, jobs = await started(database), Jobs(database)
    await Work(database).freeze(job_id, 1, [ScanEntry("a.py", 3)])
    item = (await Work(database).claim(job_id, 1, "p1", 1))[0]
    writer = await writer_for(database, job_id, 1)
    cancelled = await jobs.cancel(job_id)
    assert cancelled.state is JobState.CANCELLED and cancelled.cancelled_at and not cancelled.completed_at
    with pytest.raises(FenceLost):
        await Chunks(database).commit_batch(writer, packed([indexed(item.seq, "a.py")]))


async def test_a_commit_and_a_cancel_at_once_leave_all_or_nothing(database: Database) -> None:
    for _ in range(10):
        job_id = await started(database, custom_resource(path=f"/work/{uuid4()}"))
        await Work(database).freeze(job_id, 1, [ScanEntry("a.py", 3)])
        item = (await Work(database).claim(job_id, 1, "p1", 1))[0]
        writer = await writer_for(database, job_id, 1)
        outcomes = await asyncio.gather(
            Chunks(database).commit_batch(writer, packed([indexed(item.seq, "a.py")])),
            Jobs(database).cancel(job_id),
            return_exceptions=True,
        )
        row = await Jobs(database).get(job_id)
        assert row.state is JobState.CANCELLED
        committed = outcomes[0] is None
        async with database.connection() as connection:
            chunks = await connection.fetchval("SELECT count(*) FROM chunks WHERE index_id = $1", writer.index_id)
        assert row.files_indexed == int(committed) and (chunks > 0) == committed


@pytest.mark.parametrize(
    ("end", "words"),
    [
        ("cancel", "is already cancelled"),
        ("fail", "is failed"),
    ],
)
async def test_a_final_job_refuses_a_cancel_in_the_contract_s_words(
    database: Database, end: str, words: str
) -> None:
    job_id, jobs = await started(database), Jobs(database)
    await (jobs.cancel(job_id) if end == "cancel" else jobs.fail(job_id, 1, "InternalError", "why"))
    with pytest.raises(IllegalTransition, match=f"cannot cancel: job {job_id} {words}"):
        await jobs.cancel(job_id)


async def test_an_unknown_job_is_named_in_the_error(database: Database) -> None:
    with pytest.raises(JobNotFound, match="job not found: 00000000-"):
        await Jobs(database).cancel(UUID(int=0))


async def test_two_jobs_of_one_target_never_run_at_once(database: Database) -> None:
    await started(database, custom_resource(name="one"))
    with pytest.raises(AnotherJobRuns):
        await started(database, custom_resource(name="two"))


async def test_several_pods_claim_disjoint_files_and_all_of_them(database: Database) -> None:
    job_id, work = await started(database), Work(database)
    await work.freeze(job_id, 1, [ScanEntry(f"f{i}.py", 1) for i in range(60)])

    async def drain(pod: str) -> list[int]:
        mine: list[int] = []
        while items := await work.claim(job_id, 1, pod, 4):
            mine += [item.seq for item in items]
        return mine

    claimed = await asyncio.gather(*(drain(f"p{n}") for n in range(3)))
    assert sorted(seq for mine in claimed for seq in mine) == list(range(60))


@pytest.mark.parametrize("statistics", ["fresh", "none"])
async def test_a_claim_never_takes_more_than_it_asks_for(database: Database, statistics: str) -> None:
    """Postgres may evaluate a locking subquery once a row, and then its LIMIT limits nothing."""
    job_id, work = await started(database), Work(database)
    await work.freeze(job_id, 1, [ScanEntry(f"f{i}.py", 1) for i in range(1500)])
    if statistics == "fresh":
        async with database.connection() as connection:
            await connection.execute("ANALYZE work")
    sizes = [len(await work.claim(job_id, 1, f"p{n % 3}", 7)) for n in range(20)]
    assert sizes == [7] * 20


async def test_a_restarted_worker_gets_back_what_its_predecessor_held(database: Database) -> None:
    job_id, work = await started(database), Work(database)
    await work.freeze(job_id, 1, [ScanEntry("a.py", 1), ScanEntry("b.py", 1)])
    await work.claim(job_id, 1, "p1", 1)
    assert [i.path for i in await work.claim(job_id, 1, "p1", 5)] == ["b.py"]
    assert await work.repeated(job_id, 1) == 0
    await work.release(job_id, 1, "p1")
    assert await work.repeated(job_id, 1) == 2  # they will be
    assert [i.path for i in await work.claim(job_id, 1, "p1", 5)] == ["a.py", "b.py"]
    assert await work.repeated(job_id, 1) == 2


async def test_a_new_attempt_claims_what_the_old_one_held(database: Database) -> None:
    job_id, work = await started(database), Work(database)
    await work.freeze(job_id, 1, [ScanEntry("a.py", 1)])
    await work.claim(job_id, 1, "p1", 1)
    await Jobs(database).fence(job_id, 2, failed=False, message="")
    await Jobs(database).claim(job_id, 2, "p2")
    assert await work.repeated(job_id, 2) == 1
    assert [i.path for i in await work.claim(job_id, 2, "p2", 5)] == ["a.py"]


async def test_a_frozen_list_is_not_replaced(database: Database) -> None:
    job_id, work = await started(database), Work(database)
    assert await work.freeze(job_id, 1, [ScanEntry("a.py", 1), ScanEntry("b.bin", 1, "binary")])
    assert not await work.freeze(job_id, 1, [ScanEntry("other.py", 1)])
    row = await Jobs(database).get(job_id)
    assert (row.files_total, row.files_skipped) == (2, 1)
    assert await work.skipped(job_id, 5) == [("b.bin", "binary")]


async def test_committing_a_batch_twice_counts_it_once(database: Database) -> None:
    job_id = await started(database)
    await Work(database).freeze(job_id, 1, [ScanEntry("a.py", 1), ScanEntry("b.py", 1)])
    items = await Work(database).claim(job_id, 1, "p1", 2)
    writer = await writer_for(database, job_id, 1)
    batch = packed([indexed(items[0].seq, "a.py"), SkippedFile(items[1].seq, "binary")])
    await Chunks(database).commit_batch(writer, batch)
    await Chunks(database).commit_batch(writer, batch)
    row = await Jobs(database).get(job_id)
    assert (row.files_indexed, row.files_skipped, row.chunks_created) == (1, 1, 2)
    assert await count(database, "chunks") == await count(database, "embeddings") == 2


async def test_a_job_with_files_left_is_never_completed(database: Database) -> None:
    job_id = await started(database)
    await Work(database).freeze(job_id, 1, [ScanEntry("a.py", 1)])
    writer = await writer_for(database, job_id, 1)
    with pytest.raises(IllegalTransition, match="1 files left"):
        await Chunks(database).complete(writer, "Complete")


async def test_a_second_job_sweeps_what_vanished_and_keeps_what_is_unchanged(database: Database) -> None:
    await run_job(database, custom_resource(name="one"), ["a.py", "gone.py"])
    second = custom_resource(name="two")
    job_id = await started(database, second)
    await Work(database).freeze(job_id, 1, [ScanEntry("a.py", 1)])
    item = (await Work(database).claim(job_id, 1, "p1", 1))[0]
    writer = await writer_for(database, job_id, 1)
    known = (await Chunks(database).stored_files(writer.index_id, ["a.py"]))["a.py"]
    assert known.fingerprint == "test:1" and known.chunks == 2
    await Chunks(database).commit_batch(writer, packed([UnchangedFile(item.seq, known.file_id, known.chunks)]))
    (gone,) = await Sweep(database).unseen(writer)
    assert (gone.path, gone.chunks, gone.skip_reason) == ("gone.py", 2, None)
    assert await Sweep(database).remove(writer, [gone]) == 1
    await Chunks(database).complete(writer, "Complete")
    async with database.connection() as connection:
        assert [r[0] for r in await connection.fetch("SELECT path FROM files")] == ["a.py"]
    assert await count(database, "chunks") == await count(database, "embeddings") == 2
    assert (await Indexes(database).list())[0].indexed_at is not None


async def test_a_suspended_job_keeps_its_progress_and_refuses_its_old_pod(database: Database) -> None:
    job_id, jobs = await started(database), Jobs(database)
    await jobs.heartbeat(job_id, 1, Progress(Phase.EMBEDDING, 33, "x"))
    assert await jobs.suspend(job_id)
    row = await jobs.get(job_id)
    assert (row.state, row.percent, row.attempt, row.pod) == (JobState.PENDING, 33, 2, None)
    with pytest.raises(FenceLost):
        await jobs.heartbeat(job_id, 1, Progress(Phase.EMBEDDING, 40, "x"))


async def test_repeated_work_is_counted_by_file(database: Database) -> None:
    job_id = await started(database)
    await Work(database).freeze(job_id, 1, [ScanEntry("a.py", 1), ScanEntry("b.py", 1)])
    await Work(database).claim(job_id, 1, "p1", 1)
    await Work(database).release(job_id, 1, "p1")
    items = await Work(database).claim(job_id, 1, "p1", 2)
    writer = await writer_for(database, job_id, 1)
    await Chunks(database).commit_batch(writer, packed([indexed(i.seq, i.path) for i in items]))
    await Chunks(database).complete(writer, "Complete")
    assert (await Jobs(database).get(job_id)).files_repeated == 1


async def test_a_database_without_schema_is_unavailable_and_says_who_makes_it(postgres: str) -> None:
    database = await Database.open(postgres, name="test")
    with pytest.raises(StoreUnavailable, match="no schema yet"):
        await Jobs(database).unfinished()
    await database.close()


async def test_an_old_pgvector_is_named_with_what_to_do(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("codebase_index.store.migrate.MIN_PGVECTOR", (99, 1))
    with pytest.raises(StoreUnavailable, match=r"needs 99\.1 or later.*ALTER EXTENSION vector UPDATE"):
        await database.migrate()


async def test_migrating_again_changes_nothing(database: Database) -> None:
    assert await database.migrate() == []


async def run_job(database: Database, job: IndexingJob, paths: list[str]) -> UUID:
    """Run a whole job over files with two chunks each."""
    job_id = await started(database, job)
    await Work(database).freeze(job_id, 1, [ScanEntry(path, 1) for path in paths])
    items = await Work(database).claim(job_id, 1, "p1", len(paths))
    writer = await writer_for(database, job_id, 1)
    await Chunks(database).commit_batch(writer, packed([indexed(i.seq, i.path) for i in items]))
    await Chunks(database).complete(writer, "Complete")
    return job_id


async def writer_for(database: Database, job_id: UUID, attempt: int) -> Writer:
    index_id = await Indexes(database).ensure(await Jobs(database).get(job_id), "static/test")
    return Writer(job_id, attempt, index_id, "static/test", "test:1")


def indexed(seq: int, path: str) -> IndexedFile:
    chunks = [Chunk(n, n, f"f{n}", f"def f{n}(): pass") for n in (1, 2)]
    return IndexedFile(seq, path, "python", bytes(20), chunks, np.eye(2, 256, dtype=np.float32))


async def count(database: Database, table: str) -> int:
    async with database.connection() as connection:
        return int(await connection.fetchval(f"SELECT count(*) FROM {table}"))


async def test_the_last_jobs_of_a_target_come_with_the_time_of_their_clock(database: Database) -> None:
    jobs = Jobs(database)
    resources = [custom_resource(name=f"shop-{number}") for number in (1, 2)]
    target = resources[0].spec.target
    before, runs = await jobs.runs(target, "nobody", 5)
    assert runs == [] and before.tzinfo is not None
    for resource in resources:
        await jobs.create(resource)
    await jobs.cancel(UUID(resources[0].metadata.uid))
    now, runs = await jobs.runs(target, "nobody", 5)
    assert [(str(run.id), run.state) for run in runs] == [
        (resources[1].metadata.uid, JobState.PENDING),
        (resources[0].metadata.uid, JobState.CANCELLED),
    ]
    assert runs[1].ended_at is not None and before < runs[1].ended_at < now
    assert len((await jobs.runs(target, "nobody", 1))[1]) == 1
