"""Several pods of one attempt on a real Postgres: real workers, killed and stopped as nodes do."""

import asyncio
import os
import signal
from uuid import UUID

import pytest

from codebase_index.api.job import ExitCode, JobState
from codebase_index.api.resource import IndexingJob
from codebase_index.store.errors import FenceLost
from codebase_index.store.jobs.workers import Workers
from tests.store.harness import WorkerHarness, make_tree

FILES = 700


async def _both(
    harness: WorkerHarness, job: IndexingJob
) -> tuple[asyncio.subprocess.Process, asyncio.subprocess.Process]:
    """Start the pod that holds the attempt, and a worker as soon as the list is frozen, as the operator does."""
    leader = await harness.start(job)
    await harness.until(job, lambda row: row.files_total is not None)
    return leader, await harness.start(job, worker_index=1)


async def _working(harness: WorkerHarness, job: IndexingJob) -> None:
    """Wait until the worker has claimed something."""
    async with asyncio.timeout(60):
        while True:
            if await harness.fetch("SELECT FROM work WHERE job_id = $1 AND claimed_by LIKE '%-w1'", job_id(job)):
                return
            await asyncio.sleep(0.01)


def job_id(job: IndexingJob) -> UUID:
    return UUID(job.metadata.uid)


async def _end(*processes: asyncio.subprocess.Process) -> list[int]:
    async with asyncio.timeout(120):
        return [await process.wait() for process in processes]


async def _clean(harness: WorkerHarness) -> set[tuple[object, ...]]:
    """Index with one pod, and forget it."""
    make_tree(harness.root / "tree", FILES)
    job = await harness.job("tree")
    await harness.run(job)
    expected = await harness.index_of(job)
    await harness.fetch("DELETE FROM indexes RETURNING id")
    return expected


async def test_two_pods_make_the_index_of_one(harness: WorkerHarness) -> None:
    expected = await _clean(harness)
    job = await harness.job("tree", parallelism=2)
    leader, worker = await _both(harness, job)
    await _working(harness, job)
    assert await _end(leader, worker) == [ExitCode.DONE, ExitCode.DONE]
    row = await harness.row(job)
    assert (row.state, row.files_indexed, row.files_repeated) == (JobState.COMPLETED, FILES, 0)
    assert row.chunks_created == len(expected)
    assert await harness.index_of(job) == expected


@pytest.mark.parametrize("fault", [signal.SIGKILL, signal.SIGSTOP], ids=["is killed", "hangs"])
async def test_a_worker_that_falls_silent_costs_its_batches_alone(
    harness: WorkerHarness, fault: signal.Signals
) -> None:
    expected = await _clean(harness)
    job = await harness.job("tree", parallelism=2)
    leader, worker = await _both(harness, job)
    await _working(harness, job)
    os.kill(worker.pid, fault)
    assert await _end(leader) == [ExitCode.DONE]
    row = await harness.row(job)
    assert (row.state, row.files_indexed, row.attempt) == (JobState.COMPLETED, FILES, 1)
    assert row.files_repeated < 0.01 * FILES
    assert await harness.index_of(job) == expected
    if fault is signal.SIGSTOP:
        os.kill(worker.pid, signal.SIGCONT)  # it comes back when everything is over, and changes nothing
    await _end(worker)
    assert await harness.index_of(job) == expected


async def test_workers_end_with_their_attempt(harness: WorkerHarness) -> None:
    make_tree(harness.root / "tree", FILES)
    job = await harness.job("tree", parallelism=2)
    leader, worker = await _both(harness, job)
    await _working(harness, job)
    await harness.jobs.cancel(job_id(job))
    assert await _end(leader, worker) == [ExitCode.FENCED, ExitCode.FENCED]


async def test_nobody_joins_an_attempt_that_is_over(harness: WorkerHarness) -> None:
    make_tree(harness.root / "tree", 3)
    job = await harness.job("tree")
    await harness.run(job)
    with pytest.raises(FenceLost):
        await Workers(harness.database).register(job_id(job), 1, "late")
