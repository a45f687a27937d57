"""What the state of a job's current pod means for the job. Pure."""

import re
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto

from codebase_index.api.job import ErrorType
from codebase_index.store.jobs.rows import JobRow
from codebase_operator.model.pod_timeouts import PodTimeouts
from codebase_operator.model.snapshot import Pod
from codebase_operator.reporting import conditions as c


class PodHealth(Enum):
    """The state of a job's current pod, as far as the job is concerned."""

    STARTING = auto()  # not at work yet; the reason may need a person (no such image, no room)
    WORKING = auto()
    DISRUPTED = auto()  # ended by the cluster, not by itself: start again, nothing is counted
    BROKEN = auto()  # ended or stuck by itself: start again later, counted against backoffLimit


@dataclass(frozen=True)
class Diagnosis:
    """A pod's health, with a reason for the conditions and a message for people."""

    health: PodHealth
    reason: str
    message: str
    since: datetime | None = None
    error: ErrorType = ErrorType.BACKOFF_LIMIT_EXCEEDED
    node_suspect: bool = False
    retry: bool = True
    """Whether another attempt may end otherwise. When not, backoffLimit does not matter."""


_NODE_EVICTION_REASONS = frozenset(
    {"Evicted", "NodeShutdown", "Terminated", "NodeLost", "Preempting", "NodeAffinity"}
)
_STORAGE_LIMIT_EXCEEDED = re.compile(
    r"EmptyDir volume .* exceeds the limit|exceeded its local ephemeral storage limit"
    r"|ephemeral local storage usage exceeds the total limit"
)
_LARGEST_CONSUMER = re.compile(r"has larger consumption of (ephemeral-storage|memory)")
_VOLUME_ADVICE = {"work": "raise indexer.workSizeLimit", "tmp": "raise indexer.tmpSizeLimit"}
_IMAGE_PULL_REASONS = frozenset({"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"})


def diagnose(pod: Pod, row: JobRow, now: datetime, database_since: datetime, timeouts: PodTimeouts) -> Diagnosis:
    """Diagnose the pod of the current attempt.

    Heartbeats and `now` are both of the database's clock. None is missed from before `database_since`:
    while the database was away, nobody could send one.
    """
    if pod.deleted_at is not None:
        return Diagnosis(PodHealth.DISRUPTED, c.RESTARTING, f"pod {pod.name} was deleted")
    if own := self_inflicted_eviction(pod, worked=row.has_progressed):
        return own
    if pod.disrupted is not None or (pod.finished and pod.failure in _NODE_EVICTION_REASONS):
        return Diagnosis(PodHealth.DISRUPTED, c.RESTARTING, f"pod {pod.name}: {pod.disrupted or pod.failure}")
    crash_loop = pod.waiting is not None and pod.waiting[0] == "CrashLoopBackOff"
    if pod.finished or crash_loop or _restart_overdue(pod, row, now, database_since, timeouts):
        return _ended(pod, now)
    if pod.running_since is not None:
        return _running(pod, row, now, database_since, timeouts)
    return _starting(pod)


def self_inflicted_eviction(pod: Pod, worked: bool) -> Diagnosis | None:
    """Diagnose an eviction that the pod's own resource use caused; None where others caused it.

    The texts are those of the kubelet's eviction manager (pkg/kubelet/eviction/helpers.go): the reason of all is
    Evicted. One that `worked` before its node was short of memory is a victim of its neighbours.
    """
    said = (pod.failure_message or pod.disrupted or "").rstrip(". ")
    if _STORAGE_LIMIT_EXCEEDED.search(said):  # the next one would do the same
        volume = re.search(r'EmptyDir volume "(\w+)"', said)
        advice = _VOLUME_ADVICE.get(volume[1] if volume else "", "raise ephemeral-storage in indexer.resources")
        message = f"pod {pod.name} was evicted for what it wrote: {said}; {advice} of the chart"
        error = ErrorType.OUT_OF_EPHEMERAL_STORAGE
        return Diagnosis(PodHealth.BROKEN, c.RESTARTING, message, error=error, retry=False)
    # It took more than it had asked for, of a node that had no more. Another node may have the room.
    most = _LARGEST_CONSUMER.search(said)
    if most is None or (most[1] == "memory" and worked):
        return None
    error = ErrorType.OUT_OF_MEMORY if most[1] == "memory" else ErrorType.OUT_OF_EPHEMERAL_STORAGE
    advice = (
        f"raise the request for {most[1]} in indexer.resources of the chart, so that only nodes with room take it"
    )
    message = f"pod {pod.name} was evicted from node {pod.node}: {said}; {advice}"
    return Diagnosis(PodHealth.BROKEN, c.RESTARTING, message, error=error)


