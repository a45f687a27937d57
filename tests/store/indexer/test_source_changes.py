"""A repository that changes or goes away while a job reads it: real workers, real folders, real mounts, real git.

Whatever happens, the index is right, or as it was; never smaller than the truth, and never a mixture that is said
to be complete.
"""

import asyncio
import json
import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from codebase_index.api.job import ErrorType, ExitCode, JobState
from codebase_index.api.resource import IndexingJob
from codebase_index.store.jobs.rows import JobRow
from tests.chaos.faults.mounts import hanging_share
from tests.store.harness import WorkerHarness
from tests.store.indexer.test_pipeline import lay_cable

FILES = 2_000
"""So many that a batch holds several."""

MOMENTS = pytest.mark.parametrize("share", [0.1, 0.5, 0.95], ids=["at 10 %", "at 50 %", "at 95 %"])

IDENTITY = {
    "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@example.org",
    "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@example.org",
}  # fmt: skip


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    environment = {**os.environ, **IDENTITY}
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout.strip()


def grow(folder: Path, word: str, numbers: range = range(FILES)) -> None:
    """Write small files, each with its own content."""
    for number in numbers:
        path = folder / f"package_{number % 17}" / f"module_{number}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"def {word}_{number}(value):\n    return value * {number}\n")


def commit(folder: Path, message: str) -> str:
    if not (folder / ".git").exists():
        git(folder, "init", "--quiet", "--initial-branch=main")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", f"--message={message}")
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture
def slow(harness: WorkerHarness, tmp_path: Path) -> WorkerHarness:
    """The harness, with a disk that needs 1 ms for each file: time enough to strike between two of them."""
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "sitecustomize.py").write_text(
        "import sys, time\n"
        "if any('pool import serve' in argument for argument in sys.orig_argv):\n"
        "    import codebase_indexer.pipeline.files as files\n"
        "    read = files._read\n"
        "    files._read = lambda *path: (time.sleep(0.001), read(*path))[1]\n"
    )
    harness.env["PYTHONPATH"] = str(tmp_path / "disk")
    return harness


async def completed(harness: WorkerHarness, **spec: Any) -> tuple[IndexingJob, set[tuple[Any, ...]]]:
    """Index the folder `tree`; return the job, and what its index holds."""
    job = await harness.job("tree", **spec)
    code, row = await harness.run(job)
    assert (code, row.state) == (ExitCode.DONE, JobState.COMPLETED), row.message
    return job, await harness.index_of(job)


async def struck(
    harness: WorkerHarness, share: float, fault: Callable[[], object], **spec: Any
) -> tuple[int, JobRow]:
    """Index `tree` again, with a fault when so much is done; return the exit code, and the job's row."""
    job = await harness.job("tree", forceReindex=True, **spec)
    return await end_of(harness, job, await strike(harness, job, share, fault))


async def strike(
    harness: WorkerHarness, job: IndexingJob, share: float, fault: Callable[[], object], **how: Any
) -> asyncio.subprocess.Process:
    process = await harness.start(job, **how)
    row = await harness.until(job, lambda row: row.files_indexed >= share * (row.files_total or FILES))
    assert row.files_indexed < (row.files_total or 0), "the job was over before the fault"
    fault()
    return process


async def end_of(
    harness: WorkerHarness, job: IndexingJob, process: asyncio.subprocess.Process
) -> tuple[int, JobRow]:
    code = await asyncio.wait_for(process.wait(), 120)
    return code, await harness.row(job)


async def equals_a_new_index(harness: WorkerHarness, job: IndexingJob) -> bool:
    """Compare an index with one that is made from nothing, of what is there now."""
    found = await harness.index_of(job)
    await harness.fetch("DELETE FROM indexes RETURNING id")
    _, expected = await completed(harness)
    return found == expected


