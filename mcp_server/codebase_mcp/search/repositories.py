"""Which state of a repository each index holds, and how complete it is, as the database tells. Pure."""

from collections.abc import Sequence
from typing import Final

from codebase_index.api.job import JobState
from codebase_index.store.catalog.indexes import IndexRow
from codebase_mcp.search.answers import IndexState, IndexStatus, StoppedRun

MAX_LISTED_INDEXES: Final = 20
MAX_LISTED_INCOMPLETE: Final = 3
"""Incomplete indexes without results that an answer describes; the others are counted."""


def state_of(index: IndexRow) -> IndexState:
    """Return the state of an index.

    One that a job has completed stays complete when a later one ends early: that one has replaced files by newer
    states of them, and files are removed by a job that has read all the others. `partial` and `empty`: none has
    completed it yet.
    """
    if index.is_changing:
        return "indexing"
    if index.indexed_at is not None:
        return "complete"
    return "partial" if any(index.models.values()) else "empty"


def percent_of(index: IndexRow) -> int:
    """Return the percentage of the last job's work that is in the index."""
    match state_of(index):
        case "complete":
            return 100
        case "empty":  # a job that finds nothing to index has come as far as to its end
            return 0
        case _:
            return int(index.job_percent or 0)


def stopped_run_of(index: IndexRow) -> StoppedRun | None:
    """Return how the newest job ended if it stopped midway; None if it did not."""
    match index.job_state:
        case JobState.CANCELLED:
            return "cancelled"
        case JobState.FAILED:
            return "failed"
        case _:
            return None


def index_status(index: IndexRow) -> IndexStatus:
    """Return which state of the repository an index holds.

    What the newest job saw and has not stored counts as behind. This is what the database tells; whether files on
    disk are newer is told by `codebase_mcp.freshness`.
    """
    state, stopped_run = state_of(index), stopped_run_of(index)
    behind = state != "complete" or stopped_run is not None
    is_counted = behind and index.job_files_total is not None
    return IndexStatus(
        repository=index.source, name=index.name, ref=index.ref, include=list(index.include) or None,
        exclude=list(index.exclude) or None, commit=index.commit,
        indexed_at=index.indexed_at, state=state, percent_complete=percent_of(index), stopped_run=stopped_run,
        newer_commit=index.job_commit if behind and index.job_commit != index.commit else None,
        files_behind=max((index.job_files_total or 0) - (index.job_files_done or 0), 0) if is_counted else None,
    )  # fmt: skip


def result_sources(indexes: Sequence[IndexRow]) -> dict[int, str | None]:
    """Return the repository to name in the results of each index: None where only one is searched."""
    several = len({index.source for index in indexes}) > 1
    return {index.id: index.source if several else None for index in indexes}
