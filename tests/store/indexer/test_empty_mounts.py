"""A node on which the repository's folder is empty: nothing is removed for it."""

import asyncio
import json
import signal
from pathlib import Path

import pytest

from codebase_index.api.job import ErrorType, ExitCode, JobState
from tests.store.harness import WorkerHarness
from tests.store.indexer.changing_source import FILES, MOMENTS, commit, completed, end_of, grow


def elsewhere(harness: WorkerHarness, tmp_path: Path) -> str:
    """The root of a node on which the repository's folder is empty."""
    (tmp_path / "elsewhere" / "tree").mkdir(parents=True)
    return json.dumps([{"path": "/repos", "mount": str(tmp_path / "elsewhere")}])


@pytest.mark.parametrize("tracked", [False, True], ids=["plain", "git"])
@MOMENTS
async def test_an_attempt_that_resumes_on_an_empty_mount_removes_nothing(
    slow: WorkerHarness, tmp_path: Path, share: float, tracked: bool
) -> None:
    folder = slow.root / "tree"
    grow(folder, "first")
    if tracked:
        commit(folder, "first")
    _, before = await completed(slow)
    job = await slow.job("tree", forceReindex=True)
    process = await slow.start(job)
    await slow.until(job, lambda row: row.files_indexed >= share * FILES)
    process.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(process.wait(), 60) == ExitCode.STOPPED
    slow.env["CODEBASE_ROOTS"] = elsewhere(slow, tmp_path)
    code, row = await slow.run(job, attempt=2)
    assert (code, row.error_type) == (ExitCode.FAILED, ErrorType.SOURCE_CHANGED.value)
    assert await slow.index_of(job) == before


async def test_a_worker_on_an_empty_mount_costs_nothing(slow: WorkerHarness, tmp_path: Path) -> None:
    grow(slow.root / "tree", "first")
    _, before = await completed(slow)
    job = await slow.job("tree", forceReindex=True, parallelism=2)
    holder = await slow.start(job)
    await slow.until(job, lambda row: row.files_total is not None)
    slow.env["CODEBASE_ROOTS"] = elsewhere(slow, tmp_path)
    worker = await slow.start(job, worker_index=1)
    code, row = await end_of(slow, job, holder)
    assert (code, row.state) == (ExitCode.DONE, JobState.COMPLETED)
    assert (row.files_indexed, row.files_skipped) == (FILES, 0)
    assert row.files_repeated < 0.05 * FILES
    assert await asyncio.wait_for(worker.wait(), 60) == ExitCode.FAILED
    assert await slow.index_of(job) == before
