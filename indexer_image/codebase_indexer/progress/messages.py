"""Progress of a job in words: percentage, message, time left. Pure.

Scanning is 0 to 10 %, chunking and embedding 10 to 90, writing 90 to 100.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from codebase_index.api.counters import WORDING
from codebase_index.api.job import Phase
from codebase_index.api.resource import IndexingJobSpec
from codebase_index.store.jobs.jobs import Progress
from codebase_index.store.jobs.rows import JobRow

SHOWN_REASONS = 4
"""Reasons for skipping in a message; the job's page has them all."""


@dataclass(frozen=True)
class Throughput:
    """Files that this attempt has finished, and in how many seconds."""

    files: int
    seconds: float


@dataclass(frozen=True)
class SweepResult:
    """Indexed files that the job did not see: how many were removed, and how many stay.

    `unsettled`: git was changing the repository to the end, so nothing was removed.
    """

    removed: int = 0
    retained: int = 0
    unsettled: bool = False


def opening(source: str, *, fetch: bool) -> Progress:
    """The source is opened or fetched."""
    return Progress(Phase.SCANNING, 1, f"Scanning: {'fetching' if fetch else 'opening'} {source}")


def scanning(looked: int, listed: int) -> Progress:
    """The files are listed."""
    if not listed:
        return Progress(Phase.SCANNING, 2, "Scanning: listing the files")
    return Progress(Phase.SCANNING, 3 + 6 * looked / listed, f"Scanning: {listed:,} files found")


def copying(done: int, total: int) -> Progress:
    """Equal files are copied from another index."""
    message = f"Scanning: copying equal files from another index, {done:,} of {total:,}"
    return Progress(Phase.SCANNING, 9 + done / max(1, total), message)


def indexing(job: JobRow, in_flight: int, throughput: Throughput) -> Progress:
    """Files are chunked and embedded; `job` has the counters of all attempts and pods."""
    to_index = max(0, (job.files_total or 0) - job.files_skipped)
    share = min(1.0, job.files_indexed / to_index) if to_index else 1.0
    message = (
        f"Embedding: {job.files_indexed:,} of {to_index:,} files, {job.chunks_created:,} chunks; "
        f"chunking {in_flight:,} files ahead"
    )
    if job.vectors_reused:
        message += f"; {job.vectors_reused:,} of {job.vectors_made + job.vectors_reused:,} vectors reused"
    return Progress(Phase.EMBEDDING, 10 + 80 * share, message, eta(to_index - job.files_indexed, throughput))


def writing(share: float, what: str) -> Progress:
    """The index is finished; `share` of that, from 0 to 1, is done."""
    return Progress(Phase.WRITING, 90 + 9 * share, f"Writing: {what}", 1)


def complete(
    job: JobRow, skipped: Mapping[str, int], sweep: SweepResult, stage_seconds: Mapping[str, float]
) -> str:
    """Return the last message of a job that completed; `stage_seconds` has the duration of each."""
    unchanged = f" ({job.files_unchanged:,} unchanged)" if job.files_unchanged else ""
    parts = [f"{job.files_indexed:,} files indexed{unchanged}", f"{job.chunks_created:,} chunks"]
    if job.files_skipped:
        parts.append(f"{job.files_skipped:,} skipped ({reasons(skipped)})")
    if job.vectors_reused:
        total = job.vectors_made + job.vectors_reused
        parts.append(f"{job.vectors_reused:,} of {total:,} vectors reused ({job.vectors_reused / total:.0%})")
    parts += [
        f"{count:,} {words}" for name, count in job.counts().items() if count and (words := WORDING[name].summary)
    ]
    if job.texts_cut:
        parts.append(f"{job.texts_cut:,} chunks truncated at the model's limit")
    if sweep.removed:
        parts.append(f"{sweep.removed:,} deleted files removed")
    if sweep.unsettled:
        parts.append(
            "git was still changing the repository, so no commit was recorded and no file was removed "
            f"({sweep.retained:,} files not found were kept); the next job catches up"
        )
    elif sweep.retained:
        parts.append(f"{sweep.retained:,} unreadable files kept as they were")
    if job.files_repeated:
        share = job.files_repeated / max(1, job.files_total or 0)
        parts.append(f"{job.files_repeated:,} repeated after interruptions ({share:.2%})")
    times = ", ".join(f"{stage} {seconds:,.1f} s" for stage, seconds in stage_seconds.items())
    return f"Complete: {', '.join(parts)}; {times}"


def nothing_to_index(spec: IndexingJobSpec, job: JobRow, skipped: Mapping[str, int]) -> str:
    """Return why a job has no file to index, and what to do about it; `skipped` are its files by reason."""
    rules = f"{'the exclude of the job, ' if spec.exclude else ''}.gitignore and .mcpignore"
    if not job.files_total and spec.include:
        found = f"no file matches the include of the job ({', '.join(spec.include)[:200]}), or {rules} exclude it"
    elif not job.files_total:
        found = f"it has no files, or {rules} exclude all of them"
    else:
        found = f"all of its {job.files_total:,} files were skipped ({reasons(skipped)})"
    return f"nothing to index in {job.source}: {found}; check the path and these rules, then start the job again"


def reasons(skipped: Mapping[str, int]) -> str:
    """Return the most frequent reasons: ``12 binary, 3 empty, 5 for other reasons``."""
    ranked = sorted(skipped.items(), key=lambda item: (-item[1], item[0]))
    parts = [f"{count:,} {reason}" for reason, count in ranked[:SHOWN_REASONS]]
    if rest := sum(count for _, count in ranked[SHOWN_REASONS:]):
        parts.append(f"{rest:,} for other reasons")
    return ", ".join(parts)


def eta(remaining: int, throughput: Throughput) -> int | None:
    """Return the seconds left at this throughput; None until it is known."""
    if throughput.files <= 0 or throughput.seconds <= 0:
        return None
    return round(max(0, remaining) * throughput.seconds / throughput.files)
