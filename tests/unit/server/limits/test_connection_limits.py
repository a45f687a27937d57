import pytest
from hypothesis import given
from hypothesis import strategies as st

from codebase_mcp.limits.connection_limits import RECEIVE_SECONDS, Admission, ConnectionLimits, ConnectionTable


class Clock:
    now = 0.0  # stands still unless a test moves it

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def table(clock: Clock) -> ConnectionTable[str]:
    return ConnectionTable(ConnectionLimits(total=4, per_client=2), clock)


def test_beyond_its_share_a_clients_own_oldest_waiting_connection_goes(table: ConnectionTable[str]) -> None:
    for name in ("a1", "a2"):
        assert table.admit(name, "a") == (Admission.SERVE, None)
    assert table.admit("b1", "b") == (Admission.SERVE, None)
    assert table.admit("a3", "a") == (Admission.SERVE, "a1")


def test_when_all_are_taken_the_oldest_waiting_one_goes_whosever_it_is(table: ConnectionTable[str]) -> None:
    for name in ("a1", "b1", "a2", "b2"):
        table.admit(name, name[0])
    assert table.admit("c1", "c") == (Admission.SERVE, "a1")


def test_what_is_being_answered_is_closed_for_nobody(table: ConnectionTable[str]) -> None:
    table.admit("a1", "a")
    table.admit("a2", "a")
    table.mark_working("a1")
    assert table.admit("a3", "a") == (Admission.SERVE, "a2")
    table.mark_working("a3")
    assert table.admit("a4", "a") == (Admission.CLIENT_BUSY, None)
    table.admit("b1", "b")
    table.mark_working("a4")
    table.mark_working("b1")
    assert table.admit("c1", "c") == (Admission.SERVER_BUSY, None)


def test_whoever_was_answered_last_waits_at_the_end(table: ConnectionTable[str], clock: Clock) -> None:
    table.admit("a1", "a")
    table.admit("a2", "a")
    table.mark_working("a1")
    clock.now = 1
    table.mark_waiting("a1")
    assert table.admit("a3", "a") == (Admission.SERVE, "a2")


def test_a_proxy_has_no_share_of_its_own_but_no_more_than_there_are(table: ConnectionTable[str]) -> None:
    for name in ("p1", "p2", "p3", "p4"):
        assert table.admit(name, None) == (Admission.SERVE, None)
    assert table.admit("p5", None) == (Admission.SERVE, "p1")


def test_who_waits_longer_than_the_deadline_goes_and_who_is_answered_does_not(
    table: ConnectionTable[str], clock: Clock
) -> None:
    table.admit("a1", "a")
    table.admit("a2", "a")
    table.mark_working("a2")
    clock.now = RECEIVE_SECONDS - 1
    table.admit("b1", "b")
    assert table.remove_overdue() == []
    clock.now = RECEIVE_SECONDS
    assert table.remove_overdue() == ["a1"]
    assert len(table) == 2


def test_bytes_do_not_lengthen_the_deadline_unless_an_answer_came_between(
    table: ConnectionTable[str], clock: Clock
) -> None:
    table.admit("a1", "a")
    clock.now = RECEIVE_SECONDS
    assert table.remove_overdue() == ["a1"]
    table.mark_waiting("a1")  # it is gone, whatever it still sends
    assert len(table) == 0 and table.waiting == 0


EVENT = st.tuples(
    st.sampled_from(["admit", "mark_working", "mark_waiting", "remove", "remove_overdue"]),
    st.integers(0, 30),
    st.floats(0, 4),
)


@given(st.lists(EVENT, max_size=200))
def test_whatever_happens_the_bounds_hold_and_nothing_is_left_behind(events: list[tuple[str, int, float]]) -> None:
    clock, limits = Clock(), ConnectionLimits(total=6, per_client=3)
    table: ConnectionTable[int] = ConnectionTable(limits, clock)
    working: set[int] = set()
    open_now: set[int] = set()
    refused: set[int] = set()
    for number, (what, which, later) in enumerate(events):
        clock.now += later
        connection = sorted(open_now)[which % len(open_now)] if open_now else None
        if what == "admit":
            client = None if which % 7 == 0 else f"client-{which % 4}"
            admission, evicted = table.admit(number, client)
            assert evicted not in working
            open_now -= {evicted}
            open_now.add(number)
            refused |= {number} if admission is not Admission.SERVE else set()
        elif what == "remove_overdue":
            late = set(table.remove_overdue())
            assert not late & working
            open_now -= late
        elif connection is not None:
            getattr(table, what)(connection)
            working = working | {connection} if what == "mark_working" else working - {connection}
            open_now -= {connection} if what == "remove" else set()
        working &= open_now
        assert len(table) == len(open_now)
        assert table.waiting == len(open_now - working)
        # What is refused gets its answer, and is closed: it is above the bound for that long.
        assert len(open_now - refused) <= limits.total
    for left in open_now:
        table.remove(left)
    assert len(table) == table.waiting == table.clients == 0
