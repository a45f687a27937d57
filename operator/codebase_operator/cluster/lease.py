"""Leader election on a Lease: of several operators, the leader applies plans, and the others only watch.

The algorithm is client-go's: the leader renews its record; a candidate that has observed an unchanged record for
its duration may acquire it; resourceVersions let only one of several succeed. Clocks are never compared: each
process measures with its own how long it has seen no change. Election makes double work rare and take-overs quick;
the limit on jobs does not rest on it, but on the database (`Jobs.admit`).

A namespace has one, whatever its releases are called: of two that both act on its jobs, one would run what the
other has completed, for ever. The holder says for which release it acts, so that one of another stays out, and can
say why.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum, auto
from typing import Any, Final, Protocol

from codebase_operator.cluster.api import ApiError

log = logging.getLogger(__name__)

LEASE_DURATION: Final = 6
"""Seconds without a renewal after which another operator may take the lease; a Lease holds whole ones."""

RENEW_DEADLINE: Final = 5.0
"""Seconds after the start of the last renewal for which a holder acts: it stops before another one may begin."""

RENEW_INTERVAL: Final = 2.0
"""Seconds between renewals: two may be lost."""

RETRY_INTERVAL: Final = 1.0
"""Seconds between reads of another holder's lease, and between attempts while the API does not answer."""

RIVAL_TAKEOVER_DELAY: Final = 600.0
"""Seconds without a renewal, or after it was given back, until the operator of another release may take the lease.
A rollout leaves it for seconds, a lost node for minutes: neither must have a second release run the first one's
jobs. One that was uninstalled takes its lease with it."""

CALL_TIMEOUT: Final = 3.0
"""Seconds for one round of calls: a renewal that hangs has to leave time for the next."""


@dataclass(frozen=True)
class LeaseRecord:
    """The content of a Lease. An equal record means that nobody renewed it."""

    holder: str = ""
    """Empty, or a release without a pod: it was given back."""
    duration: float = LEASE_DURATION
    acquired: str | None = None
    renewed: str | None = None
    transitions: int = 0

    @classmethod
    def of(cls, body: dict[str, Any]) -> "LeaseRecord":
        """Read a Lease of coordination.k8s.io/v1."""
        spec = body.get("spec") or {}
        return cls(
            spec.get("holderIdentity") or "", spec.get("leaseDurationSeconds") or LEASE_DURATION,
            spec.get("acquireTime"), spec.get("renewTime"), spec.get("leaseTransitions") or 0,
        )  # fmt: skip

    def renewed_by(self, identity: str, now: datetime) -> "LeaseRecord":
        """Return the record of a renewal, or of a take-over when somebody else held it."""
        stamp = now.isoformat(timespec="microseconds").replace("+00:00", "Z")
        if self.holder == identity:
            return LeaseRecord(identity, LEASE_DURATION, self.acquired, stamp, self.transitions)
        return LeaseRecord(identity, LEASE_DURATION, stamp, stamp, self.transitions + 1)

    def spec(self) -> dict[str, Any]:
        """Return the Lease's `spec`."""
        return {
            "holderIdentity": self.holder or None, "leaseDurationSeconds": int(self.duration),
            "acquireTime": self.acquired, "renewTime": self.renewed, "leaseTransitions": self.transitions,
        }  # fmt: skip


def identity_of(release: str, pod: str) -> str:
    """Return who an operator is for the others; its release may have no name."""
    return f"{release}/{pod}" if release else pod


def rival_of(identity: str, holder: str) -> str | None:
    """Return the release of the lease's holder when it is another one; None where either says none."""
    mine, theirs = identity.rpartition("/")[0], holder.rpartition("/")[0]
    return theirs if mine and theirs and mine != theirs else None


@dataclass(frozen=True)
class Observation:
    """A record, and since when (on this process's monotonic clock, in seconds) it has been seen unchanged."""

    record: LeaseRecord
    since: float

    def next_observation(self, record: LeaseRecord, now: float) -> "Observation":
        """Return the next observation: the same one while the record stays the same."""
        return self if record == self.record else Observation(record, now)


class LeaseStep(Enum):
    """What an operator does with the lease."""

    RENEW = auto()
    ACQUIRE = auto()
    WAIT = auto()


def next_step(identity: str, observation: Observation, now: float) -> LeaseStep:
    """Return what to do with an existing lease. Pure; `now` is of the same clock as `observation.since`.

    The identity is the pod's name: a restarted container finds its own lease, and goes on at once.
    """
    holder = observation.record.holder
    if holder == identity:
        return LeaseStep.RENEW
    if rival_of(identity, holder):
        takeover_delay = max(RIVAL_TAKEOVER_DELAY, observation.record.duration)
    else:
        takeover_delay = observation.record.duration if holder.rpartition("/")[2] else 0
    return LeaseStep.ACQUIRE if now - observation.since >= takeover_delay else LeaseStep.WAIT


