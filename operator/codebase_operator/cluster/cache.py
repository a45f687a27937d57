"""What the operator knows of the cluster: fed by watch events, replaced by authoritative lists.

A broken watch heals with the next list; two stale rounds in a row make the operator unhealthy. Lists that fail do
not: when the API server is away, a restart would not bring it back, but the kubelet's pauses between restarts
would keep the operator away for longer than the API server was.
"""

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, Final, Generic, Protocol, TypeVar
from uuid import UUID

from codebase_operator.cluster.api import Api
from codebase_operator.model.snapshot import Job, Pod, Refusal, StepFailure

log = logging.getLogger(__name__)

LIST_INTERVAL: Final = 15.0
"""Seconds between authoritative lists."""

STALE_ROUNDS: Final = 2
"""So many rounds in a row in which a watch lacked what the list before had: the watch is dead."""

LOOP_LIMIT: Final = 60.0
"""Seconds without a finished cycle after which the loop counts as hanging."""

IN_A_ROW: Final = timedelta(minutes=1)
"""Refusals that are further apart begin a new row: nobody looked meanwhile, since the job was suspended, say."""


class _Item(Protocol):
    @property
    def version(self) -> str: ...


T = TypeVar("T", bound=_Item)


@dataclass
class Store(Generic[T]):
    """Objects of one kind by uid. Versions only rise: an old event never replaces a newer answer."""

    items: dict[str, T] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)
    heard: int = 0
    """Highest resourceVersion that an event brought."""
    listed: int = 0
    """Highest resourceVersion of an object in the last list: by the next list, the watch must have heard it."""

    def put(self, uid: str, item: T) -> None:
        """Keep an object, unless a newer version is known, or it is gone: uids never come back."""
        known = self.items.get(uid)
        if uid not in self.gone and (known is None or _number(known.version) <= _number(item.version)):
            self.items[uid] = item

    def remove(self, uid: str) -> None:
        """Forget a deleted object for good."""
        self.gone.add(uid)
        self.items.pop(uid, None)

    def hear(self, version: str) -> None:
        """Note that the watch is alive up to this version."""
        self.heard = max(self.heard, _number(version))

    def replace(self, items: Mapping[str, T], version: str) -> bool:
        """Take over a list of this version; return whether the watch had heard all that the last list had.

        Objects that are newer than the list stay: events went on while it was made.
        """
        fresh = self.heard >= self.listed
        newer = {uid: item for uid, item in self.items.items() if _number(item.version) > _number(version)}
        self.items = {uid: item for uid, item in {**items, **newer}.items() if uid not in self.gone}
        self.gone.clear()
        self.listed = max((_number(item.version) for item in items.values()), default=0)
        return fresh


def _number(version: str) -> int:
    return int(version) if version.isdigit() else 0


