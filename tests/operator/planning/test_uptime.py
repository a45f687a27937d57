"""What deadlines count: the time in which the services answered, and neither more nor less."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codebase_operator.model import uptime as module
from codebase_operator.model.uptime import Uptime
from tests.operator.builders import NOW

PASSES = st.lists(st.tuples(st.integers(0, 900), st.booleans()), max_size=60)
"""Of each pass, the seconds since the one before, and whether both services answered in it."""

SECONDS = st.integers(0, 9000)


def seen(passes: list[tuple[int, bool]]) -> tuple[Uptime, list[tuple[int, bool]]]:
    """The uptime after these passes, and each pass with its own time."""
    uptime, at, times = Uptime(), 0, []
    for gap, well in passes:
        at += gap
        times.append((at, well))
        uptime = uptime.record_answer(NOW + timedelta(seconds=at)) if well else uptime.record_outage()
    return uptime, times


def brute(times: list[tuple[int, bool]], since: int, now: int) -> int:
    """Count second by second: one counts when no failed pass lies between the answers around it."""
    first = next((at for at, well in times if well), None)
    if first is None:
        return 0
    away, counted = set(), 0
    last, failed = first, False
    for at, well in times:
        if well and failed:
            away |= set(range(last, at))
        if well:
            last = at
        failed = not well
    for second in range(max(since, first), now):
        counted += second not in away
    return counted


@given(PASSES, SECONDS, SECONDS)
def test_it_counts_exactly_the_time_without_outages(passes: list[tuple[int, bool]], since: int, more: int) -> None:
    uptime, times = seen([*passes, (1, True)])  # deadlines are looked at in passes that got answers
    now = times[-1][0]
    begin = min(since, now)
    counted = uptime.answered_time(NOW + timedelta(seconds=begin), NOW + timedelta(seconds=now))
    assert counted == timedelta(seconds=brute(times, begin, now))
    later = uptime.answered_time(NOW + timedelta(seconds=begin), NOW + timedelta(seconds=now + more))
    assert later == counted + timedelta(seconds=more)


@given(PASSES)
def test_what_is_forgotten_of_many_outages_is_never_counted(passes: list[tuple[int, bool]]) -> None:
    exact, times = seen([*passes, (1, True)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MAX_OUTAGES", 2)
        bounded, _ = seen([*passes, (1, True)])
    now = NOW + timedelta(seconds=times[-1][0])
    assert len(bounded.outages) <= 2
    assert timedelta(0) <= bounded.answered_time(None, now) <= exact.answered_time(None, now)


def test_nothing_counts_before_the_first_answer() -> None:
    assert Uptime().record_outage().answered_time(NOW - timedelta(days=1), NOW) == timedelta(0)


def test_a_clock_that_goes_back_takes_nothing_away() -> None:
    """A standby whose clock is behind took over."""
    uptime = Uptime().record_answer(NOW).record_outage().record_answer(NOW - timedelta(seconds=50))
    assert uptime.answered_time(NOW - timedelta(seconds=90), NOW - timedelta(seconds=50)) == timedelta(0)
    assert uptime.answered_time(None, NOW + timedelta(seconds=5)) == timedelta(seconds=5)
