"""The job service: the job tools without MCP.

Intent is written to the custom resource; state is read from the table `jobs`. While the database is unavailable
the resource replaces it, so that jobs can still be started and watched.
"""

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeVar
from uuid import UUID

from pydantic import ValidationError

from codebase_index.api.job import FINAL, JobState, caller_label, cannot_cancel, job_name, run_number
from codebase_index.api.resource import GitSource, IndexingJob, IndexingJobSpec, Source, problem_of
from codebase_index.api.source_policy import SourcePolicy, SourceRefused
from codebase_index.store.errors import (
    IllegalTransition,
    InsufficientStorage,
    JobNotFound,
    StoreError,
    StoreUnavailable,
)
from codebase_index.store.ingest.work import Work
from codebase_index.store.jobs.jobs import Jobs, QueueLength
from codebase_index.store.jobs.rows import JobRow
from codebase_mcp.errors import UserError
from codebase_mcp.jobs.answers import (
    CancelResult,
    JobList,
    JobStatus,
    JobSummary,
    ListedJob,
    SkippedFile,
    StartResult,
)
from codebase_mcp.jobs.cluster import Cluster, ClusterUnavailable, JobRefused, NameConflict
from codebase_mcp.jobs.job_id import job_uuid
from codebase_mcp.jobs.mirror import JobMirror
from codebase_mcp.limits.caller import STDIO
from codebase_mcp.limits.queue_quota import QueueLimits, QueueQuota

log = logging.getLogger(__name__)
T = TypeVar("T")

STATUS_TIMEOUT_SECONDS = 2.0
"""Timeout of the database for a status. It answers in milliseconds unless it is down or short of CPU."""

START_TIMEOUT_SECONDS = 0.3
"""Timeout for each of the two uses of the database in a start: it must answer within a second, and can do without
the database."""

INTENT_TIMEOUT_SECONDS = 0.3
"""How long a cancel, once fenced, waits for the patch of the job's resource: an API server may hang."""

MAX_CREATE_ATTEMPTS = 5
"""How often a start retries after a name conflict. A concurrent start of the same target costs one attempt."""

MAX_TOLD: Final = 1000
"""Jobs whose last status is kept: some 2 kB each."""

SKIPPED_FILES: Final = 10
"""Skipped files in a status, unless more are asked for."""

POLL_SECONDS = (2, 5)
"""Minimum and maximum of poll_after_seconds: progress is written every second or two."""

AUTOMATIC: Final = caller_label("automatic")
"""The label of jobs that nobody asked for."""

_GIT_URL = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*://|^[\w.-]+@[\w.-]+:")


@dataclass(frozen=True)
class StartRequest:
    """The arguments of start_indexing_background."""

    repo_path: str
    name: str | None = None
    ref: str | None = None
    force_reindex: bool = False
    priority: int = 0
    caller: str = STDIO
    """`caller.current()`, by which waiting jobs are limited."""


@dataclass(frozen=True)
class ListRequest:
    """The arguments of list_indexing_jobs."""

    status: JobState | None = None
    repo_path: str | None = None
    created_after: datetime | None = None
    limit: int = 20
    offset: int = 0


