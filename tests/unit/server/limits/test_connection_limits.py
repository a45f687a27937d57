import pytest
from hypothesis import given
from hypothesis import strategies as st

from codebase_mcp.limits.connection_limits import RECEIVE_SECONDS, Connections, Limits, Verdict


class Clock:
    now = 0.0  # stands still unless a test moves it

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def table(clock: Clock) -> Connections[str]:
    return Connections(Limits(most=4, of_client=2), clock)


def test_beyond_its_share_a_clients_own_oldest_waiting_connection_goes(table: Connections[str]) -> None:
    for name in ("a1", "a2"):
        assert table.enter(name, "a") == (Verdict.SERVE, None)
    assert table.enter("b1", "b") == (Verdict.SERVE, None)
    assert table.enter("a3", "a") == (Verdict.SERVE, "a1")


def test_when_all_are_taken_the_oldest_waiting_one_goes_whosever_it_is(table: Connections[str]) -> None:
    for name in ("a1", "b1", "a2", "b2"):
        table.enter(name, name[0])
    assert table.enter("c1", "c") == (Verdict.SERVE, "a1")


def test_what_is_being_answered_is_closed_for_nobody(table: Connections[str]) -> None:
    table.enter("a1", "a")
    table.enter("a2", "a")
    table.work("a1")
    assert table.enter("a3", "a") == (Verdict.SERVE, "a2")
    table.work("a3")
    assert table.enter("a4", "a") == (Verdict.CLIENT_IS_BUSY, None)
    table.enter("b1", "b")
    table.work("a4")
    table.work("b1")
    assert table.enter("c1", "c") == (Verdict.SERVER_IS_BUSY, None)


def test_whoever_was_answered_last_waits_at_the_end(table: Connections[str], clock: Clock) -> None:
    table.enter("a1", "a")
    table.enter("a2", "a")
    table.work("a1")
    clock.now = 1
    table.wait("a1")
    assert table.enter("a3", "a") == (Verdict.SERVE, "a2")


def test_a_proxy_has_no_share_of_its_own_but_no_more_than_there_are(table: Connections[str]) -> None:
    for name in ("p1", "p2", "p3", "p4"):
        assert table.enter(name, None) == (Verdict.SERVE, None)
    assert table.enter("p5", None) == (Verdict.SERVE, "p1")


def test_who_waits_longer_than_the_deadline_goes_and_who_is_answered_does_not(
    table: Connections[str], clock: Clock
) -> None:
    table.enter("a1", "a")
    table.enter("a2", "a")
    table.work("a2")
    clock.now = RECEIVE_SECONDS - 1
    table.enter("b1", "b")
    assert table.overdue() == []
    clock.now = RECEIVE_SECONDS
    assert table.overdue() == ["a1"]
    assert len(table) == 2


def test_bytes_do_not_lengthen_the_deadline_unless_an_answer_came_between(
    table: Connections[str], clock: Clock
) -> None:
    table.enter("a1", "a")
    clock.now = RECEIVE_SECONDS
    assert table.overdue() == ["a1"]
    table.wait("a1")  # it is gone, whatever it still sends
    assert len(table) == 0 and table.waiting == 0


EVENT = st.tuples(
    st.sampled_from(["enter", "work", "wait", "leave", "overdue"]), st.integers(0, 30), st.floats(0, 4)
)


@given(st.lists(EVENT, max_size=200))
def test_whatever_happens_the_bounds_hold_and_nothing_is_left_behind(events: list[tuple[str, int, float]]) -> None:
    clock, limits = Clock(), Limits(most=6, of_client=3)
    table: Connections[int] = Connections(limits, clock)
    working: set[int] = set()
    open_now: set[int] = set()
    refused: set[int] = set()
    for number, (what, which, later) in enumerate(events):
        clock.now += later
        known = sorted(open_now)[which % len(open_now)] if open_now else None
        if what == "enter":
            client = None if which % 7 == 0 else f"client-{which % 4}"
            verdict, gone = table.enter(number, client)
            assert gone not in working
            open_now -= {gone}  # type: ignore[arg-type]
            open_now.add(number)
            refused |= {number} if verdict is not Verdict.SERVE else set()
        elif what == "overdue":
            late = set(table.overdue())
            assert not late & working
            open_now -= late
        elif known is not None:
            getattr(table, what)(known)
            working = working | {known} if what == "work" else working - {known}
            open_now -= {known} if what == "leave" else set()
        working &= open_now
        assert len(table) == len(open_now)
        assert table.waiting == len(open_now - working)
        # What is refused gets its answer, and is closed: it is above the bound for that long.
        assert len(open_now - refused) <= limits.most
    for connection in open_now:
        table.leave(connection)
    assert len(table) == table.waiting == 0
    assert not table._of_client
