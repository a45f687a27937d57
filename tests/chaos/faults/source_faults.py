"""Faults of what is indexed: the repository goes away, becomes another one, or cannot be read while a job runs.

A round indexes three repositories, and then all of them once more (force_reindex), so that there is something to
lose. The index has to be right in the end, or as it was, and the job has to say which. The table's times are from
the fault to the job's end.
"""

import asyncio
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    ExitStack,
    asynccontextmanager,
)
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

from codebase_index.api.job import ErrorType, JobState
from tests.chaos.faults.mounts import empty_share, hanging_share, place_in_pod
from tests.chaos.harness import truth
from tests.chaos.harness.cluster import Victim
from tests.chaos.harness.containers import worker
from tests.chaos.harness.invariants import Expected, about, check
from tests.chaos.harness.truth import Digests
from tests.chaos.rounds import JOBS, Bench, Outcome, TooLate, over, repository, row, start, victim_at

FILES = 2_000
"""Small ones: so many that a batch holds several, and yet a job takes seconds."""

LINES = 20
HANG_SECONDS = 20.0
"""Longer than the time that the indexer gives a file."""

MOMENTS = (10, 50, 95)
"""Per cent of the files after which a fault is injected."""

SourceInjector = Callable[[Path, Victim], AbstractAsyncContextManager[None]]
"""Does the fault to a repository that a job reads, and undoes it when the block ends, after the job's end."""


@dataclass(frozen=True)
class SourceFault:
    """A row of the matrix: what is done to a repository, and what has to become of the jobs that read it."""

    name: str
    title: str
    inject: SourceInjector
    share: float  # of the files that are done when it is injected
    error: ErrorType | None  # None: the job completes
    becomes: str | None = None  # the branch that is there afterwards; None: the index is that of before
    counted_from: str = field(default="the fault", init=False)
    nodes: int = field(default=1, init=False)
    limit_seconds: float = 120.0
    repeated_limit: float = 0.01


@asynccontextmanager
async def renamed_away(folder: Path, _: Victim) -> AsyncIterator[None]:
    """Rename the folder away, and put an empty one into its place."""
    away = folder.with_name(f"{folder.name}-away")
    folder.rename(away)
    folder.mkdir()
    try:
        yield
    finally:
        folder.rmdir()
        away.rename(folder)


@asynccontextmanager
async def checked_out(folder: Path, _: Victim) -> AsyncIterator[None]:
    """Check out another branch: files change, come and go, and the commit is another one."""
    await asyncio.to_thread(_git, folder, "checkout", "--quiet", OTHER)
    try:
        yield
    finally:
        await asyncio.to_thread(_git, folder, "checkout", "--quiet", MAIN)


@asynccontextmanager
async def unmounted(folder: Path, victim: Victim) -> AsyncIterator[None]:
    """Leave the pod an empty folder, as an unmounted share does."""
    async with _mounted(empty_share, folder, victim):
        yield


@asynccontextmanager
async def made_unreadable(folder: Path, _: Victim) -> AsyncIterator[None]:
    """Withdraw the right to read the folder."""
    mode = folder.stat().st_mode & 0o7777
    folder.chmod(0)
    try:
        yield
    finally:
        folder.chmod(mode)


@asynccontextmanager
async def slow_disk(folder: Path, victim: Victim) -> AsyncIterator[None]:
    """Let the disk hang for longer than a file may take, and fail what waits for it then."""
    async with _mounted(hanging_share, folder, victim):
        await asyncio.sleep(HANG_SECONDS)
    yield


@asynccontextmanager
async def _mounted(
    share: Callable[[int, str], AbstractContextManager[None]], folder: Path, victim: Victim
) -> AsyncIterator[None]:
    """Mount a share over the folder in the victim's pod, which stands still meanwhile.

    A busy machine takes longer for a mount than a job for its last files. In a thread: the other jobs have their
    moment, too.
    """
    with ExitStack() as mounts:

        def mount() -> None:
            pid = worker(victim.pod.uid).pid
            os.kill(pid, signal.SIGSTOP)
            try:
                environment = Path(f"/proc/{pid}/environ").read_bytes()
                mounts.enter_context(share(pid, place_in_pod(environment, folder)))
            finally:
                os.kill(pid, signal.SIGCONT)

        await asyncio.to_thread(mount)
        yield


async def run_source_faults(bench: Bench, kind: SourceFault) -> list[Outcome]:
    """Run one round of a row, and put the repositories back."""
    folders = await asyncio.to_thread(prepare)
    truths = await asyncio.to_thread(_truths, folders[0])
    problems = await _indexed(bench, folders, truths[MAIN])
    since = datetime.now(UTC)
    job_ids = await start(bench, folders, anew=False)
    injected = await asyncio.gather(
        *(_inject(bench, kind, job_id, folder) for job_id, folder in zip(job_ids, folders, strict=True)),
        return_exceptions=True,  # none may hit the next round
    )
    moments = [_moment(one) for one in injected]
    for job_id in job_ids:
        await _require_noticed(bench, kind, job_id, truths[MAIN])
    state = JobState.FAILED if kind.error else JobState.COMPLETED
    after = truths[kind.becomes or MAIN]
    expected = [Expected(job_id, after, state, repeated_limit=kind.repeated_limit) for job_id in job_ids]
    problems += await check(bench.cluster, bench.facts, bench.pods, expected, since)
    return [
        await _outcome(bench, kind, job_id, moment, about(problems, job_id))
        for job_id, moment in zip(job_ids, moments, strict=True)
    ]