class JobService:
    """Starts, watches, cancels and lists jobs.

    Raises UserError for what the caller can act on, StoreUnavailable and ClusterUnavailable for the rest.
    """

    def __init__(
        self, policy: SourcePolicy, cluster: Cluster, jobs: Jobs, work: Work,
        limits: QueueLimits = QueueLimits(),  # noqa: B008 - frozen
    ) -> None:  # fmt: skip
        self._policy = policy
        self._cluster = cluster
        self._jobs = jobs
        self._work = work
        self._mirror = JobMirror(cluster)
        self._queue = QueueQuota(limits)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._told: dict[UUID, JobStatus] = {}
        """The last answers about jobs, those that were asked for longest ago first."""

    async def close(self) -> None:
        """Wait for changes that must not stop half-way, though their clients are gone."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=2)

    # --- start -------------------------------------------------------------------------------------

    async def start(self, request: StartRequest) -> StartResult:
        """Return the active job for this source and ref, or create one."""
        source = await self._check_source(request.repo_path)
        # A clone's name for a branch of its remote; at the remote itself the branch is called without it.
        ref = request.ref.removeprefix("origin/") if request.ref and source.git else request.ref
        try:
            spec = IndexingJobSpec(
                source=source, ref=ref, name=request.name, force_reindex=request.force_reindex,
                priority=request.priority,
            )  # fmt: skip
        except ValidationError as error:
            raise _validation_error(error) from error
        return await self._run_to_completion(self._find_or_create(spec, caller_label(request.caller)))

    async def start_automatic(self, spec: IndexingJobSpec) -> StartResult:
        """Return the active job for this spec's target, or create one that nobody asked for."""
        await self._check_source(str(spec.source))
        return await self._run_to_completion(self._find_or_create(spec, AUTOMATIC))

    async def _check_source(self, repo_path: str) -> Source:
        try:
            if _GIT_URL.match(repo_path):
                return Source(git=GitSource(url=self._policy.check_git_url(repo_path)))
            # In a thread: a network file system that hangs must not stop the server.
            await asyncio.to_thread(self._policy.open_path, repo_path)
            return Source(path=self._policy.normalise_path(repo_path))
        except SourceRefused as error:
            raise UserError(f"validation: {error}") from error
        except ValidationError as error:
            raise _validation_error(error) from error

    async def _find_or_create(self, spec: IndexingJobSpec, caller: str) -> StartResult:
        run = 0
        for _ in range(MAX_CREATE_ATTEMPTS):
            siblings = await self._cluster.list_for_target(spec)
            rows, estimate = await self._look_up_rows(spec, siblings)
            active = [job for job in siblings if _is_active(job, rows.get(UUID(job.metadata.uid)))]
            if active:
                oldest = min(active, key=lambda job: (job.metadata.creation_timestamp, job.metadata.name))
                return _join_result(oldest, rows.get(UUID(oldest.metadata.uid)), spec)
            run = max([run, *(run_number(job.metadata.name, spec.target) for job in siblings)]) + 1
            with self._queue.reserve(caller, await self._queue_length(caller)):
                try:
                    job = await self._cluster.create(job_name(str(spec.source), spec.target, run), spec, caller)
                except NameConflict:
                    continue  # with a concurrent start, most likely: the next listing shows its job
                except JobRefused as error:
                    raise UserError(
                        f"validation: the cluster's policies refuse this job: {error}; nothing was started"
                    ) from error
                await self._insert(job)
            return _start_result(job, estimate)
        raise UserError(
            f"conflict: {MAX_CREATE_ATTEMPTS} names for a job on {spec.source} were taken by other callers; "
            "nothing was started; call start_indexing_background again"
        )

    async def _look_up_rows(
        self, spec: IndexingJobSpec, siblings: Sequence[IndexingJob]
    ) -> tuple[dict[UUID, JobRow], int | None]:
        """Return the rows of these jobs, and how long the last completed one took, in seconds."""
        try:
            async with _database_timeout(START_TIMEOUT_SECONDS):
                rows = await self._jobs.get_many([UUID(job.metadata.uid) for job in siblings]) if siblings else {}
                # The page's filter is a part of the source; a handful is enough to meet the exact one.
                done, _ = await self._jobs.page(
                    state=JobState.COMPLETED, source_part=str(spec.source), created_after=None, limit=10, offset=0
                )
        except StoreError as error:
            log.warning("starting a job without the database: %s", error)
            return {}, None
        seconds = [
            (row.completed_at - row.started_at).total_seconds()
            for row in done
            if row.target == spec.target and row.completed_at and row.started_at
        ]
        return rows, max(1, round(seconds[0])) if seconds else None

    async def _queue_length(self, caller: str) -> QueueLength:
        """Count the waiting jobs: in the database, or else in the mirror."""
        try:
            async with _database_timeout(START_TIMEOUT_SECONDS):
                return await self._jobs.queue_length(caller)
        except StoreError:
            return await self._mirror.queue_length(caller)

    async def _insert(self, job: IndexingJob) -> None:
        try:
            async with _database_timeout(START_TIMEOUT_SECONDS):
                await self._jobs.create(job)
        except StoreError as error:
            log.warning("the operator will insert the job's row: %s", error, extra={"job_id": job.metadata.uid})
            self._mirror.add(job)  # meanwhile it is counted there

    # --- status and list ---------------------------------------------------------------------------

    async def status(self, job_id: str, limit: int = SKIPPED_FILES, offset: int = 0) -> JobStatus:
        """Return the state of a job: from its row, or else from its custom resource.

        `limit` and `offset` are of the skipped files, which are in the database alone.
        """
        uid = _uuid(job_id)
        answer = await self._status(uid, limit, offset)
        # The mirror lags behind the row, and what was told of progress does not fall.
        answer = answer.no_less_than(self._told.pop(uid, None))
        self._told[uid] = answer.model_copy(update={"skipped": []})
        if len(self._told) > MAX_TOLD:
            del self._told[next(iter(self._told))]
        return answer

    async def _status(self, uid: UUID, limit: int, offset: int) -> JobStatus:
        try:
            async with _database_timeout(STATUS_TIMEOUT_SECONDS):
                row = await self._jobs.get(uid)
                skipped = await self._work.skipped(uid, limit, offset) if row.files_skipped else []
        except JobNotFound:
            return JobStatus.from_resource(await self._resource_without_row(uid), skipped=[], stale=False)
        except StoreUnavailable as error:
            log.warning("status from the mirror: %s", error, extra={"job_id": uid})
            return JobStatus.from_resource(await self._resource(uid), skipped=[], stale=True)
        listed = [SkippedFile(path=path, reason=reason) for path, reason in skipped]
        return JobStatus.from_row(row, skipped=[], stale=False).with_skipped(listed, offset)

    async def list(self, request: ListRequest) -> JobList:
        """Return a page of jobs, newest first."""
        async with _database_timeout(STATUS_TIMEOUT_SECONDS):
            rows, total = await self._jobs.page(
                state=request.status, source_part=request.repo_path, created_after=request.created_after,
                limit=request.limit, offset=request.offset,
            )  # fmt: skip
        return JobList(
            jobs=[ListedJob.of(JobSummary.from_row(row)) for row in rows],
            total_count=total,
            limit=request.limit,
            offset=request.offset,
        ).within_budget()

    async def _resource_without_row(self, uid: UUID) -> IndexingJob:
        """Return a job whose row the operator has not inserted yet: it was just created with kubectl."""
        try:
            return await self._resource(uid)
        except ClusterUnavailable as error:
            raise _not_found(uid) from error  # the database has answered: there is no row

    async def _resource(self, uid: UUID) -> IndexingJob:
        job = await self._mirror.find(uid)
        if job is None:
            raise _not_found(uid)
        return job

    # --- cancel ------------------------------------------------------------------------------------

    async def cancel(self, job_id: str) -> CancelResult:
        """Stop a job for good. When this returns, no pod can write for it any more."""
        return await self._run_to_completion(self._cancel(_uuid(job_id)))

    async def _cancel(self, uid: UUID) -> CancelResult:
        try:
            async with _database_timeout(STATUS_TIMEOUT_SECONDS):
                await self._get_or_insert_row(uid)
                # The fence before the intent: the operator could act on the intent first, and the caller would be
                # told that the job is cancelled already.
                row = await self._jobs.cancel(uid)
        except IllegalTransition as error:
            raise UserError(str(error)) from error
        except (StoreUnavailable, InsufficientStorage) as error:
            raise await self._cancel_without_database(uid, error) from error
        await self._record_intent(row.cr_name, uid)
        assert row.cancelled_at is not None  # a check of the table
        return CancelResult(
            job_id=str(uid), status="cancelled", message=row.message, files_indexed=row.files_indexed,
            chunks_created=row.chunks_created, cancelled_at=row.cancelled_at,
        )  # fmt: skip

    async def _get_or_insert_row(self, uid: UUID) -> JobRow:
        """Return the job's row; insert it if only the custom resource exists yet."""
        try:
            return await self._jobs.get(uid)
        except JobNotFound:
            job = await self._resource_without_row(uid)
            _check_not_final(uid, job.state)
            await self._jobs.create(job)
            return await self._jobs.get(uid)

    async def _record_intent(self, name: str, uid: UUID) -> None:
        """Set spec.cancel, so that the resource shows the intent. The fence alone stops the job."""
        patch = self._start_task(self._patch(name, uid))
        done, _ = await asyncio.wait({patch}, timeout=INTENT_TIMEOUT_SECONDS)
        for task in done:
            task.result()

    async def _patch(self, name: str, uid: UUID) -> None:
        try:
            await self._cluster.cancel(name, str(uid))
        except ClusterUnavailable as error:
            log.warning("cancelling in the database alone: %s", error, extra={"job_id": uid})

    async def _cancel_without_database(self, uid: UUID, why: StoreError) -> UserError:
        """Record the intent; return the error, since without the fence nothing may be acknowledged."""
        job = await self._resource(uid)
        _check_not_final(uid, job.state)
        await self._cluster.cancel(job.metadata.name, str(uid))
        return UserError(
            f"unavailable: {why.reason}; the cancel is not acknowledged yet. It is "
            "recorded in the job's resource and takes effect by itself when the database is available again; "
            f"check with get_indexing_status in {POLL_SECONDS[1]} seconds"
        )

    async def _run_to_completion(self, change: Coroutine[Any, Any, T]) -> T:
        """Run a change to its end even if the client hangs up, which cancels the tool's task."""
        return await asyncio.shield(self._start_task(change))

    def _start_task(self, change: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Start a task for a change, and keep a reference to it until it ends."""
        task = asyncio.ensure_future(change)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _validation_error(error: ValidationError) -> UserError:
    return UserError(f"validation: {problem_of(error).removeprefix('spec.')}")


def _is_active(job: IndexingJob, row: JobRow | None) -> bool:
    """Return whether a job is running or will: by its row if there is one, else by its resource."""
    if job.spec.cancel or job.metadata.deletion_timestamp:
        return False  # it is about to end
    return (row.state if row else job.state) not in FINAL


def _start_result(job: IndexingJob, estimate: int | None) -> StartResult:
    return StartResult(
        job_id=job.metadata.uid, status=JobState.PENDING, created=True,
        message=f"Queued: {job.spec.source} is indexed in the background; get_indexing_status shows the progress",
        estimated_duration_seconds=estimate, poll_after_seconds=_poll_after(estimate),
    )  # fmt: skip


def _join_result(job: IndexingJob, row: JobRow | None, spec: IndexingJobSpec) -> StartResult:
    eta = row.eta_seconds if row else None
    note = "; it leaves unchanged files alone: to force those too, start again when it has ended"
    return StartResult(
        job_id=job.metadata.uid, status=row.state if row else job.state, created=False,
        message=f"{job.spec.source} is being indexed by this job already; no new one was started"
        + note * (spec.force_reindex and not job.spec.force_reindex),
        estimated_duration_seconds=eta, poll_after_seconds=_poll_after(eta),
    )  # fmt: skip


def _poll_after(estimate: int | None) -> int:
    shortest, longest = POLL_SECONDS
    return longest if estimate is None else max(shortest, min(longest, estimate // 10))


def _uuid(text: str) -> UUID:
    value = job_uuid(text)
    if value is None:
        raise UserError(
            f"validation: job_id {text!r} is not a UUID; give the job_id that start_indexing_background returned, "
            "or one of list_indexing_jobs"
        )
    return value


def _check_not_final(uid: UUID, state: JobState) -> None:
    if state in FINAL:
        raise UserError(cannot_cancel(uid, state))


def _not_found(uid: UUID) -> UserError:
    return UserError(
        f"job not found: {uid}; it never existed, or was removed after its retention time; "
        "list_indexing_jobs shows the existing jobs"
    )


@asynccontextmanager
async def _database_timeout(seconds: float) -> AsyncIterator[None]:
    """Raise StoreUnavailable if the database does not answer in time."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as error:
        raise StoreUnavailable(f"the database did not answer within {seconds:g} s") from error
