"""An indexing job's life: its states, the one table of legal transitions, and every name derived from it.

Nothing here does I/O. The database holds the same table (`job_transitions`) and refuses anything else;
a test compares the two.
"""

import hashlib
import json
import re
from collections.abc import Sequence
from enum import StrEnum
from typing import Final


class JobState(StrEnum):
    """Where a job stands. The facts live in Postgres (`jobs.state`); everything else mirrors them."""

    PENDING = "pending"  # waits for a slot, or is suspended
    RUNNING = "running"  # a pod holds its current attempt, or is about to again
    BLOCKED = "blocked"  # waits for the database or the embedding service; unblocks by itself
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


TRANSITIONS: Final[dict[JobState, frozenset[JobState]]] = {
    JobState.PENDING: frozenset({JobState.RUNNING, JobState.CANCELLED, JobState.FAILED}),
    JobState.RUNNING: frozenset(
        # Back to pending only when the job is suspended.
        {JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED, JobState.BLOCKED, JobState.PENDING}
    ),
    JobState.BLOCKED: frozenset({JobState.RUNNING, JobState.FAILED, JobState.CANCELLED}),
    JobState.COMPLETED: frozenset(),
    JobState.FAILED: frozenset(),
    JobState.CANCELLED: frozenset(),
}

FINAL: Final = frozenset(state for state, following in TRANSITIONS.items() if not following)
ACTIVE: Final = frozenset(JobState) - FINAL


def cannot_cancel(job_id: object, state: JobState) -> str:
    """Say why a job in a final state cannot be cancelled."""
    already = "already " if state is JobState.CANCELLED else ""
    return f"cannot cancel: job {job_id} is {already}{state.value}"


SUSPENDED: Final = "Suspended"
"""Message of a pending job that is suspended: it waits for no slot, and holds no place in the queue."""


# Reasons for which a file is left out, as the work list has them, and others than the indexer act on them.
VANISHED: Final = "vanished"
UNREADABLE: Final = "not readable"
EMPTY: Final = "empty"


class Phase(StrEnum):
    """What a running job is doing. The pipeline streams, so chunking and embedding are one phase."""

    SCANNING = "scanning"  # 0 to 10 %
    EMBEDDING = "embedding"  # 10 to 90 %: chunking and embedding
    WRITING = "writing"  # 90 to 100 %: sweep, statistics
    COMPLETE = "complete"


class ErrorType(StrEnum):
    """Why a job failed: a closed set, part of the contract. The message says what to do next."""

    SOURCE_NOT_FOUND = "SourceNotFound"  # the path or repository does not exist in the pod
    SOURCE_UNREADABLE = "SourceUnreadable"  # it exists, but the pod's user may not read it
    SOURCE_CHANGED = "SourceChanged"  # it went away, or became another one, while the job read it
    SOURCE_REFUSED = "SourceRefused"  # outside every root, or a URL that is not allowed
    EMPTY_REPOSITORY = "EmptyRepository"  # the scan found no file to index: an empty index is no success
    CLONE_FAILED = "CloneFailed"
    REPOSITORY_TOO_LARGE = "RepositoryTooLarge"  # its checkout does not fit into the volume for clones
    INSUFFICIENT_STORAGE = "InsufficientStorage"  # the database's disk is full
    DATABASE_TIMEOUT = "DatabaseTimeout"  # the database answers, but does not get an operation done in time
    EMBEDDING_REFUSED = "EmbeddingRefused"  # no such provider or model, a wrong key, or an exchanged model
    SANDBOX_UNAVAILABLE = "SandboxUnavailable"  # the site requires it, and the node's kernel does not have it
    OUT_OF_MEMORY = "OOMKilled"
    OUT_OF_EPHEMERAL_STORAGE = "EphemeralStorageExceeded"  # evicted for what the pod wrote to its node's disk
    SECRET_REFUSED = "SecretRefused"  # noqa: S105 (git.secretRef names a Secret that is not for this job)
    RESOURCES_REFUSED = "ResourcesRefused"  # spec.resources asks for more than the site allows
    BACKOFF_LIMIT_EXCEEDED = "BackoffLimitExceeded"
    DISRUPTION_LIMIT_EXCEEDED = "DisruptionLimitExceeded"  # its pods were taken away again and again
    DEADLINE_EXCEEDED = "DeadlineExceeded"
    START_DEADLINE_EXCEEDED = "StartDeadlineExceeded"  # it held a slot, and no pod took it in time
    BLOCKED_DEADLINE_EXCEEDED = "BlockedDeadlineExceeded"  # what it waited for did not come back in time
    INVALID_SPEC = "InvalidSpec"
    INTERNAL = "InternalError"


class ExitCode:
    """How an indexer worker ends; the supervisor, the operator and the worker agree on these alone.

    64 and above are final for the pod: the supervisor does not start the worker again.
    """

    DONE = 0
    RETRY = 1  # anything unexpected: start again
    FAILED = 64  # the job is failed in the database, with a typed reason
    FENCED = 65  # another attempt holds the job, or it is cancelled: stop, change nothing
    STOPPED = 66  # SIGTERM: what was in flight is given back


