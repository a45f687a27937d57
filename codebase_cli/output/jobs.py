"""Jobs for a person: a table, one job in full, and the live bar of one that runs."""

from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn
from rich.table import Table
from rich.text import Text

from codebase_cli.output.console import remark, remarks
from codebase_index import untrusted_text

_COLORS = {"completed": "green", "running": "cyan", "pending": "yellow", "blocked": "yellow", "failed": "red"}
_LINES_SHOWN = 5
"""Skipped files of one job; the server counts all of them."""


def table(headings: Sequence[str], rows: Iterable[Sequence[str | Text]]) -> Table:
    """Lay rows out in columns without lines, as kubectl does: a person reads them, `awk` and `grep` too."""
    laid_out = Table(box=None, pad_edge=False, header_style="bold", show_edge=False)
    for heading in headings:
        laid_out.add_column(heading, no_wrap=True)
    for row in rows:
        laid_out.add_row(*(c if isinstance(c, Text) else Text(untrusted_text.line(c)) for c in row))
    return laid_out


def of_jobs(jobs: Sequence[dict[str, Any]]) -> Table:
    """Return jobs as a table, in their order."""
    headings = ("JOB", "STATUS", "PROGRESS", "FILES", "CHUNKS", "AGE", "SOURCE")
    return table(headings, (_row(job) for job in jobs))


def _row(job: dict[str, Any]) -> tuple[str | Text, ...]:
    files = f"{job['files_indexed']:,}" + (f"/{job['files_total']:,}" if job["files_total"] is not None else "")
    source = job["repo_path"] + (f"@{job['ref']}" if job["ref"] else "")
    return (job["job_id"], state(job["status"]), f"{job['progress_percentage']} %", files,
            f"{job['chunks_created']:,}", age(job["created_at"]), source)  # fmt: skip


def state(status: str) -> Text:
    """Return a job's state in its colour."""
    return Text(status, _COLORS.get(status, ""))


def details(job: dict[str, Any]) -> Table:
    """Return one job, a line a fact."""
    left = job["estimated_time_remaining_seconds"]
    facts: dict[str, Any] = {
        "job": job["job_id"],
        "source": job["repo_path"] + (f"@{job['ref']}" if job["ref"] else ""),
        "name": job["name"],
        "commit": job["commit"],
        "status": state(job["status"]),
        "progress": f"{job['progress_percentage']} %: {job['progress_message']}",
        "time left": f"about {seconds(left)}" if left else None,
        "place in queue": job["queue_position"],
        "files": f"{job['files_indexed']:,} indexed, {job['files_skipped']:,} skipped",
        "chunks": f"{job['chunks_created']:,}",
        "created": job["created_at"],
        "ended": job["completed_at"] or job["cancelled_at"],
        "what went wrong": job["error_message"],
        "answer": "of the last known state: the database is away" if job.get("stale") else None,
    }
    skipped = job.get("skipped") or []
    facts |= {f"skipped {i}": f"{s['path']} ({s['reason']})" for i, s in enumerate(skipped[:_LINES_SHOWN], 1)}
    laid_out = Table.grid(padding=(0, 2))
    laid_out.add_column(style="dim", no_wrap=True)
    laid_out.add_column()
    for name, value in facts.items():
        if value is not None:
            shown = value if isinstance(value, Text) else Text(untrusted_text.line(str(value)))
            laid_out.add_row(name, shown)
    return laid_out


async def show_live(statuses: AsyncIterator[dict[str, Any]]) -> dict[str, Any]:
    """Draw a job's progress on standard error until it is final; return its last status.

    On a terminal one line changes; elsewhere there is a line for each phase and each tenth of the way.
    """
    status: dict[str, Any] = {}
    if not remarks().is_terminal:
        told: object = None
        async for status in statuses:
            stage = (status["status"], status["phase"], status["progress_percentage"] // 10)
            if stage != told:
                remark(f"{status['progress_percentage']:3d} %  {status['progress_message']}", "")
            told = stage
        return status
    columns = (
        SpinnerColumn(),
        BarColumn(30),
        TaskProgressColumn(),
        TextColumn("{task.description}", markup=False),
    )
    with Progress(*columns, console=remarks()) as progress:
        bar = progress.add_task("", total=100)
        async for status in statuses:
            left = status["estimated_time_remaining_seconds"]
            more = f", about {seconds(left)} left" if left else ""
            description = untrusted_text.line(f"{status['progress_message']}{more}")
            progress.update(bar, completed=status["progress_percentage"], description=description)
    return status


def age(created: str) -> str:
    """Return how long ago that was."""
    return seconds(int((datetime.now(UTC) - datetime.fromisoformat(created)).total_seconds()))


def seconds(number: int) -> str:
    """Return a duration in its largest unit: 45 s, 12 min, 3 h, 8 d."""
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if number >= 2 * size:
            return f"{number // size} {unit}"
    return f"{max(number, 0)} s"
