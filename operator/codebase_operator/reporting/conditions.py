"""The conditions of a job: the contract about how it stands. `phase` is derived from them, for display.

The constants below are the dictionary of everything that `kubectl describe ij` can say.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

from codebase_index.api.job import LABEL_JOB, ErrorType, JobState
from codebase_index.api.resource import Condition
from codebase_operator.model.snapshot import SECRET_REFUSED, STUCK_AFTER, Job, JobView, Rejection
from codebase_operator.reporting.messages import MAX_WORD_BYTES, single_line

# --- types -----------------------------------------------------------------------------------------

ADMITTED: Final = "Admitted"  # the job holds one of the slots
RUNNING: Final = "Running"  # True from the first claim by a pod to the end; the reason says if a pod is at work
SUSPENDED: Final = "Suspended"  # spec.suspend is carried out: no pod, progress kept
CANCELLED: Final = "Cancelled"  # spec.cancel, or a cancel through MCP, is carried out: nothing writes any more
SUCCEEDED: Final = "Succeeded"  # Unknown while the job is active, then True or False for ever
DEGRADED: Final = "Degraded"  # something that the job needs is away, or it is stuck; the reason says which
# What tools wait for, which know no custom resource of ours. Each follows from Succeeded and Cancelled.
COMPLETE: Final = "Complete"  # as of a batch Job: `kubectl wait --for=condition=Complete`
FAILED: Final = "Failed"  # the same
STALLED: Final = "Stalled"  # as kstatus reads it (Flux): the job failed or was cancelled, and Ready will not come
READY: Final = "Ready"  # the same, and Argo CD: the job is complete

# --- reasons: set when ... -------------------------------------------------------------------------

SLOT_GRANTED: Final = "SlotGranted"  # Admitted=True: the job may have a pod
CONCURRENCY_LIMIT: Final = "ConcurrencyLimit"  # Admitted=False: as many jobs as allowed hold a slot
QUEUE_FULL: Final = "QueueFull"  # Admitted=False: as many jobs as allowed wait; this one keeps its turn outside
SAME_REPOSITORY: Final = "WaitingForSameRepository"  # Admitted=False: a job for the same source and ref holds one
FINISHED: Final = "Finished"  # Admitted=False, Running=False: the job is final, its slot is free
INDEXING: Final = "Indexing"  # Running=True: a pod is at work
RESTARTING: Final = "Restarting"  # Running=True: the pod ended too early and is being replaced
POD_STARTING: Final = "PodStarting"  # the pod is scheduled, pulled or starting
UNSCHEDULABLE: Final = "Unschedulable"  # no node has room for the pod, or none matches its rules
IMAGE_PULL_FAILED: Final = "ImagePullFailed"  # the node cannot get the indexer's image
CONTAINER_CONFIG_ERROR: Final = "ContainerConfigError"  # the container cannot be made: a Secret is missing, say
QUOTA_EXCEEDED: Final = "QuotaExceeded"  # a ResourceQuota refuses the pod; tried again every few seconds
WORKER_REFUSED: Final = "WorkerRefused"  # Running=True: the job goes on with fewer pods than spec.parallelism
# SECRET_REFUSED of snapshot.py: Admitted=False, git.secretRef names a Secret that this job may not have
POD_REFUSED: Final = "PodRefused"  # the API server refuses the pod: policy, permission or an invalid template
NOT_STARTED: Final = "NotStarted"  # Running=False: the job waits for its slot
BLOCKED: Final = "Blocked"  # Running=False: the job waits for a service
WAITING_FOR_SERVICE: Final = "WaitingForService"  # Degraded=True: the indexer waits, the message says for what
DATABASE_UNAVAILABLE: Final = "DatabaseUnavailable"  # Degraded=True: the operator cannot reach Postgres
DATABASE_MISCONFIGURED: Final = "DatabaseMisconfigured"  # Degraded=True: Postgres answers and refuses the operator
STEP_FAILED: Final = "StepFailed"  # Degraded=True: the operator cannot carry out a step of this job; others go on
STUCK: Final = "StuckForDays"  # Degraded=True: unfinished for more than 7 days; the message says what to do
AS_EXPECTED: Final = "AsExpected"  # Degraded=False
SUSPEND_REQUESTED: Final = "SuspendRequested"  # Suspended=True
NOT_SUSPENDED: Final = "NotSuspended"  # Suspended=False
CANCEL_REQUESTED: Final = "CancelRequested"  # Cancelled=True, Succeeded=False
NOT_CANCELLED: Final = "NotCancelled"  # Cancelled=False
IN_PROGRESS: Final = "InProgress"  # Succeeded=Unknown
COMPLETED: Final = "Completed"  # Succeeded=True
INVALID_SPEC: Final = "InvalidSpec"  # Succeeded=False: the spec cannot be read
# Succeeded=False otherwise has the job's error type: codebase_index.api.job.ErrorType.

FAILED_FOR: Final = timedelta(seconds=3)
"""How long the steps of a job must fail before its condition says so: what the next pass mends is no news."""


@dataclass(frozen=True)
class QueuePosition:
    """A pending job's position in the queue."""

    number: int
    """From 1."""
    total: int
    running: int
    waits_for: str | None = None
    """Name of the job for the same repository and ref that must end first."""

    @property
    def message(self) -> str:
        """The sentence for status answers."""
        jobs = "job" if self.running == 1 else "jobs"
        queued = f"Queued: {ordinal(self.number)} of {self.total}, {self.running} {jobs} running"
        if self.waits_for is None:
            return queued
        return f"{queued}; waits for job {self.waits_for}, which indexes the same repository"