MAX_PROCESSES: Final = 64
"""Maximum processes of one indexer pod: with more, its one database connection is the bottleneck."""


# --- names -----------------------------------------------------------------------------------------

GROUP: Final = "indexing.codebase-mcp.io"
VERSION: Final = "v1alpha1"
KIND: Final = "IndexingJob"
PLURAL: Final = "indexingjobs"

AUDIENCE: Final = "codebase-mcp"
"""Of tokens for the MCP server: one for the API server is none for it, nor the other way round."""

LABEL_JOB: Final = f"{GROUP}/job"  # on pods: the job's name
LABEL_JOB_ID: Final = f"{GROUP}/job-id"  # on pods: the job's uid
LABEL_ATTEMPT: Final = f"{GROUP}/attempt"  # on pods: the fencing token that the pod holds
LABEL_WORKER_INDEX: Final = f"{GROUP}/worker-index"  # on the worker pods of an attempt (spec.parallelism): from 1
LABEL_HELPER: Final = f"{GROUP}/helper"  # the same as 0.1.0 spelt it: read and written while one may run beside
LABEL_TARGET: Final = f"{GROUP}/target"  # on jobs and pods: digest of source, ref and filters
LABEL_CALLER: Final = f"{GROUP}/caller"  # on jobs: digest of who started it through the MCP server
LABEL_GIT_CREDENTIALS: Final = f"{GROUP}/git-credentials"  # on Secrets: "true" where jobs may name them
ANNOTATION_GIT_HOSTS: Final = f"{GROUP}/git-hosts"  # on them: the hosts that they are for, comma-separated
LABEL_COMPONENT: Final = "app.kubernetes.io/component"

MAX_NAME_LENGTH = 52
"""Longest job name, in characters: a pod's name adds `-a`, the attempt, and a worker's `-w` and index, and must
stay a DNS label of 63."""


def target_of(source: str, ref: str | None, include: Sequence[str] = (), exclude: Sequence[str] = ()) -> str:
    """Identify what is indexed: 16 hex digits over the source (path or URL), the ref, and what is left out.

    Two jobs of a namespace with one target never run at once, and share one index. So jobs with other filters have
    another one: each removes from its index what it does not see.
    """
    identity = f"{source.rstrip('/')}\0{ref or ''}"
    if include or exclude:
        identity += f"\0{json.dumps([canonical_globs(include), canonical_globs(exclude)])}"
    return hashlib.sha256(identity.encode()).hexdigest()[:16]


def canonical_globs(globs: Sequence[str]) -> list[str]:
    """Return the one spelling of a list of patterns: the order counts only where one takes back others (`!`)."""
    taking_back = any(glob.startswith("!") for glob in globs)
    return list(globs) if taking_back else sorted(set(globs))


def caller_label(caller: str) -> str:
    """Identify a caller in a label: 16 hex digits. An address is no value of a label, nor for all to read.

    It is a pseudonym and no secret: who may read the jobs can try all addresses of IPv4. A salt would have to be
    the same in all servers of a release and after their restarts, and as well kept as a Secret.
    """
    return hashlib.sha256(caller.encode()).hexdigest()[:16]


def job_name(source: str, target: str, run: int) -> str:
    """Name of the run-th job for a target, like `flask-1f0c2ab34d5e6f70-3`.

    Deterministic, so that of two concurrent creators one gets a conflict instead of a second job.
    """
    return _named_after(source, f"{target}-{run}", otherwise="ij")


def index_name(source: str, target: str) -> str:
    """Name of an index in rules about who may read it, like `flask-1f0c2ab34d5e6f70`: a DNS label."""
    return _named_after(source, target, otherwise="index")


def _named_after(source: str, suffix: str, *, otherwise: str) -> str:
    """Put a word of the source in front of a suffix, or `otherwise` where it has none that may begin a name."""
    stem = source.rstrip("/").rsplit("/", 1)[-1].removesuffix(".git").lower()
    slug = re.sub(r"[^a-z0-9]+", "-", stem).strip("-")
    slug = slug[: MAX_NAME_LENGTH - len(suffix) - 1].strip("-")
    return f"{slug}-{suffix}" if slug and slug[0].isalpha() else f"{otherwise}-{suffix}"


def run_number(name: str, target: str) -> int:
    """Return the run number in a name that `job_name` made for this target, 0 for any other name."""
    match = re.search(rf"(?:^|-){target}-(\d{{1,9}})$", name)
    return int(match[1]) if match else 0


def pod_name(job: str, attempt: int, worker_index: int = 0) -> str:
    """Name of an attempt's leader pod (`worker_index` 0) or of one of its workers (from 1). Deterministic, so that
    creating a pod twice is a conflict.
    """
    return f"{job}-a{attempt}" + (f"-w{worker_index}" if worker_index else "")
