"""Leader election on a Lease: of several operators, one applies plans, and the others only watch.

The algorithm is client-go's: a holder renews its record; who has watched an unchanged record for as long as it
says may take it; resourceVersions let only one of several succeed. Clocks are never compared: each process
measures by its own how long it has seen no change. It makes double work rare and take-overs quick; that no limit
is ever exceeded does not rest on it, but on the database (`Jobs.admit`).

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

DURATION: Final = 6
"""Seconds without a renewal after which another operator may take the lease; a Lease holds whole ones."""

DEADLINE: Final = 5.0
"""Seconds after the start of the last renewal for which a holder acts: it stops before another one may begin."""

RENEW_EVERY: Final = 2.0
"""Seconds between renewals: two may be lost."""

RETRY_EVERY: Final = 1.0
"""Seconds between looks at another's lease, and between tries while the API does not answer."""

RIVAL_PATIENCE: Final = 600.0
"""Seconds without a renewal, or after it was given back, until the operator of another release may take the lease.
A rollout leaves it for seconds, a lost node for minutes: neither must have a second release run the first one's
jobs. One that was uninstalled takes its lease with it."""

CALL_LIMIT: Final = 3.0
"""Seconds for one round of calls: a renewal that hangs has to leave time for the next."""


@dataclass(frozen=True)
class Record:
    """What a Lease says. An equal record means that nobody renewed it."""

    holder: str = ""
    """Empty, or a release without a pod: it was given back."""
    duration: float = DURATION
    acquired: str | None = None
    renewed: str | None = None
    transitions: int = 0

    @classmethod
    def of(cls, body: dict[str, Any]) -> "Record":
        """Read a Lease of coordination.k8s.io/v1."""
        spec = body.get("spec") or {}
        return cls(
            spec.get("holderIdentity") or "", spec.get("leaseDurationSeconds") or DURATION,
            spec.get("acquireTime"), spec.get("renewTime"), spec.get("leaseTransitions") or 0,
        )  # fmt: skip

    def held_by(self, identity: str, now: datetime) -> "Record":
        """Return the record of a renewal, or of a take-over when somebody else held it."""
        stamp = now.isoformat(timespec="microseconds").replace("+00:00", "Z")
        if self.holder == identity:
            return Record(identity, DURATION, self.acquired, stamp, self.transitions)
        return Record(identity, DURATION, stamp, stamp, self.transitions + 1)

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
class Observed:
    """A record, and since when (on this process's monotonic clock, in seconds) it has been seen unchanged."""

    record: Record
    since: float

    def then(self, record: Record, now: float) -> "Observed":
        """Return the next observation: the same one while the record stays the same."""
        return self if record == self.record else Observed(record, now)


class Step(Enum):
    """What an operator does about the lease."""

    RENEW = auto()
    TAKE = auto()
    WAIT = auto()


def decide(identity: str, seen: Observed, now: float) -> Step:
    """Say what to do about a lease that exists. Pure; `now` is of the same clock as `seen.since`.

    The identity is the pod's name: a restarted container finds its own lease, and goes on at once.
    """
    holder = seen.record.holder
    if holder == identity:
        return Step.RENEW
    if rival_of(identity, holder):
        patience = max(RIVAL_PATIENCE, seen.record.duration)
    else:
        patience = seen.record.duration if holder.rpartition("/")[2] else 0
    return Step.TAKE if now - seen.since >= patience else Step.WAIT


class Leases(Protocol):
    """The calls of `Api` that are needed here."""

    async def read_lease(self, name: str) -> dict[str, Any]:
        """Read it; ApiError 404 when there is none."""

    async def create_lease(self, name: str, spec: dict[str, Any]) -> dict[str, Any]:
        """Create it; ApiError 409 when somebody else was faster."""

    async def replace_lease(self, body: dict[str, Any]) -> dict[str, Any]:
        """Replace it; ApiError 409 when it has changed since it was read."""


class Leader:
    """Holds the lease, or waits for it."""

    def __init__(self, leases: Leases, name: str, identity: str) -> None:
        self._leases = leases
        self._name = name
        self._identity = identity
        self._seen: Observed | None = None
        self._until = 0.0
        self._trouble = ""

    def leads(self) -> bool:
        """Whether this operator may act now. It ends by itself when the lease cannot be renewed."""
        return time.monotonic() < self._until

    def rival(self) -> str | None:
        """Return the release whose operator leads when it is not this one's; None: there is no such."""
        return rival_of(self._identity, self._seen.record.holder) if self._seen else None

    def unready(self) -> str | None:
        """Say why this operator is of no use, or None: it leads, or stands by for one of its own release."""
        if self._seen is None:
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
            await self.round()
            if self.rival() != rival:
                rival = self.rival()
                log.warning(self.unready() or "no other release leads any more", extra={"lease": self._name})
            if self.leads() != led:
                led = not led
                holder = self._seen.record.holder if self._seen else None
                log.info("leading" if led else "not leading", extra={"lease": self._name, "holder": holder})
                changed()
            await asyncio.sleep(RENEW_EVERY if led and not self._trouble else RETRY_EVERY)

    async def round(self) -> None:
        """Look at the lease once and do what is due; no failure ends the election."""
        trouble = ""
        try:
            async with asyncio.timeout(CALL_LIMIT):
                await self._look()
        except TimeoutError:
            trouble = f"no answer within {CALL_LIMIT:.0f} s"
        except ApiError as error:
            trouble = str(error)
        except Exception:
            log.exception("lease not renewed, trying again")
        if trouble and trouble != self._trouble:
            log.warning("lease not renewed, trying again", extra={"lease": self._name, "error": trouble})
        self._trouble = trouble

    async def release(self) -> None:
        """Give the lease back, so that the next operator need not wait for its end. Call it when nothing acts."""
        if not self.leads():
            return
        self._until = 0.0
        try:
            async with asyncio.timeout(CALL_LIMIT):
                body = await self._leases.read_lease(self._name)
                record = Record.of(body)
                if record.holder == self._identity:
                    release = self._identity.rpartition("/")[0]
                    released = Record(
                        release and f"{release}/", DURATION, None, record.renewed, record.transitions
                    )
                    await self._leases.replace_lease({**body, "spec": released.spec()})
        except (ApiError, TimeoutError) as error:
            log.warning("lease not released; it ends by itself", extra={"error": str(error)})

    async def _look(self) -> None:
        body = await self._read()
        now = time.monotonic()
        if body is None:
            await self._hold(lambda spec: self._leases.create_lease(self._name, spec), Record(), now)
            return
        record = Record.of(body)
        self._seen = self._seen.then(record, now) if self._seen else Observed(record, now)
        if decide(self._identity, self._seen, now) is Step.WAIT:
            self._until = 0.0
            return
        await self._hold(lambda spec: self._leases.replace_lease({**body, "spec": spec}), record, now)

    async def _read(self) -> dict[str, Any] | None:
        try:
            return await self._leases.read_lease(self._name)
        except ApiError as error:
            if error.status != 404:
                raise
            return None

    async def _hold(
        self, write: Callable[[dict[str, Any]], Awaitable[dict[str, Any]]], record: Record, began: float
    ) -> None:
        """Write this operator's record. The term counts from before the call: others see it later."""
        held = record.held_by(self._identity, datetime.now(UTC))
        answer = await write(held.spec())
        self._seen = Observed(Record.of(answer), began)
        self._until = began + DEADLINE
