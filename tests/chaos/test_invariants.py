"""The checker has to see what is broken: each test breaks one thing and asks for its sentence."""

import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import numpy as np
import pytest

from codebase_index.api.job import JobState
from codebase_index.api.resource import IndexingJob
from codebase_index.store.catalog.indexes import Indexes
from codebase_index.store.database import Database
from codebase_index.store.ingest.batch import Chunk, IndexedFile
from codebase_index.store.ingest.chunks import Chunks, Writer
from codebase_index.store.ingest.work import ScanEntry, Work
from codebase_index.store.jobs.jobs import Jobs, connection_name
from tests.chaos.harness import truth
from tests.chaos.harness.facts import Facts
from tests.chaos.harness.invariants import fenced, legal, monotone, never_over, stored_wrong
from tests.chaos.harness.podwatch import Instant
from tests.chaos.harness.trace import Change, advanced_after, changes, claimed_after, witness
from tests.support.terms import encode, packed

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CHANGE = Change(
    n=1, at=NOW, xid=1, writer="indexer/00000000/job-a1", job_id=UUID(int=1), state=JobState.RUNNING, attempt=1,
    pod="job-a1", slot=True, claimed_at=NOW, percent=20, files_indexed=5, files_skipped=1,
    chunks_created=50, message="",
)  # fmt: skip
NEXT = replace(CHANGE, n=2, at=NOW + timedelta(seconds=1), files_indexed=6, chunks_created=60, percent=30)


def test_a_life_without_faults_breaks_nothing() -> None:
    history = [CHANGE, NEXT, replace(NEXT, n=3, state=JobState.COMPLETED)]
    assert not [*monotone(history), *legal(history, may_be_suspended=False), *fenced(history)]


@pytest.mark.parametrize("counter", ["attempt", "percent", "files_indexed", "files_skipped", "chunks_created"])
def test_falling_progress_is_seen(counter: str) -> None:
    less: dict[str, Any] = {counter: 0}
    assert list(monotone([CHANGE, replace(NEXT, **less)]))


def test_an_illegal_transition_is_seen() -> None:
    ended = replace(CHANGE, state=JobState.CANCELLED)
    assert list(legal([ended, NEXT], may_be_suspended=True)) == ["went from cancelled to running"]


def test_only_a_suspended_job_may_go_back_to_the_queue() -> None:
    history = [CHANGE, replace(NEXT, state=JobState.PENDING)]
    assert list(legal(history, may_be_suspended=False)) and not list(legal(history, may_be_suspended=True))


def test_a_write_of_a_replaced_attempt_is_seen() -> None:
    history = [replace(CHANGE, attempt=2, pod="job-a2"), replace(NEXT, attempt=2, pod="job-a2")]
    assert list(fenced(history)) == ["job-a1 wrote while attempt 2 was that of job-a2"]


def test_a_write_after_the_end_is_seen() -> None:
    history = [replace(CHANGE, state=JobState.CANCELLED), replace(NEXT, state=JobState.CANCELLED)]
    assert list(fenced(history)) == ["job-a1 wrote while the job was cancelled"]


def test_a_fourth_job_with_a_pod_is_seen_at_its_instant() -> None:
    pods = {f"uid-{n}": (f"pod-{n}", f"job-{n}") for n in range(4)}
    three = dict(list(pods.items())[:3])
    assert not never_over(iter([Instant(NOW, three)]), limit=3)
    assert len(never_over(iter([Instant(NOW, three), Instant(NOW, pods), Instant(NOW, three)]), limit=3)) == 1


def test_recovery_is_the_first_claim_or_finished_file_after_the_moment() -> None:
    history = [CHANGE, NEXT, replace(NEXT, n=3, claimed_at=NOW + timedelta(seconds=3))]
    assert claimed_after(history, NOW) == NOW + timedelta(seconds=3)
    assert advanced_after(history, NOW) == NEXT.at
    assert advanced_after(history, NEXT.at) is None


# --- on a real database ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Local:
    """Stands for the cluster: all that the facts need of it is a connection."""

    dsn: str

    async def connect(self) -> asyncpg.Connection:
        return await asyncpg.connect(self.dsn)


@pytest.fixture
async def facts(dsn: str) -> AsyncIterator[Facts]:
    async with Facts.open(Local(dsn)) as facts, witness(facts):  # type: ignore[arg-type]
        yield facts