def queue_full(bound: int) -> str:
    """Return why a job is not in the queue. The text stays the same, so that waiting costs no status writes."""
    return (
        f"the queue is full: {bound} jobs wait, as many as limits.maxWaitingJobs allows; this job is queued by "
        "itself when some have started"
    )


def ordinal(number: int) -> str:
    """1st, 2nd, 3rd, 4th, 11th, 21st."""
    suffix = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{suffix}"


@dataclass(frozen=True)
class Outage:
    """The database cannot be used: the reason for the conditions, and the message for people."""

    reason: str
    message: str


@dataclass(frozen=True)
class StatusInput:
    """Everything that a job's status is computed from, at one instant."""

    view: JobView
    now: datetime
    admitted: bool
    position: QueuePosition | None = None
    pod_reason: str = POD_STARTING
    pod_message: str = ""
    """What the current pod's state means (`diagnosis.diagnose`)."""
    outage: Outage | None = None
    queue_limit: int | None = None
    """The queue's limit, for a job beyond it; None for one that is in the queue."""

    @property
    def job(self) -> Job:
        """The custom resource."""
        return self.view.job

    @property
    def state(self) -> JobState | None:
        """The row's state; None where there is no row, or the database is away."""
        return self.view.row.state if self.view.row else None

    @property
    def rejection(self) -> Rejection | None:
        """Why the API server did not take the pod."""
        return self.view.rejection


ConditionStatus = Literal["True", "False", "Unknown"]
ConditionValue = tuple[ConditionStatus, str, str]


def conditions_of(s: StatusInput) -> list[Condition]:
    """Compute all conditions. A condition's time changes only with its status."""
    cancelled, succeeded = _cancelled(s), _succeeded(s)
    values = {
        ADMITTED: _admitted(s), RUNNING: _running(s), SUSPENDED: _suspended(s), CANCELLED: cancelled,
        SUCCEEDED: succeeded, DEGRADED: _degraded(s), **_of_the_end(cancelled, succeeded),
    }  # fmt: skip
    return [_condition(s, kind, value) for kind, value in values.items()]


