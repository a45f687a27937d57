"""An upgrade while jobs run: the pods of release 0.1.0 go on, or are fenced and resumed, and nothing is lost."""

from collections.abc import AsyncIterator
from uuid import UUID

import asyncpg
import numpy as np
import pytest

from codebase_index.api.job import JobState
from codebase_index.store.catalog.indexes import Indexes
from codebase_index.store.database import Database
from codebase_index.store.ingest import binary_copy
from codebase_index.store.ingest.work import Work
from codebase_index.store.jobs.jobs import Jobs
from codebase_index.store.jobs.workers import HEARTBEAT_TIMEOUT, Workers
from codebase_index.store.query.hybrid_search import Search
from tests.store.release import queries, restore
from tests.support.terms import encode_texts

CHUNKS, HELPERS, INDEXES, JOBS, WORK = map(queries, ("chunks", "helpers", "indexes", "jobs", "work"))
MODEL = "static/minilm-256"
POD = "running-1-a1"


@pytest.fixture
async def pod(empty_database: str) -> AsyncIterator[asyncpg.Connection]:
    """The connection of a pod of the release, in the middle of its work."""
    connection = await asyncpg.connect(empty_database)
    await restore(connection)
    yield connection
    await connection.close()


async def job_named(pod: asyncpg.Connection, name: str) -> UUID:
    job_id: UUID = await pod.fetchval("SELECT id FROM jobs WHERE cr_name = $1", name)
    return job_id


async def commit_batch(pod: asyncpg.Connection, job_id: UUID) -> int:
    """Take and write a batch as the release did; return how many files it had."""
    items = await pod.fetch(WORK["claim"], job_id, 1, POD, 200)
    if not items:
        return 0
    paths, count = [item["path"] for item in items], len(items)
    index_id = await pod.fetchval("SELECT id FROM indexes WHERE source = '/repos/large'")
    fingerprint = await pod.fetchval("SELECT fingerprint FROM files WHERE index_id = $1 LIMIT 1", index_id)
    async with pod.transaction():
        done = await pod.fetch(WORK["mark_done"], job_id, [item["seq"] for item in items], 1)
        first = await pod.fetchval(CHUNKS["reserve_ids"])
        ids = np.arange(first, first + count)
        rows = await pod.fetch(
            CHUNKS["upsert_files"], index_id, fingerprint, job_id, paths, ["python"] * count, [bytes(20)] * count,
            ids.tolist(), [1] * count, [item["size"] for item in items],
        )  # fmt: skip
        files = {row["path"]: row["id"] for row in rows}
        vectors = np.eye(1, 256, dtype=np.float32)
        encoded = [
            (
                files[path],
                binary_copy.encode(
                    [binary_copy.chunk_row((1, 1), [None, "late word", None], [[], [], []])], vectors
                ),
            )
            for path in paths
        ]
        await pod.copy_to_table(
            "chunks",
            columns=binary_copy.CHUNK_COLUMNS,
            format="binary",
            source=binary_copy.chunks(encoded, index_id, ids),
        )
        await pod.copy_to_table(
            "embeddings", columns=binary_copy.VECTOR_COLUMNS, format="binary",
            source=binary_copy.vectors((one for _, one in encoded), MODEL, ids),
        )  # fmt: skip
        terms = encode_texts(["late word"] * count)
        codes = await pod.fetchval("SELECT codes FROM pending_batches WHERE index_id = $1 LIMIT 1", index_id)
        await pod.execute(
            CHUNKS["add_pending"], index_id, count, terms.total_length, [first], [count], terms.vocabulary,
            terms.payload, MODEL, codes * count,
        )  # fmt: skip
        assert await pod.fetchval(CHUNKS["count_batch"], job_id, 1, len(done), 0, count) == job_id
    return count


