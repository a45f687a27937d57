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
from tests.store.harness import Bench, make_tree

FILES = 700


async def _both(bench: Bench, job: IndexingJob) -> tuple[asyncio.subprocess.Process, asyncio.subprocess.Process]:
    """Start the pod that holds the attempt, and a helper as soon as the list is frozen, as the operator does."""
    holder = await bench.start(job)
    await bench.until(job, lambda row: row.files_total is not None)
    return holder, await bench.start(job, helper=1)


async def _working(bench: Bench, job: IndexingJob) -> None:
    """Wait until the helper has claimed something."""
    async with asyncio.timeout(60):
        while True:
            if await bench.fetch("SELECT FROM work WHERE job_id = $1 AND claimed_by LIKE '%-w1'", job_id(job)):
                return
            await asyncio.sleep(0.01)


def job_id(job: IndexingJob) -> UUID:
    return UUID(job.metadata.uid)


async def _end(*processes: asyncio.subprocess.Process) -> list[int]:
    async with asyncio.timeout(120):
        return [await process.wait() for process in processes]


async def _clean(bench: Bench) -> set[tuple[object, ...]]:
    """Index with one pod, and forget it."""
    make_tree(bench.root / "tree", FILES)
    job = await bench.job("tree")
    await bench.run(job)
    expected = await bench.index_of(job)
    await bench.fetch("DELETE FROM indexes RETURNING id")
    return expected


async def test_two_pods_make_the_index_of_one(bench: Bench) -> None:
    expected = await _clean(bench)
    job = await bench.job("tree", parallelism=2)
    holder, helper = await _both(bench, job)
    await _working(bench, job)
    assert await _end(holder, helper) == [ExitCode.DONE, ExitCode.DONE]
    row = await bench.row(job)
    assert (row.state, row.files_indexed, row.files_repeated) == (JobState.COMPLETED, FILES, 0)
    assert row.chunks_created == len(expected)
    assert await bench.index_of(job) == expected


@pytest.mark.parametrize("fault", [signal.SIGKILL, signal.SIGSTOP], ids=["is killed", "hangs"])
async def test_a_helper_that_falls_silent_costs_its_batches_alone(bench: Bench, fault: signal.Signals) -> None:
    expected = await _clean(bench)
    job = await bench.job("tree", parallelism=2)
    holder, helper = await _both(bench, job)
    await _working(bench, job)
    os.kill(helper.pid, fault)
    assert await _end(holder) == [ExitCode.DONE]
    row = await bench.row(job)
    assert (row.state, row.files_indexed, row.attempt) == (JobState.COMPLETED, FILES, 1)
    assert row.files_repeated < 0.01 * FILES
    assert await bench.index_of(job) == expected
    if fault is signal.SIGSTOP:
        os.kill(helper.pid, signal.SIGCONT)  # it comes back when everything is over, and changes nothing
    await _end(helper)
    assert await bench.index_of(job) == expected


async def test_helpers_end_with_their_attempt(bench: Bench) -> None:
    make_tree(bench.root / "tree", FILES)
    job = await bench.job("tree", parallelism=2)
    holder, helper = await _both(bench, job)
    await _working(bench, job)
    await bench.jobs.cancel(job_id(job))
    assert await _end(holder, helper) == [ExitCode.FENCED, ExitCode.FENCED]


async def test_nobody_joins_an_attempt_that_is_over(bench: Bench) -> None:
    make_tree(bench.root / "tree", 3)
    job = await bench.job("tree")
    await bench.run(job)
    with pytest.raises(FenceLost):
        await Workers(bench.database).register(job_id(job), 1, "late")
