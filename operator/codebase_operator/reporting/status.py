"""The job's status: a mirror of its row and pod, and the rule for when to write it. Pure."""

from datetime import datetime, timedelta
from typing import Any, Final

from codebase_index.api.resource import IndexingJobStatus, Progress
from codebase_operator.model.snapshot import Job
from codebase_operator.reporting.conditions import (
    ADMITTED,
    StatusInput,
    conditions_of,
    missing_conditions,
    summary,
)
from codebase_operator.reporting.messages import MAX_WORD_BYTES, single_line

WRITE_INTERVAL: Final = timedelta(seconds=2)
"""Progress alone is written at most this often for each job; transitions at once."""

_PROGRESSIVE = ("progress", "percentage", "message")


def status_of(s: StatusInput) -> IndexingJobStatus:
    """Compute the status that a job should have now."""
    before, row, pod = s.job.status, s.view.row, s.view.pod
    conditions = conditions_of(s)
    phase, reason, message = summary(conditions)
    if row is None:  # no row at hand: the last reported progress stays
        return before.model_copy(
            update={
                "phase": phase, "reason": reason, "message": message, "conditions": conditions,
                "source": _source(s.job),
                "queue_position": s.position.number if s.position else None,
                # A job whose spec cannot be read has no row to record its end.
                "completed_at": before.completed_at or (_seconds(s.now) if s.job.spec is None else None),
                "observed_generation": s.job.generation,
            }
        )  # fmt: skip
    if phase == "Running" and reason == "Indexing":
        message = row.message
    restarts = max(row.attempt - 1, 0) + (pod.restarts if pod else 0)
    return IndexingJobStatus(
        phase=phase, reason=reason, message=single_line(message), conditions=conditions, source=_source(s.job),
        percentage=f"{int(row.percent)}%", attempt=row.last_attempt,
        # A final job keeps what it had: the fence that ended it was no restart.
        restarts=before.restarts if s.view.final else max(before.restarts, restarts),
        progress=Progress(
            percent=int(row.percent), phase=row.phase and single_line(row.phase, MAX_WORD_BYTES),
            message=single_line(row.message), files_total=row.files_total, **row.counts(),
            estimated_remaining_seconds=row.eta_seconds, last_updated_time=s.now.replace(microsecond=0),
        ),
        queue_position=s.position.number if s.position else None,
        commit=row.commit and single_line(row.commit, MAX_WORD_BYTES),
        pod_name=(pod.name if pod else row.pod) or before.pod_name,
        node_name=(pod.node if pod else None) or before.node_name,
        started_at=_seconds(row.started_at), completed_at=_seconds(row.completed_at),
        cancelled_at=_seconds(row.cancelled_at), observed_generation=s.job.generation,
    )  # fmt: skip


def completed_mirror(job: Job, now: datetime) -> IndexingJobStatus | None:
    """Return a final job's status with what a release before did not write; None where nothing is missing.

    Nobody looks at a final job's row again, so all of it comes from the mirror itself.
    """
    status, missing = job.status, missing_conditions(job, now)
    if not missing:
        return None
    return status.model_copy(update={
        "conditions": [*status.conditions, *missing],
        "source": status.source or _source(job),
        "percentage": status.percentage or (f"{status.progress.percent}%" if status.progress else None),
    })  # fmt: skip


def worth_writing(s: StatusInput, status: IndexingJobStatus) -> bool:
    """Whether the status differs by a transition, or by progress that is old enough to be shown."""
    old, new = comparable(s.job.status), comparable(status)
    if old == new:
        return False
    if any(old[name] != new[name] for name in new if name not in _PROGRESSIVE):
        return True
    written = s.job.status.progress.last_updated_time if s.job.status.progress else None
    return written is None or s.now - written >= WRITE_INTERVAL


def only_position_changed(s: StatusInput, status: IndexingJobStatus) -> bool:
    """Whether a pending job changed in its queue position alone, which moves with every other job."""
    if s.position is None or s.job.status.queue_position is None:
        return False
    return _without_position(s.job.status) == _without_position(status)


def _without_position(status: IndexingJobStatus) -> dict[str, Any]:
    content = status.model_dump(exclude={"queue_position", "message", "progress", "percentage"})
    for condition in content["conditions"]:
        if condition["type"] == ADMITTED:
            condition.pop("message")
    return content


def comparable(status: IndexingJobStatus) -> dict[str, Any]:
    """Return the status without its write time, which alone is no change."""
    content = status.model_dump()
    if content["progress"]:
        content["progress"].pop("last_updated_time")
    return content


def _source(job: Job) -> str | None:
    return single_line(str(job.spec.source)) if job.spec else job.status.source


def _seconds(time: Any) -> Any:
    return time.replace(microsecond=0) if time else None