async def _indexed(bench: Bench, folders: Sequence[Path], expected: Digests) -> list[str]:
    """Index the repositories for the first time; return what is wrong with that."""
    since = datetime.now(UTC)
    job_ids = await start(bench, folders)
    await asyncio.gather(*(over(bench, job_id) for job_id in job_ids))
    jobs = [Expected(job_id, expected) for job_id in job_ids]
    return await check(bench.cluster, bench.facts, bench.pods, jobs, since)


async def _inject(bench: Bench, kind: SourceFault, job_id: UUID, folder: Path) -> datetime:
    """Inject the fault into one job at its moment, and wait for its end."""
    victim = await victim_at(bench, job_id, kind.share)
    began = datetime.now(UTC)
    try:
        async with kind.inject(folder, victim):
            await over(bench, job_id)
    except LookupError as error:  # its worker has ended
        raise TooLate(f"job {job_id} was over before the fault: {error}") from error
    return began


def _moment(injected: datetime | BaseException) -> datetime:
    if isinstance(injected, BaseException):
        raise injected
    return injected


async def _require_noticed(bench: Bench, kind: SourceFault, job_id: UUID, before: Digests) -> None:
    """Raise TooLate when a job ended as if nothing had been: the fault struck after its last look.

    An index that differs is no such end: that is for the checker.
    """
    job = await row(bench.facts, job_id)
    must_notice = kind.error is not None or kind.becomes is not None
    if not must_notice or JobState(job["state"]) is not JobState.COMPLETED:
        return
    if not truth.differences(before, await truth.stored(bench.facts, job_id)):
        raise TooLate(f"job {job_id} had seen all before the fault")


async def _outcome(
    bench: Bench, kind: SourceFault, job_id: UUID, began: datetime, broken: Sequence[str]
) -> Outcome:
    job = await row(bench.facts, job_id)
    ended = job["completed_at"] or datetime.now(UTC)
    took = (ended - began).total_seconds()
    problems = [*broken]
    if kind.error and job["error_type"] != kind.error.value:
        problems.append(f"ended with {job['error_type']} ({job['message']}), not with {kind.error.value}")
    if took > kind.limit_seconds:
        problems.append(f"ended {took:.0f} s after the fault")
    if job["attempt"] > 1:
        problems.append(f"needed {job['attempt']} attempts: a fault of the source is none of the pod's")
    return Outcome(
        fault=kind.name, job_id=str(job_id), recovered=max(0.0, took), working=None, outage=0.0,
        repeated=job["files_repeated"] / (job["files_total"] or 1), attempts=job["attempt"],
        failures=job["failures"], took=(ended - job["created_at"]).total_seconds(), problems=tuple(problems),
    )  # fmt: skip


# --- repositories ------------------------------------------------------------------------------------

MAIN, OTHER = "main", "other"

_CHANGED, _DELETED = slice(0, None, 3), slice(1, None, 10)
"""Of the files in order: those that the other branch has changed, and those that it has not."""


def prepare() -> list[Path]:
    """Return three equal repositories with two branches, made once. `main` is checked out."""
    folders = [repository(f"chaos-git-{FILES}-{copy}", FILES, LINES) for copy in range(JOBS)]
    for folder in folders:
        if not (folder / ".git").exists():
            make_branches(folder)
    return folders


def make_branches(folder: Path) -> None:
    """Make a repository of a folder, with a second branch that changes, deletes and adds files."""
    _git(folder, "init", "--quiet", f"--initial-branch={MAIN}")
    _commit(folder)
    _git(folder, "checkout", "--quiet", "-b", OTHER)
    files = _files(folder)
    for path in files[_DELETED]:
        path.unlink()
    for path in files[_CHANGED]:
        if path.exists():
            path.write_text(f"{path.read_text()}\nOF_ANOTHER_BRANCH = {path.stem!r}\n")
    (folder / "added").mkdir()
    for number in range(50):
        (folder / "added" / f"module_{number}.py").write_text(f"ADDED = {number}\n")
    _commit(folder)
    _git(folder, "checkout", "--quiet", MAIN)


def _truths(folder: Path) -> dict[str, Digests]:
    """Return what an index of each branch holds."""
    truths = {}
    for branch in (OTHER, MAIN):
        _git(folder, "checkout", "--quiet", branch)
        truths[branch] = truth.compute(folder)
    return truths


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*.py") if ".git" not in path.parts)


def _commit(folder: Path) -> None:
    _git(folder, "add", "--all")
    _git(folder, "-c", "user.name=chaos", "-c", "user.email=chaos@localhost", "commit", "--quiet", "--message=x")


def _git(folder: Path, *arguments: str) -> None:
    subprocess.run(["git", "-C", folder, "-c", "safe.directory=*", *arguments], check=True, capture_output=True)


# --- rows --------------------------------------------------------------------------------------------

_KINDS: Sequence[tuple[str, str, SourceInjector, ErrorType | None, str | None]] = (
    (
        "source-renamed",
        "repository renamed away, an empty folder there",
        renamed_away,
        ErrorType.SOURCE_CHANGED,
        None,
    ),
    ("source-checked-out", "another commit checked out", checked_out, None, OTHER),
    ("source-unmounted", "repository unmounted", unmounted, ErrorType.SOURCE_CHANGED, None),
    ("source-unreadable", "repository made unreadable", made_unreadable, ErrorType.SOURCE_UNREADABLE, None),
    ("source-slow", f"disk hangs for {HANG_SECONDS:.0f} s", slow_disk, None, None),
)

SOURCE_FAULTS = tuple(
    SourceFault(f"{name}-{percent}", f"{title}, at {percent} %", inject, percent / 100, error, becomes)
    for name, title, inject, error, becomes in _KINDS
    for percent in MOMENTS
)