class World:
    """Jobs, pods, refusals, and how healthy the sources are."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self.jobs: Store[Job] = Store()
        self.pods: Store[Pod] = Store()
        self.refusals: dict[UUID, Refusal] = {}
        self.failures: dict[UUID, StepFailure] = {}
        """By job, what failed in the last pass."""
        self._stale_rounds = 0
        self._failed_lists = 0
        self._last_failure = ""
        self._next_list = 0.0
        self._last_cycle = time.monotonic()
        self._cycle_error: str | None = None
        self.database: str | None = None
        """Why the database cannot be used."""

    def put_job(self, body: Mapping[str, Any]) -> None:
        """Take over a job's body."""
        if job := self._job(body):
            self.jobs.put(body["metadata"]["uid"], job)

    def put_pod(self, body: Mapping[str, Any]) -> None:
        """Take over a pod's body; pods that are no indexers are ignored."""
        pod = Pod.parse(body)
        if pod is not None:
            self.pods.put(pod.id, pod)

    def job_event(self, kind: str | None, body: Mapping[str, Any]) -> None:
        """Take over a watch event about a job."""
        self.jobs.hear(body["metadata"]["resourceVersion"])
        if kind == "DELETED":
            self.jobs.remove(body["metadata"]["uid"])
        else:
            self.put_job(body)

    def pod_event(self, kind: str | None, body: Mapping[str, Any]) -> None:
        """Take over a watch event about a pod."""
        self.pods.hear(body["metadata"]["resourceVersion"])
        if kind == "DELETED":
            self.pods.remove(body["metadata"]["uid"])
        else:
            self.put_pod(body)

    def refuse(self, job_id: UUID, refusal: Refusal) -> None:
        """Remember why a job's pod was not taken, and since when for this reason, in a row."""
        before = self.refusals.get(job_id)
        same = before is not None and before.reason == refusal.reason and refusal.at - before.at <= IN_A_ROW
        self.refusals[job_id] = replace(refusal, since=before.since if before and same else refusal.at)

    def forgive(self, job_id: UUID) -> None:
        """Forget it: the pod was taken."""
        self.refusals.pop(job_id, None)

    async def refresh(self) -> None:
        """List everything when it is time to. Raises ApiError, and tries again in the next cycle."""
        if time.monotonic() < self._next_list:
            return
        try:
            jobs, pods = await self._api.list_jobs(), await self._api.list_pods()
        except Exception as error:
            self._failed_lists += 1
            self._last_failure = str(error)
            self._next_list = time.monotonic() + 1
            raise
        self._failed_lists = 0
        self._next_list = time.monotonic() + LIST_INTERVAL
        parsed = (Pod.parse(body) for body in pods["items"])
        listed = {body["metadata"]["uid"]: job for body in jobs["items"] if (job := self._job(body))}
        indexers = {pod.id: pod for pod in parsed if pod is not None}
        fresh = self.jobs.replace(listed, jobs["metadata"]["resourceVersion"])
        fresh &= self.pods.replace(indexers, pods["metadata"]["resourceVersion"])
        self._stale_rounds = 0 if fresh else self._stale_rounds + 1
        if not fresh:
            log.warning("a watch lacks what the last list had", extra={"rounds": self._stale_rounds})
        known = {job.id for job in self.jobs.items.values()}
        self.refusals = {job_id: refusal for job_id, refusal in self.refusals.items() if job_id in known}

    def _job(self, body: Mapping[str, Any]) -> Job | None:
        """Read a body, unless it is of the version that is known: thousands of finished jobs cost nothing.

        One that cannot be read stays as it was known, or unknown, rather than to take all the others with it.
        """
        known = self.jobs.items.get(body["metadata"]["uid"])
        if known and known.version == body["metadata"]["resourceVersion"]:
            return known
        try:
            return Job.parse(body)
        except Exception:
            log.exception("a job cannot be read; it is left as it is", extra={"job": body["metadata"].get("name")})
            return known

    def alive(self) -> None:
        """Note that the loop is alive."""
        self._last_cycle = time.monotonic()

    def cycle_done(self, error: str | None = None) -> None:
        """Note that a cycle has ended, and what ended it too early."""
        self.alive()
        self._cycle_error = error

    def trouble(self) -> str | None:
        """Say what is wrong that a restart would not mend, or None."""
        if self._failed_lists:
            return f"{self._failed_lists} lists in a row failed: {self._last_failure}"
        if self._cycle_error:
            return f"the last cycle failed: {self._cycle_error}"
        if self.database:
            return self.database
        return f"steps of {len(self.failures)} jobs failed in the last pass" if self.failures else None

    def unhealthy(self) -> str | None:
        """Say why a restart would help, or None. A database or an API server that is away is no such reason."""
        if self._stale_rounds >= STALE_ROUNDS:
            return f"a watch is dead: {self._stale_rounds} rounds in a row lacked what the list had"
        idle = time.monotonic() - self._last_cycle
        return f"the loop hangs since {idle:.0f} s" if idle > LOOP_LIMIT else None
