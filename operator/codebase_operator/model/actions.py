"""What a plan is made of: one value per step, carried out by `actuator` in this order."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import UUID

from codebase_index.api.job import ErrorType
from codebase_index.api.resource import IndexingJobStatus
from codebase_operator.model.snapshot import Job, Pod


@dataclass(frozen=True)
class EnsureRow:
    """Insert the row of a job that was created without the MCP server."""

    job: Job


@dataclass(frozen=True)
class Admit:
    """Grant one of `limit` slots, fence the attempt, create its pod."""

    job: Job
    attempt: int
    limit: int


@dataclass(frozen=True)
class CheckSecret:
    """Look again at the Secret that a waiting job was refused; from then on it is queued, or not."""

    job: Job


@dataclass(frozen=True)
class ReleaseSlot:
    """Free the slot of a job that needs it no more, after asking the API whether a pod of it is left."""

    job_id: UUID
    name: str


@dataclass(frozen=True)
class StartPod:
    """Create the pod of an attempt that has none: the rest of an interrupted admission or retry."""

    job: Job
    attempt: int


@dataclass(frozen=True)
class StartWorker:
    """Create a further pod of the current attempt, for a job with spec.parallelism."""

    job: Job
    attempt: int
    worker_index: int


@dataclass(frozen=True)
class Retry:
    """Fence a new attempt and create its pod; `counted` spends one of the job's backoffLimit."""

    job: Job
    attempt: int
    counted: bool
    message: str
    avoid_node: str | None = None


@dataclass(frozen=True)
class DeletePod:
    """Delete a pod; `force` without waiting for a node that may never answer."""

    job_id: UUID
    pod: Pod
    reason: str
    force: bool = False


@dataclass(frozen=True)
class Fail:
    """End the job as failed."""

    job: Job
    attempt: int
    error: ErrorType
    message: str


@dataclass(frozen=True)
class Cancel:
    """Fence the job and make it cancelled."""

    job: Job


@dataclass(frozen=True)
class Suspend:
    """Fence the attempt and put the job back into the queue, where it waits until it is resumed."""

    job: Job
    attempt: int


@dataclass(frozen=True)
class SetQueue:
    """Write queue positions and messages of pending jobs: (job, position from 1 or None, message)."""

    positions: tuple[tuple[UUID, int | None, str], ...]


@dataclass(frozen=True)
class WriteStatus:
    """Mirror a job's facts into its status."""

    job: Job
    status: IndexingJobStatus
    position_only: bool = False
    """Whether nothing but the queue position changed."""


@dataclass(frozen=True)
class CancelOrphan:
    """Cancel a row whose custom resource is gone, after asking the API for it by name."""

    job_id: UUID
    name: str


@dataclass(frozen=True)
class RemoveOrphan:
    """Remove the row of a job that is over and whose resource is gone, after asking the API for it by name."""

    job_id: UUID
    name: str


@dataclass(frozen=True)
class DeleteJob:
    """Remove a job that finished longer than ttlSecondsAfterFinished ago, with its row and events."""

    job: Job


@dataclass(frozen=True)
class Emit:
    """Tell a transition as a Kubernetes Event and in the log; equal `key`s are one event, told once."""

    job: Job
    reason: str
    message: str
    key: str
    warning: bool = False
    facts: Mapping[str, object] = field(default_factory=dict)
    """Fields of the log line."""


@dataclass(frozen=True)
class PlanFailed:
    """Planning for a job raised: carried out by raising it again, so that it is reported like any failed step."""

    job_id: UUID
    error: Exception


Action = (
    EnsureRow | Admit | CheckSecret | ReleaseSlot | StartPod | StartWorker | Retry | DeletePod | Fail | Cancel
    | Suspend | SetQueue | WriteStatus | CancelOrphan | RemoveOrphan | DeleteJob | Emit | PlanFailed
)  # fmt: skip


def job_of(action: Action) -> UUID | None:
    """Return the job that an action is about; None for one about many."""
    match action:
        case SetQueue():
            return None
        case DeletePod() | CancelOrphan() | RemoveOrphan() | ReleaseSlot() | PlanFailed():
            return action.job_id
        case _:
            return action.job.id