def _of_the_end(cancelled: ConditionValue, succeeded: ConditionValue) -> dict[str, ConditionValue]:
    """Say once more how the job ended, in the words of other tools. The messages stay where they are."""
    (is_cancelled, *_), (is_success, reason, _) = cancelled, succeeded

    def value(true: bool) -> ConditionValue:
        return ("True" if true else "False"), reason, ""

    return {
        COMPLETE: value(is_success == "True"),
        FAILED: value(is_success == "False" and is_cancelled != "True"),
        STALLED: value(is_success == "False"),
        READY: value(is_success == "True"),
    }


def missing_conditions(job: Job, now: datetime) -> list[Condition]:
    """Return the conditions of the end that a final job's mirror lacks: a release before them wrote it."""
    status, reason = job.status, job.status.reason or COMPLETED
    cancelled: ConditionValue = ("True" if status.phase == "Cancelled" else "False"), reason, ""
    succeeded: ConditionValue = ("True" if status.phase == "Completed" else "False"), reason, ""
    return [
        Condition(
            type=kind, status=value, reason=why, message="", observed_generation=status.observed_generation,
            last_transition_time=status.completed_at or status.cancelled_at or now.replace(microsecond=0),
        )
        for kind, (value, why, _) in _of_the_end(cancelled, succeeded).items()
        if job.condition(kind) is None
    ]  # fmt: skip


def _condition(s: StatusInput, kind: str, value: ConditionValue) -> Condition:
    status, reason, message = value
    before = s.job.condition(kind)
    same = before is not None and before.status == status
    return Condition(
        type=kind, status=status, reason=single_line(reason, MAX_WORD_BYTES), message=single_line(message),
        observed_generation=s.job.generation,
        last_transition_time=before.last_transition_time if same and before else s.now.replace(microsecond=0),
    )  # fmt: skip


def _admitted(s: StatusInput) -> ConditionValue:
    if s.view.final or s.job.spec is None:
        return "False", FINISHED, "the job is final and holds no slot"
    if s.admitted:
        return "True", SLOT_GRANTED, "the job holds a slot"
    if s.view.suspended:
        return "False", SUSPEND_REQUESTED, "a suspended job holds no slot"
    if s.queue_limit is not None:
        return "False", QUEUE_FULL, queue_full(s.queue_limit)
    if s.view.secret_refused and s.rejection and s.outage is None:
        return "False", SECRET_REFUSED, s.rejection.message
    if s.position is None and s.outage is None and s.view.failure:
        return "False", STEP_FAILED, s.view.failure.message
    if s.position is None:
        outage = s.outage or Outage(DATABASE_UNAVAILABLE, "waiting for the database")
        return "False", outage.reason, outage.message
    return "False", SAME_REPOSITORY if s.position.waits_for else CONCURRENCY_LIMIT, s.position.message


def _running(s: StatusInput) -> ConditionValue:
    if s.view.final or s.job.spec is None:
        return "False", FINISHED, ""
    if s.state is JobState.BLOCKED and s.view.row:
        return "False", BLOCKED, s.view.row.message
    if s.outage and s.job.status.phase in ("Running", "Blocked"):
        return "False", BLOCKED, s.outage.message
    if not s.admitted:
        return "False", NOT_STARTED, ""
    reason, message = s.pod_reason, s.pod_message
    if s.rejection:
        reason, message = s.rejection.reason, s.rejection.message
    return "True" if s.view.under_way else "False", reason, message


def _suspended(s: StatusInput) -> ConditionValue:
    if s.view.suspended and not s.view.final and not s.view.holds_slot:
        return "True", SUSPEND_REQUESTED, "resumes where it stopped when spec.suspend is false again"
    return "False", NOT_SUSPENDED, "suspending" if s.view.suspended and not s.view.final else ""


def _cancelled(s: StatusInput) -> ConditionValue:
    if s.state is JobState.CANCELLED and s.view.row:
        return "True", CANCEL_REQUESTED, s.view.row.message
    return "False", NOT_CANCELLED, "cancelling" if s.view.cancelled and not s.view.final else ""


