"""What one job needs now: the steps for its cancel, suspend, retries, deadline and end. Pure."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final

from codebase_index.api.job import ErrorType
from codebase_index.api.resource import IndexingJobSpec
from codebase_operator.model.actions import (
    Action,
    Cancel,
    DeleteJob,
    DeletePod,
    EnsureRow,
    Fail,
    Retry,
    StartPod,
    Suspend,
)
from codebase_operator.model.snapshot import JobView, Pod, Snapshot
from codebase_operator.planning.deadlines import exceeded_deadline, exceeded_secret_deadline
from codebase_operator.planning.diagnosis import Diagnosis, PodHealth, diagnose

MAX_RETRY_DELAY: Final = 30
"""Seconds between the last counted retries; the first ones come after 1, 2, 4, ..."""

RETENTION: Final = timedelta(seconds=IndexingJobSpec.model_fields["ttl_seconds_after_finished"].default)
"""How long a final job is kept when nobody says it: its spec cannot be read, or its resource is gone."""

MAX_DISRUPTIONS: Final = 30
"""In a row, without a file done: a minute or two of a pod that is deleted at once, hours of one that is evicted
from node to node. Drains and upgrades of a cluster stay far below."""

REJECTION_RETRY_INTERVAL: Final = timedelta(seconds=5)
"""Pause before a pod that the API server refused is offered again."""


def steps_for(view: JobView, s: Snapshot) -> Iterator[Action]:
    """Yield what a job needs, in order. The database answers."""
    job, row = view.job, view.row
    if view.settled:
        yield from _finalize(view, s)
        return
    if job.spec is None:
        if row is not None and not view.final:
            yield from _fail(view, ErrorType.INVALID_SPEC, f"{job.problem}; create a corrected job")
        return
    if row is None:
        if job.deleting:
            return
        yield EnsureRow(job)
    if view.final:
        yield from _clean_up(view, s)
    elif view.cancelled:
        yield Cancel(job)
        yield from delete_pods(view.unfinished, view, "the job was cancelled")
    elif view.violation and row is not None:
        yield from _fail(view, view.violation.error, view.violation.message)
    elif row is not None and view.secret_refused and (end := exceeded_secret_deadline(view, s)):
        yield from _fail(view, end.error, end.message)
    elif view.suspended:
        yield from _suspend(view)
    elif view.admitted and row is not None:
        yield from _supervise(view, s)


def diagnosis_of(view: JobView, s: Snapshot) -> Diagnosis | None:
    """Judge the pod of the current attempt; None where there is none."""
    if view.pod is None or view.row is None:
        return None
    return diagnose(view.pod, view.row, s.now, s.database_since, s.site.pod_timeouts)


def _supervise(view: JobView, s: Snapshot) -> Iterator[Action]:
    row = view.row
    assert row is not None
    diagnosis = diagnosis_of(view, s)
    if end := exceeded_deadline(view, diagnosis, s):
        yield from _fail(view, end.error, end.message)
        return
    replaced = [p for p in view.unfinished if p is not view.pod and p not in view.workers]
    yield from delete_pods(replaced, view, "its attempt was replaced")
    if diagnosis is None:
        yield from _start_missing_pod(view, s)
    elif diagnosis.health is PodHealth.DISRUPTED:
        yield from _disrupted(view, diagnosis.message)
    elif diagnosis.health is PodHealth.BROKEN:
        yield from _broken(view, diagnosis, s.now)


def _start_missing_pod(view: JobView, s: Snapshot) -> Iterator[Action]:
    job, row = view.job, view.row
    assert row is not None
    if row.attempt > 0 and row.pod is not None:
        yield from _disrupted(view, f"pod {row.pod} is gone")
    elif view.rejection is None or s.now - view.rejection.at >= REJECTION_RETRY_INTERVAL:
        yield StartPod(job, max(row.attempt, 1))


def _disrupted(view: JobView, what: str) -> Iterator[Action]:
    """Start again, uncounted: the cluster ended the pod. But not for ever, when nothing gets done between."""
    row = view.row
    assert row is not None
    if row.disruptions >= MAX_DISRUPTIONS and not row.has_progressed:  # the next fence begins a new count then
        message = (
            f"{what}; that was disruption {row.disruptions + 1} in a row with no file done between: see what ends "
            "the job's pods (kubectl get events), then start it again; what is indexed is kept"
        )
        yield from _fail(view, ErrorType.DISRUPTION_LIMIT_EXCEEDED, message)
    else:
        yield Retry(view.job, row.attempt + 1, False, f"Restarting: {what}")


def _broken(view: JobView, diagnosis: Diagnosis, now: datetime) -> Iterator[Action]:
    job, row, spec, pod = view.job, view.row, view.job.spec, view.pod
    assert row is not None and spec is not None and pod is not None
    if diagnosis.node_suspect and row.has_progressed:
        # It worked before it fell silent: most likely its node is lost, which is not the job's fault. One that
        # hangs by itself does so at the same place again, and gets no further each time.
        yield Retry(job, row.attempt + 1, False, f"Restarting: {diagnosis.message}", pod.node)
        yield DeletePod(job.id, pod, diagnosis.message, force=True)
    elif not diagnosis.retry:
        yield from _fail(view, diagnosis.error, f"{diagnosis.message}; what is indexed is kept")
    elif row.failures >= spec.backoff_limit:
        tries = f"attempt {row.attempt} was the last that spec.backoffLimit {spec.backoff_limit} allows"
        yield from _fail(view, diagnosis.error, f"{diagnosis.message}; {tries}; what is indexed is kept")
    elif diagnosis.since is None or now >= diagnosis.since + retry_delay(row.failures):
        message = f"Restarting: {diagnosis.message}"
        avoid = pod.node if diagnosis.node_suspect else None
        yield Retry(job, row.attempt + 1, True, message, avoid)
        if not pod.finished:  # the log of a finished one may be wanted
            yield DeletePod(job.id, pod, diagnosis.message, force=diagnosis.node_suspect)


def retry_delay(failures: int) -> timedelta:
    """Return the pause before the next counted retry, when this many were counted: 1, 2, 4, ... 30 s."""
    return timedelta(seconds=min(2 ** min(failures, 10), MAX_RETRY_DELAY))


def _fail(view: JobView, error: ErrorType, message: str) -> Iterator[Action]:
    assert view.row is not None
    yield Fail(view.job, view.row.attempt, error, message)
    yield from delete_pods(view.unfinished, view, "the job failed")


def _suspend(view: JobView) -> Iterator[Action]:
    if view.under_way or view.pod in view.unfinished:
        yield Suspend(view.job, view.attempt + 1)
    yield from delete_pods(view.unfinished, view, "the job is suspended")


def _clean_up(view: JobView, s: Snapshot) -> Iterator[Action]:
    # The rows of jobs whose status says how they ended are not read any more.
    facts = view.row or view.job.status
    ended = facts.completed_at or facts.cancelled_at
    if ended is None or facts.cancelled_at or s.now - ended > s.site.pod_timeouts.exit:
        yield from delete_pods(view.unfinished, view, "the job is over")


def _finalize(view: JobView, s: Snapshot) -> Iterator[Action]:
    yield from _clean_up(view, s)
    status, spec = view.job.status, view.job.spec
    ended = status.completed_at or status.cancelled_at
    if ended is None or view.holds_slot or view.job.deleting:
        return
    if s.now >= ended + (timedelta(seconds=spec.ttl_seconds_after_finished) if spec else RETENTION):
        yield DeleteJob(view.job)


def delete_pods(pods: Sequence[Pod], view: JobView, reason: str) -> Iterator[Action]:
    """Yield the deletion of those of a job's pods that are not being deleted."""
    for pod in pods:
        if pod.deleted_at is None:
            yield DeletePod(view.job.id, pod, reason)


def force_deletions(s: Snapshot) -> Iterator[Action]:
    """Yield the deletion of pods that outlived their grace period: their node does not answer."""
    timeout = s.site.pod_timeouts.termination
    for pod in s.pods:
        if pod.deleted_at is not None and not pod.finished and s.now - pod.deleted_at > timeout:
            yield DeletePod(pod.job_id, pod, "its node does not confirm the deletion", force=True)