@pytest.fixture
async def job_id(facts: Facts, dsn: str) -> UUID:
    """A job that indexed one file, by the store's own code."""
    pod, uid = "job-a1", uuid4()
    database = await Database.open(dsn, name=connection_name("indexer", uid, pod))
    body: dict[str, Any] = {
        "metadata": {
            "name": "job",
            "namespace": "test",
            "uid": str(uid),
            "creationTimestamp": NOW.isoformat(),
        },
        "spec": {"source": {"path": "/repository"}},
    }
    job = IndexingJob.parse(body)
    job_id, jobs, work = UUID(job.metadata.uid), Jobs(database), Work(database)
    await jobs.create(job)
    assert await jobs.admit(job_id, 1, 3)
    row = await jobs.claim(job_id, 1, pod)
    await work.freeze(job_id, 1, [ScanEntry("a.py", 10)])
    await work.claim(job_id, 1, pod, 10)
    index_id = await Indexes(database).ensure(row, "static/x")
    writer = Writer(job_id, 1, index_id, "static/x", "1")
    await Chunks(database).commit_batch(writer, packed([FILE], encode([{"one": 1}, {"two": 1}])))
    await Chunks(database).complete(writer, "done")
    assert await jobs.release_slot(job_id)
    await database.close()
    return job_id


FILE = IndexedFile(
    0, "a.py", "python", hashlib.sha1(b"a").digest(),
    [Chunk(1, 2, None, "one"), Chunk(3, 4, "f", "two")],
    np.array([[0.25, 0.5], [0.125, 1.0]], np.float32),
)  # fmt: skip
TRUTH = {"a.py": truth.digest_of(FILE)}


async def test_what_the_store_writes_is_the_truth_and_breaks_nothing(facts: Facts, job_id: UUID) -> None:
    assert await truth.stored(facts, job_id) == TRUTH
    assert await stored_wrong(facts) == []
    history = (await changes(facts, [job_id]))[job_id]
    assert [*monotone(history), *legal(history, may_be_suspended=False), *fenced(history)] == []
    assert [change.state for change in history][-1] is JobState.COMPLETED


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM chunks WHERE symbol IS NULL",
        "DELETE FROM embeddings WHERE chunk_id = (SELECT max(chunk_id) FROM embeddings)",
        "UPDATE chunks SET text = 'other' WHERE symbol = 'f'",
        "UPDATE chunks SET end_line = 9 WHERE symbol = 'f'",
        "UPDATE embeddings SET embedding = '[1, 1]'",
        "INSERT INTO files (index_id, path, blob, fingerprint, first_chunk, chunks, job_id) "
        "SELECT index_id, 'b.py', blob, fingerprint, 0, 0, job_id FROM files",
        "DELETE FROM files",
    ],
)
async def test_a_damaged_index_differs_from_the_truth(facts: Facts, job_id: UUID, damage: str) -> None:
    await facts.script(damage)
    assert truth.differences(TRUTH, await truth.stored(facts, job_id))


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        ("DELETE FROM pending_batches", "2 chunks without terms"),
        (
            "INSERT INTO segments (index_id, chunks, total_length, first_ids, run_lengths, model, codes) "
            "SELECT index_id, chunks, total_length, first_ids, run_lengths, model, codes FROM pending_batches",
            "2 chunks with their terms in two places",
        ),
        ("UPDATE pending_batches SET codes = substr(codes, 3)", "1 parts without a code for each chunk"),
        (
            "UPDATE files SET first_chunk = first_chunk + 1",
            "1 files whose chunks are not the ids from its first one on",
        ),
    ],
)
async def test_chunks_that_search_would_miss_or_mistake_are_seen(
    facts: Facts, job_id: UUID, damage: str, found: str
) -> None:
    await facts.script(damage)
    assert found in await stored_wrong(facts)


async def test_chunks_written_outside_the_fence_are_seen(facts: Facts, job_id: UUID) -> None:
    await facts.script(
        "INSERT INTO chunks SELECT nextval('chunk_ids'), index_id, file_id, 5, 6, NULL, 'x' FROM chunks"
    )
    assert any("without counting them under the fence" in problem for problem in await stored_wrong(facts))


async def test_orphans_are_seen(facts: Facts, job_id: UUID) -> None:
    await facts.script(
        "ALTER TABLE work DROP CONSTRAINT work_job_id_fkey;"
        "INSERT INTO embeddings SELECT -1, model, embedding FROM embeddings LIMIT 1;"
        "UPDATE files SET job_id = gen_random_uuid();"
        "INSERT INTO work (job_id, seq, path, size) VALUES (gen_random_uuid(), 0, 'x', 1)"
    )
    told = " ".join(await stored_wrong(facts))
    assert "1 vectors without a chunk" in told and "1 work rows of no job" in told and "newest job" in told