def _restart_overdue(
    pod: Pod, row: JobRow, now: datetime, database_since: datetime, timeouts: PodTimeouts
) -> bool:
    """Whether the kubelet delays the restart of the container, which it reports only 10 s later.

    Not counted from before `database_since`: when all of the cluster was down, so was the kubelet. And when that
    comes back, it tells seconds later than the heartbeat that the container runs again.
    """
    ended = pod.termination.at if pod.down and pod.termination else None
    if ended is None:
        return False
    alive = row.heartbeat_at if row.pod == pod.name and row.heartbeat_at else ended
    return now - max(ended, alive, database_since) > timeouts.restart


def _ended(pod: Pod, now: datetime) -> Diagnosis:
    termination = pod.termination
    # Told by the node's clock. One that is ahead must not put the retry off, so then there is no pause.
    since = termination.at if termination and termination.at and termination.at <= now else None
    if termination and termination.reason == "OOMKilled":
        limit = f"its limit of {pod.memory_limit}" if pod.memory_limit else "its limit"
        message = (
            f"pod {pod.name} needed more memory than {limit} and was killed; raise spec.resources.memory of the "
            "job (or indexer.resources.limits.memory in the chart) if that is too little"
        )
        return Diagnosis(PodHealth.BROKEN, c.RESTARTING, message, since, ErrorType.OUT_OF_MEMORY)
    how = f"exit code {termination.exit_code}" if termination else pod.failure or "no exit code"
    end = "ended before the job was finished" if pod.finished else "keeps crashing"
    message = f"pod {pod.name} {end} ({how}); its log says why: {pod.log}"
    return Diagnosis(PodHealth.BROKEN, c.RESTARTING, message, since)


def _running(pod: Pod, row: JobRow, now: datetime, database_since: datetime, timeouts: PodTimeouts) -> Diagnosis:
    assert pod.running_since is not None
    # The start is told by the node's clock: a clock that is ahead must not put a deadline off for ever.
    started = min(pod.running_since, now)
    if row.pod != pod.name:
        if now - max(started, database_since) > timeouts.claim:
            message = f"pod {pod.name} runs but does not take the job; its log says why: {pod.log}"
            return Diagnosis(PodHealth.BROKEN, c.RESTARTING, message, started + timeouts.claim)
        return Diagnosis(PodHealth.STARTING, c.POD_STARTING, f"pod {pod.name} starts")
    heartbeat = row.heartbeat_at or started
    # Counted from the heartbeat, by the database's clock alone: the node's says only which of the two applies.
    limit = timeouts.startup if started > heartbeat else timeouts.heartbeat
    due = max(heartbeat + limit, database_since + timeouts.database_return)
    if now > due:
        silent = int((now - heartbeat).total_seconds())
        message = f"no sign of life from pod {pod.name} on node {pod.node} for {silent} s: lost or hanging"
        return Diagnosis(PodHealth.BROKEN, c.RESTARTING, message, due, node_suspect=True)
    return Diagnosis(PodHealth.WORKING, c.INDEXING, f"attempt {pod.attempt} in pod {pod.name} on node {pod.node}")


def _starting(pod: Pod) -> Diagnosis:
    if pod.unschedulable is not None:
        return Diagnosis(PodHealth.STARTING, c.UNSCHEDULABLE, f"no node takes pod {pod.name}: {pod.unschedulable}")
    if pod.waiting is None or pod.waiting[0] in ("", "ContainerCreating", "PodInitializing"):
        return Diagnosis(PodHealth.STARTING, c.POD_STARTING, f"pod {pod.name} starts")
    reason, message = pod.waiting
    said = f"pod {pod.name}: {reason}: {message}"
    if reason in _IMAGE_PULL_REASONS:
        advice = "; check indexer.image in the chart, and that the nodes can pull it"
        return Diagnosis(PodHealth.STARTING, c.IMAGE_PULL_FAILED, said + advice)
    return Diagnosis(PodHealth.STARTING, c.CONTAINER_CONFIG_ERROR, f"{said}; kubectl describe pod {pod.name}")
