"""When a repository may be indexed again by itself: told by the jobs that it had. Pure.

A cancel holds for a while, a failure holds longer each time, and jobs that nobody asked for take at most a quarter
of the time, but for a burst: whoever saves every second does not keep the indexer running.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import takewhile
from typing import Final

from codebase_index.api.job import FINAL, JobState
from codebase_index.store.jobs.rows import Run

CANCEL_HOLDS: Final = timedelta(minutes=10)
"""Whoever cancels a job does not want it back at once."""

FIRST_FAILURE_HOLDS: Final = timedelta(seconds=30)
LONGEST_FAILURE_HOLDS: Final = timedelta(minutes=30)
"""It doubles with each failure in a row up to this; the rows of automatic jobs are kept for an hour."""

BURST_SECONDS: Final = 20.0
"""Seconds of automatic jobs that may follow one another without a pause."""

SHARE: Final = 0.25
"""Of the time, what automatic jobs of one repository take in the long run."""


@dataclass(frozen=True)
class Hold:
    """Until when no job is started by itself, and why."""

    until: datetime
    why: str


def hold_of(runs: Sequence[Run], now: datetime) -> Hold | None:
    """Return what keeps a repository from being indexed now, by its last jobs, newest first. None: nothing does.

    All of them have ended.
    """
    ended = [run for run in runs if run.ended_at is not None]
    if not ended:
        return None
    newest = ended[0]
    assert newest.ended_at is not None
    if newest.state is JobState.CANCELLED:
        hold = Hold(newest.ended_at + CANCEL_HOLDS, "its last job was cancelled")
    elif newest.state is JobState.FAILED:
        failures = len(list(takewhile(lambda run: run.state is JobState.FAILED, ended)))
        doubled = FIRST_FAILURE_HOLDS * 2 ** min(failures - 1, 10)
        hold = Hold(newest.ended_at + min(doubled, LONGEST_FAILURE_HOLDS), "its last job failed")
    else:
        hold = Hold(now + timedelta(seconds=_debt(ended, now)), "it changes all the time")
    return hold if hold.until > now else None


def _debt(ended: Sequence[Run], now: datetime) -> float:
    """Return the seconds until automatic jobs have their share again: a bucket that they empty, and time fills."""
    left, at = BURST_SECONDS, None
    for run in reversed(ended):
        if not run.automatic or run.started_at is None or run.ended_at is None:
            continue
        if at is not None:
            left = min(BURST_SECONDS, left + SHARE * (run.started_at - at).total_seconds())
        left -= (run.ended_at - run.started_at).total_seconds()
        at = run.ended_at
    if at is None:
        return 0.0
    left = min(BURST_SECONDS, left + SHARE * (now - at).total_seconds())
    return max(0.0, -left / SHARE)


def under_way(runs: Sequence[Run]) -> Run | None:
    """Return the job that is not over yet, if there is one."""
    return next((run for run in runs if run.state not in FINAL), None)
