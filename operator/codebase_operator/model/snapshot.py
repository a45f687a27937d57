"""What the planner sees: jobs, pods and rows of one instant, as frozen values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, Final
from uuid import UUID

from pydantic import ValidationError

from codebase_index.api.job import (
    FINAL,
    LABEL_ATTEMPT,
    LABEL_CALLER,
    LABEL_HELPER,
    LABEL_JOB_ID,
    LABEL_WORKER_INDEX,
    ErrorType,
    JobState,
    pod_name,
)
from codebase_index.api.resource import (
    Condition,
    IndexingJob,
    IndexingJobSpec,
    IndexingJobStatus,
    Metadata,
    problem_of,
)
from codebase_index.store.jobs.rows import JobRow
from codebase_index.trace_context import ANNOTATION, TraceContext
from codebase_operator.model.site_policy import SitePolicy, Violation
from codebase_operator.model.uptime import Uptime

CONTAINER: Final = "indexer"
"""The container of an indexer pod that indexes. Others may stand beside it: a mesh adds its own."""

FINAL_PHASES = frozenset({"Completed", "Failed", "Cancelled"})

SECRET_REFUSED: Final = ErrorType.SECRET_REFUSED.value
"""Reason of a refusal of ours: a Secret that is missing, not labelled, or of another host."""

STUCK_AFTER: Final = timedelta(days=7)
"""An unfinished job that is older than this is flagged as stuck, never removed: somebody may wait for it."""


@dataclass(frozen=True)
class Job:
    """A custom resource. `spec` is None when it could not be read; `problem` then says why."""

    id: UUID
    name: str
    namespace: str
    created: datetime
    generation: int
    version: str
    deleting: bool
    spec: IndexingJobSpec | None
    problem: str = ""
    status: IndexingJobStatus = field(default_factory=IndexingJobStatus)
    caller: str | None = None
    """Digest of who started it through the MCP server."""
    trace: TraceContext | None = None
    """Of the call that started it."""

    @classmethod
    def parse(cls, body: Mapping[str, Any]) -> "Job":
        """Read a body from the API; a spec that cannot be read is a fact about the job, not an error."""
        meta = Metadata.model_validate(body["metadata"])
        spec, problem = None, ""
        try:
            spec = IndexingJobSpec.model_validate(body.get("spec") or {})
        except ValidationError as error:
            problem = problem_of(error)
        return cls(
            id=UUID(meta.uid), name=meta.name, namespace=meta.namespace, created=meta.creation_timestamp,
            generation=meta.generation, version=meta.resource_version,
            deleting=meta.deletion_timestamp is not None, spec=spec, problem=problem,
            status=_status(body.get("status") or {}), caller=meta.labels.get(LABEL_CALLER),
            trace=TraceContext.parse(meta.annotations.get(ANNOTATION)),
        )  # fmt: skip

    @property
    def resource(self) -> IndexingJob:
        """The job as the store knows it. Only for one whose spec could be read."""
        assert self.spec is not None
        meta = Metadata(
            name=self.name, namespace=self.namespace, uid=str(self.id), creation_timestamp=self.created,
            labels={LABEL_CALLER: self.caller} if self.caller else {},
        )  # fmt: skip
        return IndexingJob(metadata=meta, spec=self.spec)

    @property
    def finished(self) -> bool:
        """Whether the mirror says that the job is final: then it is never touched again, until its time is up."""
        return self.status.phase in FINAL_PHASES

    @property
    def status_admitted(self) -> bool:
        """Whether the status says that the job has a slot."""
        admitted = self.condition("Admitted")
        return admitted is not None and admitted.status == "True"

    def condition(self, kind: str) -> Condition | None:
        """Return the condition of this type in the mirror."""
        return next((c for c in self.status.conditions if c.type == kind), None)


def _status(body: Mapping[str, Any]) -> IndexingJobStatus:
    try:
        return IndexingJobStatus.model_validate(body)
    except ValidationError:
        return IndexingJobStatus()  # not ours, or damaged: it is only a mirror and is written anew


LOG_PATH: Final = "logPath"
"""In a pod's status, written by the embedded runtime alone."""


@dataclass(frozen=True)
class Termination:
    """How a container last terminated."""

    exit_code: int
    reason: str
    at: datetime | None


