"""Jobs, rows, pods and snapshots for the planner's tests: a row of a table shows only what matters in it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

from codebase_index.api.job import JobState, pod_name
from codebase_index.api.resource import Condition, IndexingJobSpec, IndexingJobStatus
from codebase_index.store.jobs.rows import JobRow
from codebase_operator.model.snapshot import Job, Pod, Snapshot, Termination
from codebase_operator.model.uptime import Uptime

NOW = datetime(2026, 5, 1, 12, 0, 0, tzinfo=UTC)
_IDS = UUID("5f0c2ab3-4d5e-4f70-9f6a-0123456789ab")


ALWAYS = Uptime(since=datetime(2026, 1, 1, tzinfo=UTC))
"""Services that have always answered."""


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def job(name: str = "a", *, age: float = 100, status: IndexingJobStatus | None = None, **spec: Any) -> Job:
    """A job for a repository of its own; `repo` names another one's."""
    repo = spec.pop("repo", name)
    deleting, problem = spec.pop("deleting", False), spec.pop("problem", "")
    valid = IndexingJobSpec.model_validate({"source": {"path": f"/repos/{repo}"}, **spec})
    return Job(
        id=uuid5(_IDS, name), name=name, namespace="ns", created=ago(age), generation=1, version="1",
        deleting=deleting, spec=None if problem else valid, problem=problem,
        status=status or IndexingJobStatus(),
    )  # fmt: skip


def admitted(job_: Job) -> Job:
    """The same job with the mark of a granted slot."""
    mark = Condition(type="Admitted", status="True", reason="SlotGranted", last_transition_time=ago(50))
    return replace(job_, status=job_.status.model_copy(update={"conditions": [mark], "phase": "Pending"}))


def finished(job_: Job, phase: str = "Completed", *, ended: float = 60) -> Job:
    """The same job with a final mirror."""
    field = "cancelled_at" if phase == "Cancelled" else "completed_at"
    return replace(job_, status=job_.status.model_copy(update={"phase": phase, field: ago(ended)}))


def row(job_: Job, state: str = "pending", attempt: int = 0, **fields: Any) -> JobRow:
    """The job's row; a running one is held by its pod, whose heart beats."""
    state_ = JobState(state)
    active = state_ in (JobState.RUNNING, JobState.BLOCKED)
    values: dict[str, Any] = {
        "pod": pod_name(job_.name, attempt) if active else None,
        "heartbeat_at": ago(1) if active else None,
        "started_at": ago(40) if active else None,
        "completed_at": ago(5) if state in ("completed", "failed") else None,
        "cancelled_at": ago(5) if state == "cancelled" else None,
        "blocked_since": ago(5) if state == "blocked" else None,
        "error_type": "CloneFailed" if state == "failed" else None,
        "error_message": "clone failed" if state == "failed" else None,
        "phase": "embedding" if active else None,
        **fields,
    }
    defaults: dict[str, Any] = {
        "slot": active, "claimed_at": None, "done_at_claim": 0, "failures": 0,
        "percent": 0.0, "message": "Queued", "queue_position": None, "commit": None,
        "files_total": None, "files_indexed": 0, "files_skipped": 0, "chunks_created": 0, "files_repeated": 0,
        "eta_seconds": None, "arrival": 0, "starting_since": ago(20),
    }  # fmt: skip
    spec = job_.spec
    return JobRow(
        id=job_.id, namespace=job_.namespace, cr_name=job_.name, target=spec.target if spec else "", ref=None,
        source=str(spec.source) if spec else "", name=None, state=state_, attempt=attempt,
        created_at=job_.created, **{**defaults, **values},
    )  # fmt: skip


def pod(job_: Job, attempt: int = 1, **fields: Any) -> Pod:
    """The pod of an attempt, running for a while."""
    name = pod_name(job_.name, attempt)
    fields.setdefault("running_since", ago(40))
    fields.setdefault("node", "node1")
    return Pod(id=f"pod-{name}", name=name, job_id=job_.id, attempt=attempt, **fields)


def worker(job_: Job, index: int = 1, attempt: int = 1, **fields: Any) -> Pod:
    """A worker pod of an attempt."""
    name = pod_name(job_.name, attempt, index)
    values = {"running_since": ago(20), "node": "node2", **fields}
    return Pod(id=f"pod-{name}", name=name, job_id=job_.id, attempt=attempt, worker_index=index, **values)


def crashed(job_: Job, attempt: int = 1, *, reason: str = "Error", code: int = 1, since: float = 60) -> Pod:
    """A pod that keeps crashing."""
    return pod(
        job_, attempt, running_since=None, waiting=("CrashLoopBackOff", "back-off 10s"),
        termination=Termination(code, reason, ago(since)), memory_limit="2Gi",
    )  # fmt: skip


def ended(job_: Job, attempt: int = 1, *, since: float) -> Pod:
    """A pod whose container has ended so many seconds ago and is not started again yet."""
    return pod(job_, attempt, running_since=None, down=True, termination=Termination(137, "Error", ago(since)))


def snapshot(
    *jobs: Job, rows: list[JobRow] | None = None, pods: list[Pod] | None = None, away: bool = False, **more: Any
) -> Snapshot:
    """Everything at NOW. Jobs without a row get a pending one, unless they are in `without_row`.

    A pending row of a job that is marked as admitted has a slot.
    """
    without = {j.id for j in more.pop("without_row", ())}
    marked = {j.id for j in jobs if j.status_admitted and j.spec and not j.spec.suspend}
    given = {
        r.id: r.model_copy(update={"slot": r.slot or (r.state is JobState.PENDING and r.id in marked)})
        for r in rows or []
    }
    missing = {
        j.id: row(j, slot=j.id in marked)
        for j in jobs
        if j.id not in given and j.id not in without and j.spec and not j.finished
    }
    values: dict[str, Any] = {"now": NOW, "limit": 3, "database_since": ago(3600), "uptime": ALWAYS, **more}
    return Snapshot(
        namespace="ns", jobs=jobs, pods=tuple(pods or []), rows=None if away else {**missing, **given}, **values
    )
