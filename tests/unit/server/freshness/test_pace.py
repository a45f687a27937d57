"""When a repository is indexed again by itself: not at once after a cancel or a failure, and not all the time."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from codebase_index.api.job import JobState
from codebase_index.store.jobs.rows import Run
from codebase_mcp.freshness.pace import BURST_SECONDS, LONGEST_FAILURE_HOLDS, SHARE, hold_of

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)


def run(state: JobState, ended: float, *, took: float = 1.0, automatic: bool = True) -> Run:
    """A job that ended so many seconds ago."""
    end = NOW - timedelta(seconds=ended)
    return Run(uuid4(), state, automatic, end - timedelta(seconds=took), end)


def held(runs: Sequence[Run]) -> float:
    """How many seconds longer no job is started."""
    hold = hold_of(runs, NOW)
    return (hold.until - NOW).total_seconds() if hold else 0.0


DONE, FAILED, CANCELLED = JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED


@pytest.mark.parametrize(
    ("runs", "seconds"),
    [
        ([], 0),
        ([run(DONE, 0)], 0),
        ([run(CANCELLED, 60)], 540),
        ([run(CANCELLED, 601)], 0),
        ([run(DONE, 1), run(CANCELLED, 60)], 0),
        ([run(FAILED, 10)], 20),
        ([run(FAILED, 10, automatic=False)], 20),
        ([run(FAILED, 10), run(FAILED, 60), run(FAILED, 200), run(DONE, 900), run(FAILED, 950)], 110),
        ([run(FAILED, 0)] * 40, LONGEST_FAILURE_HOLDS.total_seconds()),
        ([run(DONE, 0, took=600, automatic=False)], 0),
    ],
    ids=[
        "never indexed", "a job just completed", "cancelled", "cancelled long ago", "somebody indexed it since",
        "failed", "somebody's own job failed", "failed three times in a row", "fails always",
        "somebody's own job took long",
    ],
)  # fmt: skip
def test_it_waits_as_its_last_jobs_say(runs: list[Run], seconds: float) -> None:
    assert held(runs) == seconds


def test_a_burst_of_short_jobs_is_not_held_up() -> None:
    assert held([run(DONE, 3.0 * number) for number in range(8)]) == 0


def test_automatic_jobs_take_no_more_than_their_share_of_an_hour() -> None:
    clock, runs, worked = 0.0, list[Run](), 0.0
    while clock < 3600:
        hold = hold_of(runs[:100], NOW + timedelta(seconds=clock))
        if hold is None:
            runs.insert(
                0, Run(uuid4(), DONE, True, NOW + timedelta(seconds=clock), NOW + timedelta(seconds=clock + 4))
            )
            worked += 4
            clock += 4
        else:
            clock = (hold.until - NOW).total_seconds() + 0.001
    assert 0.8 * SHARE * 3600 < worked <= SHARE * 3600 + BURST_SECONDS + 4
