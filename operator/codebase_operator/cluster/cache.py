"""A cache of the cluster's jobs and pods: fed by watch events, replaced by authoritative lists.

A broken watch is repaired by the next list; two stale lists in a row make the operator unhealthy. Failed lists do
not: when the API server is unavailable, a restart would not bring it back, but the kubelet's backoff between
restarts would keep the operator down for longer than the API server was.
"""

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, Final, Generic, Protocol, TypeVar
from uuid import UUID

from codebase_operator.cluster.api import ClusterApi
from codebase_operator.model.snapshot import Job, Pod, Rejection, StepFailure

log = logging.getLogger(__name__)

LIST_INTERVAL: Final = 15.0
"""Seconds between authoritative lists."""

MAX_STALE_LISTS: Final = 2
"""Consecutive lists that show a watch to have missed what the list before held: the watch is dead."""

STUCK_LOOP_SECONDS: Final = 60.0
"""Seconds without a finished cycle after which the reconcile loop counts as stuck."""

REJECTION_GAP: Final = timedelta(minutes=1)
"""Rejections further apart than this are not consecutive: the pod was not offered in between, for example because
the job was suspended."""


class _Item(Protocol):
    @property
    def version(self) -> str: ...


T = TypeVar("T", bound=_Item)


@dataclass
class ObjectCache(Generic[T]):
    """Objects of one kind by uid. Versions only rise: an old event never replaces a newer answer."""

    items: dict[str, T] = field(default_factory=dict)
    deleted: set[str] = field(default_factory=set)
    last_seen_version: int = 0
    """Highest resourceVersion of any watch event."""
    last_listed_version: int = 0
    """Highest resourceVersion of an object in the last list: by the next list, the watch must have seen it."""

    def put(self, uid: str, item: T) -> None:
        """Store an object, unless a newer version is cached or it was deleted: uids are never reused."""
        cached = self.items.get(uid)
        if uid not in self.deleted and (cached is None or _number(cached.version) <= _number(item.version)):
            self.items[uid] = item

    def remove(self, uid: str) -> None:
        """Forget a deleted object for good."""
        self.deleted.add(uid)
        self.items.pop(uid, None)

    def observe(self, version: str) -> None:
        """Record that the watch has delivered events up to this version."""
        self.last_seen_version = max(self.last_seen_version, _number(version))

    def replace(self, items: Mapping[str, T], version: str) -> bool:
        """Replace the contents by a list of this version; return whether the watch had seen all of the last list.

        Objects that are newer than the list stay: events went on while it was made.
        """
        fresh = self.last_seen_version >= self.last_listed_version
        newer = {uid: item for uid, item in self.items.items() if _number(item.version) > _number(version)}
        self.items = {uid: item for uid, item in {**items, **newer}.items() if uid not in self.deleted}
        self.deleted.clear()
        self.last_listed_version = max((_number(item.version) for item in items.values()), default=0)
        return fresh


def _number(version: str) -> int:
    return int(version) if version.isdigit() else 0


class ClusterCache:
    """Jobs, pods, rejections, and the health of their sources."""

    def __init__(self, api: ClusterApi, list_interval: float = LIST_INTERVAL) -> None:
        self._api = api
        self._list_interval = list_interval
        self.jobs: ObjectCache[Job] = ObjectCache()
        self.pods: ObjectCache[Pod] = ObjectCache()
        self.rejections: dict[UUID, Rejection] = {}
        self.failures: dict[UUID, StepFailure] = {}
        """By job, what failed in the last pass."""
        self._stale_lists = 0
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
        self.jobs.observe(body["metadata"]["resourceVersion"])
        if kind == "DELETED":
            self.jobs.remove(body["metadata"]["uid"])
        else:
            self.put_job(body)

    def pod_event(self, kind: str | None, body: Mapping[str, Any]) -> None:
        """Take over a watch event about a pod."""
        self.pods.observe(body["metadata"]["resourceVersion"])
        if kind == "DELETED":
            self.pods.remove(body["metadata"]["uid"])
        else:
            self.put_pod(body)

    def record_rejection(self, job_id: UUID, rejection: Rejection) -> None:
        """Record why the API server rejected a job's pod, and since when it has done so for this reason."""
        before = self.rejections.get(job_id)
        same = (
            before is not None and before.reason == rejection.reason and rejection.at - before.at <= REJECTION_GAP
        )
        self.rejections[job_id] = replace(rejection, since=before.since if before and same else rejection.at)

    def clear_rejection(self, job_id: UUID) -> None:
        """Drop the rejection: the pod was accepted."""
        self.rejections.pop(job_id, None)

    def list_soon(self) -> None:
        """List everything in the next cycle: a watch has begun anew, and may have missed something."""
        self._next_list = 0.0

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
        self._next_list = time.monotonic() + self._list_interval
        parsed = (Pod.parse(body) for body in pods["items"])
        listed = {body["metadata"]["uid"]: job for body in jobs["items"] if (job := self._job(body))}
        indexers = {pod.id: pod for pod in parsed if pod is not None}
        fresh = self.jobs.replace(listed, jobs["metadata"]["resourceVersion"])
        fresh &= self.pods.replace(indexers, pods["metadata"]["resourceVersion"])
        self._stale_lists = 0 if fresh else self._stale_lists + 1
        if not fresh:
            log.warning("a watch missed objects of the last list", extra={"lists": self._stale_lists})
        job_ids = {job.id for job in self.jobs.items.values()}
        self.rejections = {job_id: rejection for job_id, rejection in self.rejections.items() if job_id in job_ids}

    def _job(self, body: Mapping[str, Any]) -> Job | None:
        """Parse a body, unless its version is cached already: thousands of finished jobs cost nothing.

        One that cannot be parsed keeps its cached state, or stays out, so that it does not fail all the others.
        """
        cached = self.jobs.items.get(body["metadata"]["uid"])
        if cached and cached.version == body["metadata"]["resourceVersion"]:
            return cached
        try:
            return Job.parse(body)
        except Exception:
            log.exception("a job cannot be read; it is left as it is", extra={"job": body["metadata"].get("name")})
            return cached

    def mark_alive(self) -> None:
        """Record that the loop is alive."""
        self._last_cycle = time.monotonic()

    def record_cycle(self, error: str | None = None) -> None:
        """Record that a cycle has ended, and the error that cut it short."""
        self.mark_alive()
        self._cycle_error = error

    def degraded_reason(self) -> str | None:
        """Return what is wrong that a restart would not repair, or None."""
        if self._failed_lists:
            return f"{self._failed_lists} lists in a row failed: {self._last_failure}"
        if self._cycle_error:
            return f"the last cycle failed: {self._cycle_error}"
        if self.database:
            return self.database
        return f"steps of {len(self.failures)} jobs failed in the last pass" if self.failures else None

    def unhealthy_reason(self) -> str | None:
        """Return why a restart would help, or None. An unavailable database or API server is no such reason."""
        if self._stale_lists >= MAX_STALE_LISTS:
            return f"a watch is dead: it missed objects of {self._stale_lists} consecutive lists"
        idle = time.monotonic() - self._last_cycle
        return f"the reconcile loop has been stuck for {idle:.0f} s" if idle > STUCK_LOOP_SECONDS else None
