"""The election: what is decided about a lease, and what two operators make of one between them."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest

from codebase_operator.cluster import lease as lease_module
from codebase_operator.cluster.api import ApiError
from codebase_operator.cluster.lease import (
    LEASE_DURATION,
    RENEW_DEADLINE,
    LeaderElector,
    LeaseRecord,
    LeaseStep,
    Observation,
    identity_of,
    next_step,
)
from tests.operator.builders import NOW

MINE, OTHER = "operator-1", "operator-2"


def seen(holder: str, since: float = 100.0, duration: float = LEASE_DURATION) -> Observation:
    return Observation(LeaseRecord(holder, duration, "a", "r", 3), since)


@pytest.mark.parametrize(
    ("claim", "observed", "now", "step"),
    [
        ("a released lease is taken at once", seen(""), 100, LeaseStep.ACQUIRE),
        ("my own is renewed", seen(MINE), 101, LeaseStep.RENEW),
        ("my own is renewed, however old: nobody took it", seen(MINE), 999, LeaseStep.RENEW),
        ("my own, by a restarted container, at its first look", seen(MINE), 100, LeaseStep.RENEW),
        ("another's is waited for at the first look, whatever its times say", seen(OTHER), 100, LeaseStep.WAIT),
        ("another's is waited for just before its end", seen(OTHER), 105.9, LeaseStep.WAIT),
        ("another's is taken when it was unchanged for its duration", seen(OTHER), 106, LeaseStep.ACQUIRE),
        ("the duration is the holder's own", seen(OTHER, duration=15), 110, LeaseStep.WAIT),
    ],
)
def test_decisions(claim: str, observed: Observation, now: float, step: LeaseStep) -> None:
    assert next_step(MINE, observed, now) is step, claim


def test_a_record_is_old_only_when_nothing_in_it_changes() -> None:
    first = seen(OTHER)
    assert first.next_observation(LeaseRecord(OTHER, LEASE_DURATION, "a", "r", 3), 104) is first
    assert first.next_observation(LeaseRecord(OTHER, LEASE_DURATION, "a", "later", 3), 104).since == 104


def test_a_takeover_is_a_transition_and_a_renewal_is_none() -> None:
    taken = LeaseRecord(OTHER, 9, "a", "r", 3).renewed_by(MINE, NOW)
    assert (taken.holder, taken.duration, taken.transitions) == (MINE, LEASE_DURATION, 4)
    assert taken.acquired == taken.renewed == "2026-05-01T12:00:00.000000Z"
    renewed = taken.renewed_by(MINE, NOW.replace(hour=13))
    assert (renewed.acquired, renewed.transitions) == (taken.acquired, 4)
    assert renewed.renewed == "2026-05-01T13:00:00.000000Z"


def test_a_record_survives_the_wire() -> None:
    record = LeaseRecord(MINE, LEASE_DURATION, "a", "r", 3)
    assert LeaseRecord.of({"spec": record.spec()}) == record
    assert LeaseRecord.of({}) == LeaseRecord()
    assert LeaseRecord().spec()["holderIdentity"] is None  # an empty name would be refused


# --- two operators ---------------------------------------------------------------------------------


class Clock:
    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@dataclass
class OneLease:
    """An API server with optimistic concurrency, and with failures on demand."""

    body: dict[str, Any] | None = None
    error: ApiError | None = None
    version: int = 0
    writes: list[str | None] = field(default_factory=list)

    async def read_lease(self, name: str) -> dict[str, Any]:
        if self.error:
            raise self.error
        if self.body is None:
            raise ApiError(404, "not found")
        return self.body

    async def create_lease(self, name: str, spec: dict[str, Any]) -> dict[str, Any]:
        if self.body is not None:
            raise ApiError(409, "already exists")
        return self._keep({"metadata": {"name": name}, "spec": spec})

    async def replace_lease(self, body: dict[str, Any]) -> dict[str, Any]:
        if self.error:
            raise self.error
        if body["metadata"]["resourceVersion"] != str(self.version):
            raise ApiError(409, "the object has been modified")
        return self._keep(body)

    def _keep(self, body: dict[str, Any]) -> dict[str, Any]:
        self.version += 1
        self.body = {**body, "metadata": {**body["metadata"], "resourceVersion": str(self.version)}}
        self.writes.append(body["spec"]["holderIdentity"])
        return self.body


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(lease_module, "time", clock)
    return clock


async def test_the_first_leads_and_the_second_waits(clock: Clock) -> None:
    api = OneLease()
    first, second = LeaderElector(api, "l", MINE), LeaderElector(api, "l", OTHER)
    assert not first.is_leader()
    await first.try_acquire_or_renew()
    await second.try_acquire_or_renew()
    assert (first.is_leader(), second.is_leader()) == (True, False)


async def test_of_two_that_take_at_once_one_succeeds(clock: Clock) -> None:
    class Interrupted(OneLease):
        """Between the read and the write of one operator, another one does both."""

        other: LeaderElector | None = None

        async def read_lease(self, name: str) -> dict[str, Any]:
            body, other = await super().read_lease(name), self.other
            if other:
                self.other = None
                await other.try_acquire_or_renew()
            return body

    api = Interrupted()
    await LeaderElector(api, "l", "gone").try_acquire_or_renew()
    first, second = LeaderElector(api, "l", MINE), LeaderElector(api, "l", OTHER)
    await first.try_acquire_or_renew()
    await second.try_acquire_or_renew()
    clock.now += LEASE_DURATION
    api.other = second
    await first.try_acquire_or_renew()
    assert (first.is_leader(), second.is_leader()) == (False, True)
    assert api.writes == ["gone", OTHER]


async def test_the_next_one_leads_only_after_the_first_has_stopped(clock: Clock) -> None:
    api = OneLease()
    first, second = LeaderElector(api, "l", MINE), LeaderElector(api, "l", OTHER)
    await first.try_acquire_or_renew()
    led: list[tuple[bool, bool]] = []
    for _ in range(80):  # the first one's API is cut from here on
        await second.try_acquire_or_renew()
        led.append((first.is_leader(), second.is_leader()))
        clock.now += 0.1
    assert (True, True) not in led
    assert led[0] == (True, False)
    assert led[-1] == (False, True)
    assert led.index((False, True)) <= (LEASE_DURATION + 0.1) * 10


async def test_who_cannot_renew_stops_and_goes_on_when_the_api_is_back(clock: Clock) -> None:
    api = OneLease()
    leader = LeaderElector(api, "l", MINE)
    await leader.try_acquire_or_renew()
    api.error = ApiError(0, "no answer")
    clock.now += RENEW_DEADLINE - 0.1
    await leader.try_acquire_or_renew()
    assert leader.is_leader()
    clock.now += 0.2
    await leader.try_acquire_or_renew()
    assert not leader.is_leader()
    api.error = None
    clock.now += 60
    await leader.try_acquire_or_renew()
    assert leader.is_leader()


async def test_a_restarted_container_of_the_same_pod_goes_on_at_once(clock: Clock) -> None:
    api = OneLease()
    await LeaderElector(api, "l", MINE).try_acquire_or_renew()
    again = LeaderElector(api, "l", MINE)
    await again.try_acquire_or_renew()
    assert again.is_leader()


async def test_a_released_lease_hands_over_at_once(clock: Clock) -> None:
    api = OneLease()
    first, second = LeaderElector(api, "l", MINE), LeaderElector(api, "l", OTHER)
    await first.try_acquire_or_renew()
    await second.try_acquire_or_renew()
    await first.release()
    assert not first.is_leader()
    await second.try_acquire_or_renew()
    assert second.is_leader()


async def test_who_does_not_lead_releases_nothing(clock: Clock) -> None:
    api = OneLease()
    first, second = LeaderElector(api, "l", MINE), LeaderElector(api, "l", OTHER)
    await first.try_acquire_or_renew()
    await second.try_acquire_or_renew()
    await second.release()
    assert api.writes == [MINE]


async def test_a_clock_that_is_wrong_does_not_matter(clock: Clock) -> None:
    api = OneLease()
    await api.create_lease("l", LeaseRecord(OTHER, LEASE_DURATION, None, "1999-01-01T00:00:00.000000Z", 0).spec())
    leader = LeaderElector(api, "l", MINE)
    for renewal in ("1999-01-01T00:00:02.000000Z", "1999-01-01T00:00:04.000000Z", "1999-01-01T00:00:06.000000Z"):
        await leader.try_acquire_or_renew()
        assert not leader.is_leader()
        assert api.body
        await api.replace_lease({**api.body, "spec": {**api.body["spec"], "renewTime": renewal}})
        clock.now += 4
    await leader.try_acquire_or_renew()
    assert not leader.is_leader()
    clock.now += LEASE_DURATION
    await leader.try_acquire_or_renew()
    assert leader.is_leader()


# --- several releases --------------------------------------------------------------------------------

FIRST, SECOND = identity_of("first", "first-operator-x"), identity_of("second", "second-operator-y")


async def test_the_operator_of_another_release_stays_out_and_says_so(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    api = OneLease()
    first, second = LeaderElector(api, "l", FIRST), LeaderElector(api, "l", SECOND)
    await first.try_acquire_or_renew()
    caplog.clear()
    with suppress(TimeoutError):
        await asyncio.wait_for(second.run(lambda: None), 0.2)
    assert "the one of release first runs the jobs of this namespace" in caplog.text
    assert first.unready_reason() is None and not second.is_leader()


async def test_one_of_the_same_release_stands_by(clock: Clock) -> None:
    api = OneLease()
    first, standby = (
        LeaderElector(api, "l", FIRST),
        LeaderElector(api, "l", identity_of("first", "first-operator-z")),
    )
    assert "not read yet" in (standby.unready_reason() or "")
    await first.try_acquire_or_renew()
    await standby.try_acquire_or_renew()
    assert standby.unready_reason() is None and not standby.is_leader()


@pytest.mark.parametrize("ending", ["given back", "lost"])
async def test_a_pause_of_one_release_is_no_invitation_to_another(clock: Clock, ending: str) -> None:
    """A rollout gives the lease back for seconds; a lost node leaves it for minutes."""
    api = OneLease()
    first, second = LeaderElector(api, "l", FIRST), LeaderElector(api, "l", SECOND)
    await first.try_acquire_or_renew()
    await second.try_acquire_or_renew()
    if ending == "given back":
        await first.release()
    await second.try_acquire_or_renew()
    clock.now += 300
    await second.try_acquire_or_renew()
    assert not second.is_leader() and second.rival() == "first"
    heir = LeaderElector(api, "l", identity_of("first", "first-operator-z"))
    await heir.try_acquire_or_renew()
    clock.now += lease_module.LEASE_DURATION
    await heir.try_acquire_or_renew()
    assert heir.is_leader() and heir.unready_reason() is None


async def test_a_release_that_is_gone_for_good_is_followed_by_another(clock: Clock) -> None:
    api = OneLease()
    first, second = LeaderElector(api, "l", FIRST), LeaderElector(api, "l", SECOND)
    await first.try_acquire_or_renew()
    await second.try_acquire_or_renew()
    await first.release()
    await second.try_acquire_or_renew()
    clock.now += lease_module.RIVAL_TAKEOVER_DELAY
    await second.try_acquire_or_renew()
    assert second.is_leader() and second.unready_reason() is None


async def test_a_lease_that_goes_with_its_release_is_free_at_once(clock: Clock) -> None:
    api = OneLease()
    first, second = LeaderElector(api, "l", FIRST), LeaderElector(api, "l", SECOND)
    await first.try_acquire_or_renew()
    await second.try_acquire_or_renew()
    api.body = None
    await second.try_acquire_or_renew()
    assert second.is_leader()


async def test_the_operator_of_the_release_before_whose_lease_names_no_release_is_no_rival(clock: Clock) -> None:
    api = OneLease()
    before, after = LeaderElector(api, "l", "codebase-mcp-operator-x"), LeaderElector(api, "l", FIRST)
    await before.try_acquire_or_renew()
    await after.try_acquire_or_renew()
    assert after.unready_reason() is None
    await before.release()
    await after.try_acquire_or_renew()
    assert after.is_leader()