def _succeeded(s: StatusInput) -> ConditionValue:
    row = s.view.row
    if s.job.spec is None and not (row and s.view.final):
        return "False", INVALID_SPEC, f"{s.job.problem}; delete this job and create a corrected one"
    if row is None or not s.view.final:
        return "Unknown", IN_PROGRESS, ""
    if row.state is JobState.COMPLETED:
        return "True", COMPLETED, row.message
    if row.state is JobState.CANCELLED:
        return "False", CANCEL_REQUESTED, row.message
    return "False", row.error_type or ErrorType.INTERNAL.value, row.error_message or row.message


def _degraded(s: StatusInput) -> ConditionValue:
    if s.view.stuck(s.now) and s.job.spec is not None:
        return "True", STUCK, _stuck(s)
    if s.outage and not s.view.final:
        return "True", s.outage.reason, s.outage.message
    failure = s.view.failure
    if failure and s.rejection is None and s.now - failure.since >= FAILED_FOR:
        return (
            "True",
            STEP_FAILED,
            f"{failure.step} has been failing since {failure.since:%H:%M:%S} UTC: {failure.message}",
        )
    if s.state is JobState.BLOCKED and s.view.row:
        return "True", WAITING_FOR_SERVICE, s.view.row.message
    return "False", AS_EXPECTED, ""


def _stuck(s: StatusInput) -> str:
    """Return what holds the job up, and what to do; the text stays the same from day to day."""
    name, patch = s.job.name, """--type merge -p '{"spec":{"cancel":true}}'"""
    cancel = f"cancel it: kubectl patch ij {name} {patch}"
    if s.outage:
        what = f"{s.outage.message}: restore the database"
    elif s.view.failure:
        what = f"{s.view.failure.step} fails: {s.view.failure.message}; fix that, or {cancel}"
    elif s.state is JobState.BLOCKED and s.view.row:
        what = f"{s.view.row.message}: restore the service, or {cancel}"
    elif s.view.suspended:
        what = f"it is suspended: set spec.suspend to false, or {cancel}"
    elif not s.admitted:
        position = s.position.message if s.position else "it has no slot"
        what = (
            f"{position}: see what holds the slots (kubectl get ij), give it a higher spec.priority, or {cancel}"
        )
    elif not s.view.under_way:
        what = f"no pod has taken it: {s.rejection.message if s.rejection else s.pod_message}; or {cancel}"
    else:
        what = f"look at what it does: kubectl logs -l {LABEL_JOB}={name}; wait for its end, or {cancel}"
    return f"not finished for more than {STUCK_AFTER.days} days, since {s.job.created:%Y-%m-%d %H:%M} UTC; {what}"


def summary(conditions: list[Condition]) -> tuple[str, str, str]:
    """Derive (phase, reason, message) for display: the one place where a phase comes from."""
    of = {condition.type: condition for condition in conditions}

    def derived_from(kind: str, phase: str) -> tuple[str, str, str]:
        return phase, of[kind].reason, of[kind].message

    if of[CANCELLED].status == "True":
        return derived_from(CANCELLED, "Cancelled")
    if of[SUCCEEDED].status == "True":
        return derived_from(SUCCEEDED, "Completed")
    if of[SUCCEEDED].status == "False":
        return derived_from(SUCCEEDED, "Failed")
    if of[SUSPENDED].status == "True":
        return derived_from(SUSPENDED, "Suspended")
    if of[RUNNING].reason == BLOCKED:
        return derived_from(DEGRADED, "Blocked")
    phase = "Running" if of[RUNNING].status == "True" else "Pending"
    if of[DEGRADED].reason == STEP_FAILED:
        return derived_from(DEGRADED, phase)
    return derived_from(RUNNING if phase == "Running" or of[ADMITTED].status == "True" else ADMITTED, phase)
