"""A repository that changes or goes away while a job reads it: real workers, real folders, real mounts, real git.

Whatever happens, the index is right, or as it was; never smaller than the truth, and never a mixture that is said
to be complete.
"""

import asyncio
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from codebase_index.api.job import ExitCode, JobState
from codebase_index.api.resource import IndexingJob
from codebase_index.store.jobs.rows import JobRow
from tests.store.harness import WorkerHarness

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