@dataclass(frozen=True)
class Pod:
    """An indexer pod, reduced to what decisions need."""

    id: str
    name: str
    job_id: UUID
    attempt: int
    worker_index: int = 0
    """Index of a worker, from 1; 0 for the leader pod, which holds the attempt."""
    version: str = ""
    finished: bool = False
    failure: str = ""
    """Reason of a pod that failed as a whole, such as Evicted."""
    failure_message: str = ""
    """What its kubelet says about that."""
    deleted_at: datetime | None = None
    """When its grace period ends; None while nobody deletes it."""
    node: str | None = None
    unschedulable: str | None = None
    disrupted: str | None = None
    waiting: tuple[str, str] | None = None
    running_since: datetime | None = None
    down: bool = False
    """Whether its container has ended and is not started again yet."""
    restarts: int = 0
    termination: Termination | None = None
    memory_limit: str | None = None
    log_path: str | None = None
    """Where its log is, if that is a file of this machine."""

    @property
    def log(self) -> str:
        """Where a person reads its log."""
        return self.log_path or f"kubectl logs {self.name}"

    @classmethod
    def parse(cls, body: Mapping[str, Any]) -> "Pod | None":
        """Read a body from the API; None for a pod whose labels are not those of an indexer."""
        meta, status = body["metadata"], body.get("status") or {}
        labels = meta.get("labels") or {}
        try:
            job_id, attempt = UUID(labels[LABEL_JOB_ID]), int(labels[LABEL_ATTEMPT])
            worker_index = int(labels.get(LABEL_WORKER_INDEX) or labels.get(LABEL_HELPER, 0))
        except (KeyError, ValueError):
            return None
        phase = status.get("phase", "Pending")
        container = _indexer_of(status.get("containerStatuses"))
        state, previous = container.get("state") or {}, container.get("lastState") or {}
        waiting, running = state.get("waiting"), state.get("running")
        spec: dict[str, Any] = body.get("spec") or {}
        limits: dict[str, Any] = (_indexer_of(spec.get("containers")).get("resources") or {}).get("limits") or {}
        return cls(
            id=meta["uid"], name=meta["name"], job_id=job_id, attempt=attempt, worker_index=worker_index,
            version=meta.get("resourceVersion", ""),
            finished=finished(body),
            failure=(status.get("reason") or "") if phase == "Failed" else "",
            failure_message=(status.get("message") or "").strip() if phase == "Failed" else "",
            deleted_at=_parse_time(meta.get("deletionTimestamp")),
            node=spec.get("nodeName"),
            unschedulable=_condition_message(status, "PodScheduled", "False"),
            disrupted=_condition_message(status, "DisruptionTarget", "True"),
            waiting=(waiting.get("reason", ""), waiting.get("message", "")) if waiting else None,
            running_since=_parse_time(running.get("startedAt")) if running else None,
            down="terminated" in state,
            restarts=container.get("restartCount", 0),
            termination=_parse_termination(state.get("terminated") or previous.get("terminated")),
            memory_limit=limits.get("memory"),
            log_path=status.get(LOG_PATH),
        )  # fmt: skip


def _indexer_of(containers: list[dict[str, Any]] | None) -> dict[str, Any]:
    """Return the container that indexes, or its status; one without a name is the only one."""
    return next((c for c in containers or [] if c.get("name", CONTAINER) == CONTAINER), {})


def finished(pod: Mapping[str, Any]) -> bool:
    """Whether all containers of a pod, a body from the API, have ended for good."""
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def _parse_time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _condition_message(status: Mapping[str, Any], kind: str, value: str) -> str | None:
    for condition in status.get("conditions") or []:
        if condition.get("type") == kind and condition.get("status") == value:
            return f"{condition.get('reason', kind)}: {condition.get('message', '')}".rstrip(": ")
    return None


def _parse_termination(terminated: Mapping[str, Any] | None) -> Termination | None:
    if not terminated:
        return None
    return Termination(
        terminated.get("exitCode", 0), terminated.get("reason", ""), _parse_time(terminated.get("finishedAt"))
    )


@dataclass(frozen=True)
class Rejection:
    """The API server rejected a job's pod: over quota, or against a policy."""

    reason: str
    message: str
    at: datetime
    """When it was rejected last."""
    since: datetime | None = None
    """When it was first rejected for this reason without interruption."""


@dataclass(frozen=True)
class StepFailure:
    """A step of a job failed in the last pass, and in each one since `since`."""

    step: str
    """The action's name, such as Admit."""
    message: str
    since: datetime


