"""The cluster of the model: the tests' small API server, with a watch log, a clock, and kubelets by hand."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

from codebase_index.api.job import GROUP, KIND, LABEL_JOB_ID
from tests.operator.fake_api import FakeApi

_IDS = UUID("0b9d5e2c-7f21-4c58-9d0e-6a1f6f0c9d11")
GRACE = timedelta(seconds=3)


@dataclass(frozen=True)
class Change:
    """An event of a watch."""

    kind: str  # "jobs" or "pods"
    type: str  # ADDED, MODIFIED or DELETED
    body: dict[str, Any]


@dataclass
class Cluster(FakeApi):
    """Objects, and everything that ever happened to them, in order."""

    clock: Callable[[], datetime] = datetime.now
    changes: list[Change] = field(default_factory=list)
    made: int = 0

    def add_job(self, **spec: Any) -> dict[str, Any]:
        """Create a job as a user does."""
        name = f"j{self.made}"
        body = {
            "apiVersion": f"{GROUP}/v1alpha1", "kind": KIND,
            "metadata": {
                "name": name, "namespace": "ns", "generation": 1,
                "creationTimestamp": self.clock().replace(microsecond=0).isoformat(),
            },
            "spec": spec,
        }  # fmt: skip
        return self._keep(self.jobs, name, body)

    def remove(self, kind: str, name: str) -> None:
        """Make an object vanish."""
        body = getattr(self, kind).pop(name)
        self.version += 1
        body = {**body, "metadata": {**body["metadata"], "resourceVersion": str(self.version)}}
        self.changes.append(Change(kind, "DELETED", body))

    def collect_garbage(self) -> None:
        """Delete the pods of jobs that are gone, as the owner references ask for."""
        known = {body["metadata"]["uid"] for body in self.jobs.values()}
        for name, body in list(self.pods.items()):
            if body["metadata"]["labels"][LABEL_JOB_ID] not in known:
                self.terminate(name)

    def terminate(self, name: str) -> dict[str, Any]:
        """Begin to delete a pod."""
        body = self.pods[name]
        if "deletionTimestamp" not in body["metadata"]:
            until = (self.clock() + GRACE).isoformat()
            body = self._keep(
                self.pods, name, {**body, "metadata": {**body["metadata"], "deletionTimestamp": until}}
            )
        return body

    def set_status(self, name: str, **status: Any) -> None:
        """Report about a pod as its kubelet does."""
        body = self.pods[name]
        self._keep(self.pods, name, {**body, "status": {**body.get("status", {}), **status}})

    def unfinished(self) -> list[str]:
        """Name the pods that may still run."""
        return sorted(name for name, body in self.pods.items() if not ended(body))

    # --- the server's side -------------------------------------------------------------------------

    def _keep(self, kind: dict[str, dict[str, Any]], name: str, body: dict[str, Any]) -> dict[str, Any]:
        known = name in kind
        if not known:  # uids that are the same in every run of an example
            self.made += 1
            body["metadata"]["uid"] = str(uuid5(_IDS, str(self.made)))
        kept = super()._keep(kind, name, body)
        if kind is not self.events:
            watched = "jobs" if kind is self.jobs else "pods"
            self.changes.append(Change(watched, "MODIFIED" if known else "ADDED", kept))
        return kept

    def _one(
        self, method: str, kind: dict[str, dict[str, Any]], name: str, subresource: str, body: dict[str, Any]
    ) -> dict[str, Any]:
        there = kind.get(name)
        if method != "DELETE" or there is None or body["preconditions"]["uid"] != there["metadata"]["uid"]:
            return super()._one(method, kind, name, subresource, body)
        if kind is self.pods and body.get("gracePeriodSeconds") != 0:
            return {**self.terminate(name), "kind": "Pod"}
        self.remove("pods" if kind is self.pods else "jobs", name)
        return {"kind": "Status", "status": "Success"}


def ended(body: dict[str, Any]) -> bool:
    """Whether a pod has run to its end."""
    return body.get("status", {}).get("phase") in ("Succeeded", "Failed")


def terminating(body: dict[str, Any]) -> bool:
    """Whether somebody deletes the pod."""
    return "deletionTimestamp" in body["metadata"]


def running(at: datetime, restarts: int = 0, last: dict[str, Any] | None = None) -> dict[str, Any]:
    """The status of a pod whose container runs since `at`."""
    container = {
        "restartCount": restarts, "state": {"running": {"startedAt": at.isoformat()}},
        "lastState": {"terminated": last} if last else {},
    }  # fmt: skip
    return {"phase": "Running", "containerStatuses": [container]}


def crash_loop(terminated: dict[str, Any], restarts: int) -> dict[str, Any]:
    """The status of a pod whose container crashed and is started again later."""
    waiting = {"reason": "CrashLoopBackOff", "message": "back-off"}
    container = {
        "restartCount": restarts, "state": {"waiting": waiting}, "lastState": {"terminated": terminated},
    }  # fmt: skip
    return {"phase": "Running", "containerStatuses": [container]}


def termination(exit_code: int, reason: str, at: datetime) -> dict[str, Any]:
    """The end of a container."""
    return {"exitCode": exit_code, "reason": reason, "finishedAt": at.isoformat()}
