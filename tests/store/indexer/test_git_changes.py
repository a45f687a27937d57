"""A git repository that changes, is replaced or goes away under a job: git says what was deleted."""

import shutil

from codebase_index.api.job import ErrorType, ExitCode, JobState
from tests.store.harness import WorkerHarness
from tests.store.indexer.changing_source import (
    FILES,
    MOMENTS,
    commit,
    completed,
    end_of,
    equals_a_new_index,
    git,
    grow,
    replace_by,
    strike,
    struck,
)


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