@dataclass(frozen=True)
class Snapshot:
    """Everything that a plan is made from.

    `now` is the database's clock while it answers, so that a skewed clock here can kill no healthy pod.
    """

    now: datetime
    namespace: str
    limit: int
    jobs: tuple[Job, ...]
    pods: tuple[Pod, ...]
    rows: Mapping[UUID, JobRow] | None
    """The database's facts, or None while it does not answer."""
    database_since: datetime
    """Since when the database answers (or does not): heartbeats from before prove nothing."""
    worker_limit: int = 0
    """How many worker pods may run at once, of all jobs together."""
    site: SitePolicy = field(default_factory=SitePolicy)
    uptime: Uptime = field(default_factory=Uptime)
    """When the database and the API server answered, as far as this operator knows: what deadlines count."""
    rejections: Mapping[UUID, Rejection] = field(default_factory=dict)
    database_misconfigured: str | None = None
    """Without rows: what a person has to mend, where the database answers and refuses."""
    failures: Mapping[UUID, StepFailure] = field(default_factory=dict)
    positions_due: bool = True
    """Whether the positions of a long queue may be written in this pass: every few seconds."""


@dataclass(frozen=True)
class JobView:
    """One job with all that belongs to it."""

    job: Job
    row: JobRow | None
    pods: tuple[Pod, ...]
    rejection: Rejection | None = None
    site: SitePolicy = field(default_factory=SitePolicy)
    failure: StepFailure | None = None

    @property
    def attempt(self) -> int:
        """The fencing token; 0 before the first attempt."""
        return self.row.attempt if self.row else 0

    @property
    def final(self) -> bool:
        """Whether the work is over: the row says so, or the mirror of a row that is gone."""
        return self.row.state in FINAL if self.row else self.job.finished

    @property
    def settled(self) -> bool:
        """Whether the work is over and the mirror says so: only the clean-up is left."""
        return self.job.finished and self.final

    @cached_property
    def violation(self) -> Violation | None:
        """What the site does not allow this job. One that a pod has taken goes on under the rules of that time."""
        return None if self.job.spec is None or self.under_way else self.site.violation_of(self.job.spec)

    @property
    def under_way(self) -> bool:
        """Whether a pod once claimed the job, and it is not over."""
        return self.row is not None and self.row.state in (JobState.RUNNING, JobState.BLOCKED)

    def stuck(self, now: datetime) -> bool:
        """Whether the job is unfinished for so long that a person should look at it."""
        return not self.final and now - self.job.created > STUCK_AFTER

    @property
    def suspended(self) -> bool:
        """Whether the job shall not run for now."""
        return self.job.spec is not None and self.job.spec.suspend

    @property
    def cancelled(self) -> bool:
        """Whether the job shall end: cancelled by its spec, or about to be deleted."""
        return self.job.deleting or (self.job.spec is not None and self.job.spec.cancel)

    @property
    def secret_refused(self) -> bool:
        """Whether the job may not have the Secret that it names; it then waits without a slot."""
        return self.rejection is not None and self.rejection.reason == SECRET_REFUSED and not self.admitted

    @property
    def admitted(self) -> bool:
        """Whether the job was granted a slot and still needs it."""
        if self.row is None or self.final:
            return False
        return self.under_way or (self.row.slot and not self.suspended)

    @property
    def holds_slot(self) -> bool:
        """Whether the job counts against the limit: it has a slot, or a pod of it is still there."""
        return self.admitted or bool(self.unfinished) or (self.row is not None and self.row.slot)

    @cached_property
    def unfinished(self) -> tuple[Pod, ...]:
        """Pods that may still run, terminating ones too."""
        return tuple(pod for pod in self.pods if not pod.finished)

    @cached_property
    def pod(self) -> Pod | None:
        """The leader pod of the current attempt."""
        wanted = pod_name(self.job.name, self.attempt)
        return next((pod for pod in self.pods if pod.name == wanted), None)

    @cached_property
    def workers(self) -> tuple[Pod, ...]:
        """The worker pods of the current attempt, finished ones too."""
        return tuple(pod for pod in self.pods if pod.worker_index and pod.attempt == self.attempt)


def job_views(snapshot: Snapshot) -> list[JobView]:
    """Sort pods and rows to their jobs."""
    pods: dict[UUID, list[Pod]] = {}
    for pod in snapshot.pods:
        pods.setdefault(pod.job_id, []).append(pod)
    rows = snapshot.rows or {}
    return [
        JobView(
            job, rows.get(job.id), tuple(pods.get(job.id, ())), snapshot.rejections.get(job.id),
            snapshot.site, snapshot.failures.get(job.id),
        )
        for job in snapshot.jobs
    ]  # fmt: skip
