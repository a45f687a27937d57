"""What a job cannot read stays as it was in the index: no permission, or a disk that does not answer."""

import asyncio
import os
from contextlib import ExitStack
from datetime import timedelta
from uuid import UUID

import pytest

from codebase_index.api.job import ErrorType, ExitCode, JobState
from tests.chaos.faults.mounts import hanging_share
from tests.store.harness import WorkerHarness
from tests.store.indexer.changing_source import (
    MOMENTS,
    commit,
    completed,
    equals_a_new_index,
    grow,
    strike,
    struck,
)


@MOMENTS
async def test_an_unreadable_repository_ends_the_job_and_keeps_the_index(
    unprivileged: WorkerHarness, share: float
) -> None:
    folder = unprivileged.root / "tree"
    grow(folder, "first")
    job, before = await completed(unprivileged)
    try:
        code, row = await struck(unprivileged, share, lambda: folder.chmod(0))
    finally:
        folder.chmod(0o755)
    assert (code, row.error_type) == (ExitCode.FAILED, ErrorType.SOURCE_UNREADABLE.value)
    assert "the index keeps what it had" in (row.error_message or "")
    assert await unprivileged.index_of(job) == before


@pytest.mark.parametrize("share", [None, 0.1, 0.5], ids=["before the scan", "at 10 %", "at 50 %"])
@pytest.mark.parametrize("tracked", [False, True], ids=["plain", "git"])
async def test_files_of_an_unreadable_folder_stay_as_they_were(
    unprivileged: WorkerHarness, share: float | None, tracked: bool
) -> None:
    folder = unprivileged.root / "tree"
    grow(folder, "first")
    if tracked:
        commit(folder, "first")
    job, before = await completed(unprivileged)
    closed = folder / "package_9"  # the last one in path order
    try:
        if share is None:
            closed.chmod(0)
            code, row = await unprivileged.run(await unprivileged.job("tree"))
        else:
            code, row = await struck(unprivileged, share, lambda: closed.chmod(0))
    finally:
        closed.chmod(0o755)
    assert (code, row.state) == (ExitCode.DONE, JobState.COMPLETED), row.message
    assert "unreadable files kept as they were" in row.message
    assert await unprivileged.index_of(job) == before


async def test_a_file_that_cannot_be_read_any_more_stays_as_it_was(unprivileged: WorkerHarness) -> None:
    folder = unprivileged.root / "tree"
    grow(folder, "first", range(60))
    job, before = await completed(unprivileged)
    file = folder / "package_3" / "module_20.py"
    file.write_text("changed = True\n")
    file.chmod(0)
    code, row = await unprivileged.run(await unprivileged.job("tree"))
    assert (code, row.state) == (ExitCode.DONE, JobState.COMPLETED)
    assert "1 skipped (1 not readable), 1 unreadable files kept as they were" in row.message
    assert await unprivileged.index_of(job) == before
    file.chmod(0o644)
    await unprivileged.run(await unprivileged.job("tree"))
    assert await equals_a_new_index(unprivileged, job)


async def test_a_file_that_became_unfit_is_removed(harness: WorkerHarness) -> None:
    folder = harness.root / "tree"
    grow(folder, "first", range(20))
    job, _ = await completed(harness)
    (folder / "package_3" / "module_3.py").write_bytes(b"\0binary")
    (folder / ".gitignore").write_text("module_4.py\n")
    code, row = await harness.run(await harness.job("tree"))
    assert (code, row.state) == (ExitCode.DONE, JobState.COMPLETED)
    assert "2 deleted files removed" in row.message
    assert await equals_a_new_index(harness, job)


@pytest.mark.skipif(os.getuid() != 0, reason="only root may mount")
async def test_a_disk_that_hangs_holds_up_neither_the_heartbeat_nor_a_cancel(slow: WorkerHarness) -> None:
    folder = slow.root / "tree"
    grow(folder, "first")
    job, before = await completed(slow)
    again = await slow.job("tree", forceReindex=True)
    with ExitStack() as mounts:
        share = hanging_share(os.getpid(), str(folder))
        process = await strike(slow, again, 0.5, lambda: mounts.enter_context(share))
        then = (await slow.row(again)).heartbeat_at
        assert then is not None
        later = then + timedelta(seconds=2)
        await slow.until(again, lambda row: row.heartbeat_at is not None and row.heartbeat_at > later)
        assert process.returncode is None
        await slow.jobs.cancel(UUID(again.metadata.uid))
        assert await asyncio.wait_for(process.wait(), 30) == ExitCode.FENCED
    assert await slow.index_of(job) == before