class LeaseApi(Protocol):
    """The calls of `Api` that are needed here."""

    async def read_lease(self, name: str) -> dict[str, Any]:
        """Read it; ApiError 404 when there is none."""

    async def create_lease(self, name: str, spec: dict[str, Any]) -> dict[str, Any]:
        """Create it; ApiError 409 when somebody else was faster."""

    async def replace_lease(self, body: dict[str, Any]) -> dict[str, Any]:
        """Replace it; ApiError 409 when it has changed since it was read."""


class LeaderElector:
    """Acquires the lease, renews it, and says whether this operator is the leader."""

    def __init__(self, api: LeaseApi, name: str, identity: str) -> None:
        self._api = api
        self._name = name
        self._identity = identity
        self._observation: Observation | None = None
        self._leader_until = 0.0
        self._last_error = ""

    def is_leader(self) -> bool:
        """Whether this operator may act now. It ends by itself when the lease cannot be renewed."""
        return time.monotonic() < self._leader_until

    def rival(self) -> str | None:
        """Return the release of the leader if it is another one than this operator's, else None."""
        return rival_of(self._identity, self._observation.record.holder) if self._observation else None

    def unready_reason(self) -> str | None:
        """Return why this operator is not ready, or None: it is the leader, or a standby of its own release."""
        if self._observation is None:
            return f"the lease {self._name} was not read yet"
        rival = self.rival()
        if rival is None:
            return None
        return (
            f"this operator stays out: the one of release {rival} runs the jobs of this namespace, which can have "
            "only one; uninstall one of the two, or install this one in a namespace of its own"
        )

    async def run(self, changed: Callable[[], None]) -> None:
        """Acquire and renew until cancelled; `changed` is called when leadership was won or lost."""
        led, rival = False, None
        while True:
            await self.try_acquire_or_renew()
            if self.rival() != rival:
                rival = self.rival()
                log.warning(
                    self.unready_reason() or "no other release leads any more", extra={"lease": self._name}
                )
            if self.is_leader() != led:
                led = not led
                holder = self._observation.record.holder if self._observation else None
                log.info("leading" if led else "not leading", extra={"lease": self._name, "holder": holder})
                changed()
            await asyncio.sleep(RENEW_INTERVAL if led and not self._last_error else RETRY_INTERVAL)

    async def try_acquire_or_renew(self) -> None:
        """Read the lease once and acquire or renew it if due; no failure ends the election."""
        error_text = ""
        try:
            async with asyncio.timeout(CALL_TIMEOUT):
                await self._acquire_or_renew()
        except TimeoutError:
            error_text = f"no answer within {CALL_TIMEOUT:.0f} s"
        except ApiError as error:
            error_text = str(error)
        except Exception:
            log.exception("lease not renewed, trying again")
        if error_text and error_text != self._last_error:
            log.warning("lease not renewed, trying again", extra={"lease": self._name, "error": error_text})
        self._last_error = error_text

    async def release(self) -> None:
        """Release the lease, so that the next operator need not wait for it to expire. Call it last."""
        if not self.is_leader():
            return
        self._leader_until = 0.0
        try:
            async with asyncio.timeout(CALL_TIMEOUT):
                body = await self._api.read_lease(self._name)
                record = LeaseRecord.of(body)
                if record.holder == self._identity:
                    release = self._identity.rpartition("/")[0]
                    released = LeaseRecord(
                        release and f"{release}/", LEASE_DURATION, None, record.renewed, record.transitions
                    )
                    await self._api.replace_lease({**body, "spec": released.spec()})
        except (ApiError, TimeoutError) as error:
            log.warning("lease not released; it ends by itself", extra={"error": str(error)})

    async def _acquire_or_renew(self) -> None:
        body = await self._read()
        now = time.monotonic()
        if body is None:
            await self._write_record(lambda spec: self._api.create_lease(self._name, spec), LeaseRecord(), now)
            return
        record = LeaseRecord.of(body)
        self._observation = (
            self._observation.next_observation(record, now) if self._observation else Observation(record, now)
        )
        if next_step(self._identity, self._observation, now) is LeaseStep.WAIT:
            self._leader_until = 0.0
            return
        await self._write_record(lambda spec: self._api.replace_lease({**body, "spec": spec}), record, now)

    async def _read(self) -> dict[str, Any] | None:
        try:
            return await self._api.read_lease(self._name)
        except ApiError as error:
            if error.status != 404:
                raise
            return None

    async def _write_record(
        self, write: Callable[[dict[str, Any]], Awaitable[dict[str, Any]]], record: LeaseRecord, began: float
    ) -> None:
        """Write this operator's record. The term counts from before the call: others see it later."""
        renewed = record.renewed_by(self._identity, datetime.now(UTC))
        answer = await write(renewed.spec())
        self._observation = Observation(LeaseRecord.of(answer), began)
        self._leader_until = began + RENEW_DEADLINE