@contextmanager
def tmpfs(folder: Path) -> Iterator[None]:
    """Mount a share over a folder; the block may have unmounted it."""
    subprocess.run(["mount", "-t", "tmpfs", "none", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=False, capture_output=True)


def replace_by(folder: Path, other: Path | None) -> Path:
    """Rename a folder away, and another one, or an empty one, into its place; return where it is now."""
    away = folder.with_name("away")
    folder.rename(away)
    if other:
        other.rename(folder)
    else:
        folder.mkdir()
    return away


# --- outside of git ----------------------------------------------------------------------------------


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


# --- git ---------------------------------------------------------------------------------------------


@MOMENTS
async def test_a_checkout_under_a_job_ends_in_the_index_of_its_commit(slow: WorkerHarness, share: float) -> None:
    folder = slow.root / "tree"
    grow(folder, "first")
    commit(folder, "first")
    git(folder, "checkout", "--quiet", "-b", "other")
    grow(folder, "second", range(0, FILES, 3))
    shutil.rmtree(folder / "package_3")
    grow(folder / "more", "third", range(40))
    other = commit(folder, "second")
    git(folder, "checkout", "--quiet", "main")
    job, _ = await completed(slow)
    code, row = await struck(slow, share, lambda: git(folder, "checkout", "--quiet", "other"))
    assert (code, row.state, row.commit) == (ExitCode.DONE, JobState.COMPLETED, other)
    assert row.files_indexed + row.files_skipped == row.files_total
    assert [r["commit"] for r in await slow.fetch("SELECT commit FROM indexes")] == [other]
    assert await equals_a_new_index(slow, job)


@MOMENTS
async def test_another_repository_in_its_place_is_what_is_indexed(slow: WorkerHarness, share: float) -> None:
    folder, other = slow.root / "tree", slow.root / "other"
    grow(folder, "first")
    commit(folder, "first")
    grow(other, "second", range(FILES // 4))  # git says that the rest was deleted
    there = commit(other, "second")
    job, _ = await completed(slow)
    code, row = await struck(slow, share, lambda: replace_by(folder, other))
    assert (code, row.state, row.commit) == (ExitCode.DONE, JobState.COMPLETED, there), row.message
    assert await equals_a_new_index(slow, job)


async def test_a_link_that_leads_to_another_folder_is_another_repository(slow: WorkerHarness) -> None:
    old, new = slow.root / "revision-1", slow.root / "revision-2"
    grow(old, "first")
    commit(old, "first")
    grow(new, "second")
    there = commit(new, "second")
    link = slow.root / "tree"
    link.symlink_to(old.name)
    job, _ = await completed(slow)

    def flip() -> None:
        (slow.root / "next").symlink_to(new.name)
        (slow.root / "next").rename(link)
        shutil.rmtree(old)

    code, row = await struck(slow, 0.5, flip)
    assert (code, row.state, row.commit) == (ExitCode.DONE, JobState.COMPLETED, there), row.message
    assert await equals_a_new_index(slow, job)


async def test_what_a_commit_deletes_needs_no_word_of_the_user(harness: WorkerHarness) -> None:
    folder = harness.root / "tree"
    grow(folder, "first", range(60))
    commit(folder, "first")
    job, _ = await completed(harness)
    for number in range(50):
        (folder / f"package_{number % 17}" / f"module_{number}.py").unlink()
    commit(folder, "second")
    code, row = await harness.run(await harness.job("tree"))
    assert (code, row.state) == (ExitCode.DONE, JobState.COMPLETED)
    assert "50 deleted files removed" in row.message
    assert len({one[0] for one in await harness.index_of(job)}) == 10


async def test_files_that_git_has_and_the_disk_has_not_are_missing(harness: WorkerHarness) -> None:
    folder = harness.root / "tree"
    grow(folder, "first", range(60))
    commit(folder, "first")
    job, before = await completed(harness)
    for package in folder.glob("package_*"):
        shutil.rmtree(package)
    (folder / "left.py").write_text("left = True\n")
    code, row = await harness.run(await harness.job("tree"))
    assert (code, row.error_type) == (ExitCode.FAILED, ErrorType.SOURCE_CHANGED.value)
    assert await harness.index_of(job) == before


async def test_a_commit_without_changes_costs_no_file(slow: WorkerHarness) -> None:
    folder = slow.root / "tree"
    grow(folder, "first")
    commit(folder, "first")
    _, before = await completed(slow)
    job = await slow.job("tree", forceReindex=True)
    moved: list[str] = []
    process = await strike(
        slow, job, 0.5, lambda: moved.append(git(folder, "commit", "--allow-empty", "--quiet", "-m", "x") or "x")
    )
    code, row = await end_of(slow, job, process)
    assert (code, row.state, row.commit) == (ExitCode.DONE, JobState.COMPLETED, git(folder, "rev-parse", "HEAD"))
    assert (row.files_total, row.files_indexed) == (FILES, FILES)
    assert await slow.index_of(job) == before


# --- what cannot be read -----------------------------------------------------------------------------


@pytest.fixture
async def unprivileged(slow: WorkerHarness, tmp_path: Path) -> AsyncIterator[WorkerHarness]:
    """The harness, with workers that may not read everything."""
    cable = await lay_cable(slow, tmp_path)  # without its capabilities root can not reach Postgres either
    if os.getuid() == 0:
        slow.prefix = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]
    yield slow
    await cable.cut()


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


# --- other nodes -------------------------------------------------------------------------------------


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


# --- a disk that does not answer ---------------------------------------------------------------------


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