async def test_a_pod_that_has_its_list_goes_on_to_its_end(pod: asyncpg.Connection, program: Database) -> None:
    job_id = await job_named(pod, "running-1")
    await pod.execute(WORK["release"], job_id, 1, POD)
    assert await commit_batch(pod, job_id) == 200  # what it has prepared is prepared for the old schema
    await program.migrate()
    assert await pod.fetchval(JOBS["heartbeat"], job_id, 1, "embedding", 50.0, "Embedding", 9) == "running"
    while await commit_batch(pod, job_id):
        pass
    async with pod.transaction():
        assert await pod.fetchval(WORK["todo"], job_id) == 0
        index_id = await pod.fetchval("SELECT id FROM indexes WHERE source = '/repos/large'")
        await pod.execute(CHUNKS["sweep"], index_id, job_id, 500)
        await pod.execute(CHUNKS["finish_index"], index_id, job_id)
        assert await pod.fetchval(JOBS["complete"], job_id, 1, "Complete") == job_id
        await pod.execute(CHUNKS["drop_done_work"], job_id)

    row = await Jobs(program, ["code"]).get(job_id)
    assert (row.state, row.files_indexed) == (JobState.COMPLETED, row.files_total)
    (index,) = [one for one in await Indexes(program, ["code"]).list() if one.source == "/repos/large"]
    assert (index.job_id, index.indexed_at is not None) == (job_id, True)
    late = await Search(program).candidates([index.id], vectors={}, terms=["late"], limit=999)
    assert len(late.candidates) == await pod.fetchval("SELECT count(*) FROM chunks WHERE text = 'late word'")
    assert await pod.fetchval("SELECT count(*) FROM files WHERE index_id = $1", index.id) == row.files_total


async def test_a_pod_that_has_no_list_yet_is_fenced_and_its_job_resumed(
    pod: asyncpg.Connection, program: Database
) -> None:
    job_id = await job_named(pod, "blocked-1")
    assert await pod.fetchval(JOBS["heartbeat"], job_id, 1, "scanning", 1.0, "Scanning", None) == "blocked"
    await program.migrate()
    assert await pod.fetchval(JOBS["heartbeat"], job_id, 1, "scanning", 1.0, "Scanning", None) is None
    assert await pod.fetchrow(WORK["freeze_job"], job_id, 1, 1, 0, 0, 0) is None
    row = await Jobs(program, ["other"]).claim(job_id, 2, "blocked-1-a2")
    assert (row.state, row.failures) == (JobState.RUNNING, 0)
    assert await Indexes(program).ensure(row, MODEL) > 0


async def test_workers_of_both_releases_see_each_others_heartbeats(
    pod: asyncpg.Connection, program: Database
) -> None:
    job_id = await job_named(pod, "running-1")
    old, new, workers = "running-1-a1-h1", "running-1-a1-w2", Workers(program)
    await program.migrate()
    assert await pod.fetchval(HELPERS["join"], job_id, 1, old) == job_id
    await workers.register(job_id, 1, new)
    claimed = {name: len(await pod.fetch(WORK["claim"], job_id, 1, name, 20)) for name in (old, new)}
    assert all(claimed.values())

    assert await pod.fetchval(HELPERS["beat"], job_id, 1, old) == job_id
    assert await workers.release_stale(job_id, 1) == 0
    assert await pod.execute(HELPERS["release_silent"], job_id, 1, HEARTBEAT_TIMEOUT) == "UPDATE 0"

    await pod.execute("UPDATE workers SET heartbeat_at = now() - interval '1 hour'")
    await workers.heartbeat(job_id, 1, new)
    assert await workers.release_stale(job_id, 1) == claimed[old]


async def test_a_suspended_job_finds_what_it_had_done(pod: asyncpg.Connection, program: Database) -> None:
    job_id = await job_named(pod, "paused-1")
    before = await pod.fetchrow("SELECT * FROM jobs WHERE id = $1", job_id)
    await program.migrate()
    jobs = Jobs(program, ["code"])
    assert await jobs.admit(job_id, before["attempt"] + 1, 3)
    row = await jobs.claim(job_id, before["attempt"] + 1, "paused-1-a4", before["target"])
    index_id = await Indexes(program).ensure(row, MODEL)
    assert index_id == await pod.fetchval("SELECT id FROM indexes WHERE source = '/repos/paused'")
    assert row.files_indexed + await Work(program).todo(job_id) == row.files_total


async def test_the_operator_of_the_release_may_lead_on_while_the_next_one_starts(
    pod: asyncpg.Connection, program: Database
) -> None:
    waiting, running = await job_named(pod, "waiting-1"), await job_named(pod, "running-1")
    watched = (JOBS["watched"], "code", [waiting])
    await pod.fetch(*watched)
    await program.migrate()
    assert waiting in {row["id"] for row in await pod.fetch(*watched)}
    assert await pod.fetchval(JOBS["admit"], waiting, 1, 3) == 1
    assert await pod.fetchval(JOBS["cancel"], running, "Cancelled") == running
    assert await pod.fetch(INDEXES["list"])
