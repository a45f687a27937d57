"""A folder without git that changes, is replaced or goes away under a job."""

import asyncio
import os
import shutil
import subprocess

import pytest

from codebase_index.api.job import ErrorType, ExitCode, JobState
from tests.store.harness import WorkerHarness
from tests.store.indexer.changing_source import (
    FILES,
    MOMENTS,
    commit,
    completed,
    end_of,
    equals_a_new_index,
    grow,
    replace_by,
    strike,
    struck,
    tmpfs,
)


@MOMENTS
async def test_an_empty_folder_in_the_place_of_the_repository_removes_nothing(
    slow: WorkerHarness, share: float
) -> None:
    folder = slow.root / "tree"
    grow(folder, "first")
    job, before = await completed(slow)
    code, row = await struck(slow, share, lambda: replace_by(folder, None))
    assert (code, row.state, row.error_type) == (ExitCode.FAILED, JobState.FAILED, ErrorType.SOURCE_CHANGED.value)
    assert "the index keeps what it had" in (row.error_message or "")
    assert await slow.index_of(job) == before


async def test_a_repository_that_comes_back_in_time_is_indexed_as_if_nothing_had_been(slow: WorkerHarness) -> None:
    folder = slow.root / "tree"
    grow(folder, "first")
    job, before = await completed(slow)
    again = await slow.job("tree", forceReindex=True)
    process = await strike(slow, again, 0.5, lambda: folder.rename(folder.with_name("away")))
    await asyncio.sleep(2)
    folder.with_name("away").rename(folder)
    code, row = await end_of(slow, again, process)
    assert (code, row.state) == (ExitCode.DONE, JobState.COMPLETED)
    assert (row.files_total, row.files_indexed, row.files_skipped) == (FILES, FILES, 0)
    assert "removed" not in row.message
    assert await slow.index_of(job) == before


@MOMENTS
async def test_another_folder_in_its_place_is_what_is_indexed(slow: WorkerHarness, share: float) -> None:
    folder, other = slow.root / "tree", slow.root / "other"
    grow(folder, "first")
    grow(other, "second", range(100, FILES + 50))
    job, _ = await completed(slow)
    code, row = await struck(slow, share, lambda: replace_by(folder, other))
    assert (code, row.state) == (ExitCode.DONE, JobState.COMPLETED), row.message
    assert row.files_indexed + row.files_skipped == row.files_total
    assert await equals_a_new_index(slow, job)


@pytest.mark.skipif(os.getuid() != 0, reason="only root may mount")
@MOMENTS
async def test_an_unmounted_share_removes_nothing(slow: WorkerHarness, share: float) -> None:
    folder = slow.root / "tree"
    folder.mkdir()
    with tmpfs(folder):
        grow(folder, "first")
        job, before = await completed(slow)
        code, row = await struck(slow, share, lambda: subprocess.run(["umount", "--lazy", folder], check=True))
    assert (code, row.error_type) == (ExitCode.FAILED, ErrorType.SOURCE_CHANGED.value)
    assert await slow.index_of(job) == before


async def test_more_than_half_gone_needs_a_word_of_the_user(harness: WorkerHarness) -> None:
    folder = harness.root / "tree"
    grow(folder, "first", range(60))
    job, before = await completed(harness)
    for number in range(31):
        (folder / f"package_{number % 17}" / f"module_{number}.py").unlink()
    code, row = await harness.run(await harness.job("tree"))
    assert (code, row.error_type) == (ExitCode.FAILED, ErrorType.SOURCE_CHANGED.value)
    assert "holds 29 files to index, and its index has 60" in (row.error_message or "")
    assert "force_reindex" in (row.error_message or "")
    assert await harness.index_of(job) == before
    code, row = await harness.run(await harness.job("tree", forceReindex=True))
    assert (code, row.state) == (ExitCode.DONE, JobState.COMPLETED)
    assert "31 deleted files removed" in row.message
    assert await harness.fetch("SELECT count(*)::int FROM files") == [(29,)]


async def test_more_than_half_ignored_is_removed_by_the_users_word(harness: WorkerHarness) -> None:
    """Files that are there, and not listed: only a second listing tells, and the same word is for that too."""
    folder = harness.root / "tree"
    grow(folder, "first", range(60))
    job, before = await completed(harness)
    (folder / ".mcpignore").write_text("".join(f"module_{number}.py\n" for number in range(31)))
    code, row = await harness.run(await harness.job("tree"))
    assert (code, row.error_type) == (ExitCode.FAILED, ErrorType.SOURCE_CHANGED.value)
    assert before <= await harness.index_of(job)
    code, row = await harness.run(await harness.job("tree", forceReindex=True))
    assert (code, row.state) == (ExitCode.DONE, JobState.COMPLETED)
    assert "31 deleted files removed" in row.message


async def test_a_repository_that_git_was_writing_when_the_job_began_is_listed_again(slow: WorkerHarness) -> None:
    """`git clone` holds index.lock while it checks out, and HEAD is right already: nothing else tells."""
    folder = slow.root / "tree"
    grow(folder, "first", range(FILES // 2))
    commit(folder, "half")
    lock = folder / ".git" / "index.lock"
    lock.touch()

    def finish() -> None:
        grow(folder, "first", range(FILES // 2, FILES))
        lock.unlink()

    code, row = await struck(slow, 0.3, finish)
    assert (code, row.state) == (ExitCode.DONE, JobState.COMPLETED)
    assert await slow.fetch("SELECT count(*)::int FROM files") == [(FILES,)]


async def test_a_word_given_for_another_folder_does_not_count(slow: WorkerHarness) -> None:
    folder = slow.root / "tree"
    grow(folder, "first")
    job, before = await completed(slow)
    other = slow.root / "other"
    grow(other, "second", range(FILES // 3))
    code, row = await struck(slow, 0.5, lambda: replace_by(folder, other))
    assert (code, row.error_type) == (ExitCode.FAILED, ErrorType.SOURCE_CHANGED.value)
    assert {row[0] for row in await slow.index_of(job)} == {row[0] for row in before}


async def test_a_folder_emptied_under_a_forced_job_removes_nothing(slow: WorkerHarness) -> None:
    """In place: it is the same folder, and only what vanished tells that the user's word was for another state."""
    folder = slow.root / "tree"
    grow(folder, "first")
    job, before = await completed(slow)

    def empty() -> None:
        for package in range(1, 17):
            shutil.rmtree(folder / f"package_{package}")

    code, row = await struck(slow, 0.3, empty)
    assert (code, row.error_type) == (ExitCode.FAILED, ErrorType.SOURCE_CHANGED.value)
    assert "its index has 2,000: more than half is missing" in (row.error_message or "")
    assert {row[0] for row in await slow.index_of(job)} == {row[0] for row in before}


async def test_files_deleted_while_a_job_runs_are_removed_by_it(slow: WorkerHarness) -> None:
    folder = slow.root / "tree"
    grow(folder, "first")
    job, before = await completed(slow)
    late = [f"package_{n % 17}/module_{n}.py" for n in range(FILES) if n % 17 == 9]  # the last in path order

    def delete() -> None:
        shutil.rmtree(folder / "package_9")

    code, row = await struck(slow, 0.1, delete)
    assert (code, row.state) == (ExitCode.DONE, JobState.COMPLETED)
    assert f"{len(late):,} deleted files removed" in row.message
    assert await slow.index_of(job) == {one for one in before if one[0] not in late}
