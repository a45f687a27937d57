"""The job service: what the job tools do, without anything of MCP.

Intent goes into the custom resource; the facts come from the table `jobs`. While the database is away the
resource answers for it, so that starting and watching a job go on.
"""

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from pydantic import ValidationError

from codebase_index.api.job import FINAL, JobState, caller_label, job_name, run_number
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
from codebase_mcp.jobs.cluster import Cluster, ClusterUnavailable, NameTaken
from codebase_mcp.jobs.mirror import Mirror
from codebase_mcp.limits.caller import STDIO
from codebase_mcp.limits.queue_quota import QueueLimits, QueueQuota
from codebase_mcp.models import Cancelled, Job, JobList, JobStatus, SkippedFile, Started, job_uuid, mirrored_state

log = logging.getLogger(__name__)
T = TypeVar("T")

STATUS_PATIENCE_SECONDS = 2.0
"""How long a status waits for the database, which answers in milliseconds, or is away, or is short of CPU."""

START_PATIENCE_SECONDS = 0.3
"""The same for each of the two uses of the database in a start, which it could do without, and which has to be
answered within a second."""

INTENT_PATIENCE_SECONDS = 0.3
"""How long a cancel's fence waits for the job's resource to say the same: an API server may hang."""

CREATE_TRIES = 5
"""How often a start looks again when the name it wanted was taken. One twin costs one; more is an accident."""

SKIPPED_SHOWN = 10
POLL_SECONDS = (2, 5)
"""Shortest and longest advice for when to ask again: progress is written every second or two."""

_REMOTE = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*://|^[\w.-]+@[\w.-]+:")


@dataclass(frozen=True)
class StartRequest:
    """What start_indexing_background is asked for."""

    repo_path: str
    name: str | None = None
    ref: str | None = None
    force_reindex: bool = False
    priority: int = 0
    caller: str = STDIO
    """Who asks, as `caller.current()` says it: one caller may have so many waiting jobs."""


@dataclass(frozen=True)
class ListRequest:
    """Which jobs list_indexing_jobs is asked for."""

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
        self._mirror = Mirror(cluster)
        self._queue = QueueQuota(limits)
        self._unfinished: set[asyncio.Task[Any]] = set()

    async def close(self) -> None:
        """Wait for what clients have left behind: changes that must not stop half-way."""
        if self._unfinished:
            await asyncio.wait(self._unfinished, timeout=2)

    # --- start -------------------------------------------------------------------------------------

    async def start(self, request: StartRequest) -> Started:
        """Return the active job for this source and ref, or create one."""
        source = await self._allowed(request.repo_path)
        try:
            spec = IndexingJobSpec(
                source=source, ref=request.ref, name=request.name, force_reindex=request.force_reindex,
                priority=request.priority,
            )  # fmt: skip
        except ValidationError as error:
            raise _invalid(error) from error
        return await self._to_its_end(self._find_or_create(spec, caller_label(request.caller)))

    async def _allowed(self, repo_path: str) -> Source:
        try:
            if _REMOTE.match(repo_path):
                return Source(git=GitSource(url=self._policy.check_git_url(repo_path)))
            # In a thread: a network file system that hangs must not stop the server.
            await asyncio.to_thread(self._policy.open_path, repo_path)
            return Source(path=self._policy.normalise_path(repo_path))
        except SourceRefused as error:
            raise UserError(f"validation: {error}") from error
        except ValidationError as error:
            raise _invalid(error) from error

    async def _find_or_create(self, spec: IndexingJobSpec, caller: str) -> Started:
        run = 0
        for _ in range(CREATE_TRIES):
            same = await self._cluster.of_target(spec)
            rows, estimate = await self._known(spec, same)
            active = [job for job in same if _is_active(job, rows.get(UUID(job.metadata.uid)))]
            if active:
                oldest = min(active, key=lambda job: (job.metadata.creation_timestamp, job.metadata.name))
                return _joined(oldest, rows.get(UUID(oldest.metadata.uid)), spec)
            run = max([run, *(run_number(job.metadata.name, spec.target) for job in same)]) + 1
            with self._queue.reserve(caller, await self._waiting(caller)):
                try:
                    job = await self._cluster.create(job_name(str(spec.source), spec.target, run), spec, caller)
                except NameTaken:
                    continue  # by a twin, most likely: the next listing shows it
                await self._insert(job)
            return _started(job, estimate)
        raise UserError(
            f"conflict: {CREATE_TRIES} names for a job on {spec.source} were taken by others meanwhile; nothing "
            "was started; call start_indexing_background again"
        )

    async def _known(
        self, spec: IndexingJobSpec, same: Sequence[IndexingJob]
    ) -> tuple[dict[UUID, JobRow], int | None]:
        """Return what the database knows: the rows of these jobs, and how long the last one took, in seconds."""
        try:
            async with _patience(START_PATIENCE_SECONDS):
                rows = await self._jobs.get_many([UUID(job.metadata.uid) for job in same]) if same else {}
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

    async def _waiting(self, caller: str) -> QueueLength:
        """Count the jobs that wait: in the database, or else in the mirror."""
        try:
            async with _patience(START_PATIENCE_SECONDS):
                return await self._jobs.queue_length(caller)
        except StoreError:
            return await self._mirror.queue_length(caller)

    async def _insert(self, job: IndexingJob) -> None:
        try:
            async with _patience(START_PATIENCE_SECONDS):
                await self._jobs.create(job)
        except StoreError as error:
            log.warning("the operator will insert the job's row: %s", error, extra={"job_id": job.metadata.uid})
            self._mirror.add(job)  # which is what waiting jobs are counted by meanwhile

    # --- status and list ---------------------------------------------------------------------------

    async def status(self, job_id: str) -> JobStatus:
        """Return how a job stands: from its row, or else from the mirror in its custom resource."""
        uid = _uuid(job_id)
        try:
            async with _patience(STATUS_PATIENCE_SECONDS):
                row = await self._jobs.get(uid)
                skipped = await self._work.skipped(uid, SKIPPED_SHOWN) if row.files_skipped else []
        except JobNotFound:
            return JobStatus.of_resource(await self._newborn(uid), skipped=[], stale=False)
        except StoreUnavailable as error:
            log.warning("status from the mirror: %s", error, extra={"job_id": uid})
            return JobStatus.of_resource(await self._resource(uid), skipped=[], stale=True)
        shown = [SkippedFile(path=path, reason=reason) for path, reason in skipped]
        return JobStatus.of_row(row, skipped=shown, stale=False)

    async def list(self, request: ListRequest) -> JobList:
        """Return a page of jobs, newest first."""
        async with _patience(STATUS_PATIENCE_SECONDS):
            rows, total = await self._jobs.page(
                state=request.status, source_part=request.repo_path, created_after=request.created_after,
                limit=request.limit, offset=request.offset,
            )  # fmt: skip
        return JobList(
            jobs=[Job.of_row(row).shortened() for row in rows],
            total_count=total,
            limit=request.limit,
            offset=request.offset,
        )

    async def _newborn(self, uid: UUID) -> IndexingJob:
        """Return a job created with kubectl a moment ago: the operator has not inserted its row yet."""
        try:
            return await self._resource(uid)
        except ClusterUnavailable as error:
            raise _not_found(uid) from error  # the facts are in the database, and it has answered

    async def _resource(self, uid: UUID) -> IndexingJob:
        job = await self._mirror.find(uid)
        if job is None:
            raise _not_found(uid)
        return job

    # --- cancel ------------------------------------------------------------------------------------

    async def cancel(self, job_id: str) -> Cancelled:
        """Stop a job for good. When this returns, no pod can write for it any more."""
        return await self._to_its_end(self._cancel(_uuid(job_id)))

    async def _cancel(self, uid: UUID) -> Cancelled:
        try:
            async with _patience(STATUS_PATIENCE_SECONDS):
                await self._row(uid)
                # The fence before the intent: the operator hears of the intent and might cancel the job first, and
                # the caller would be told that it is cancelled already.
                row = await self._jobs.cancel(uid)
        except IllegalTransition as error:
            raise UserError(str(error)) from error
        except (StoreUnavailable, InsufficientStorage) as error:
            raise await self._cancel_without_database(uid, error) from error
        await self._record_intent(row.cr_name, uid)
        assert row.cancelled_at is not None  # a check of the table
        return Cancelled(
            job_id=str(uid), status="cancelled", message=row.message, files_indexed=row.files_indexed,
            chunks_created=row.chunks_created, cancelled_at=row.cancelled_at,
        )  # fmt: skip

    async def _row(self, uid: UUID) -> JobRow:
        """Return the job's row; insert it if only the custom resource exists yet."""
        try:
            return await self._jobs.get(uid)
        except JobNotFound:
            job = await self._newborn(uid)
            _refuse_final(uid, mirrored_state(job))
            await self._jobs.create(job)
            return await self._jobs.get(uid)

    async def _record_intent(self, name: str, uid: UUID) -> None:
        """Set spec.cancel, so that the resource shows what was asked for. The fence alone stops the job."""
        patch = self._going_on(self._patch(name, uid))
        done, _ = await asyncio.wait({patch}, timeout=INTENT_PATIENCE_SECONDS)
        for task in done:
            task.result()

    async def _patch(self, name: str, uid: UUID) -> None:
        try:
            await self._cluster.cancel(name, str(uid))
        except ClusterUnavailable as error:
            log.warning("cancelling in the database alone: %s", error, extra={"job_id": uid})

    async def _cancel_without_database(self, uid: UUID, why: StoreError) -> UserError:
        """Record the intent; return what to tell, since without the fence nothing may be acknowledged."""
        job = await self._resource(uid)
        _refuse_final(uid, mirrored_state(job))
        await self._cluster.cancel(job.metadata.name, str(uid))
        return UserError(
            f"unavailable: {str(why).removesuffix('; it is tried again')}; so the cancel is not acknowledged, but "
            "it is recorded in the job's resource and takes effect by itself when the database can be used again; "
            f"look with get_indexing_status in {POLL_SECONDS[1]} seconds"
        )

    async def _to_its_end(self, change: Coroutine[Any, Any, T]) -> T:
        """Run a change that goes on when the client hangs up: a closed stream cancels the tool's task."""
        return await asyncio.shield(self._going_on(change))

    def _going_on(self, change: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Start a change that ends whether somebody waits for it or not."""
        task = asyncio.ensure_future(change)
        self._unfinished.add(task)
        task.add_done_callback(self._unfinished.discard)
        return task


def _invalid(error: ValidationError) -> UserError:
    return UserError(f"validation: {problem_of(error).removeprefix('spec.')}")


def _is_active(job: IndexingJob, row: JobRow | None) -> bool:
    """Say whether a job still works or will: by its row if there is one, else by the mirror."""
    if job.spec.cancel or job.metadata.deletion_timestamp:
        return False  # its end is decided, even where it is not carried out yet
    return (row.state if row else mirrored_state(job)) not in FINAL


def _started(job: IndexingJob, estimate: int | None) -> Started:
    return Started(
        job_id=job.metadata.uid, status=JobState.PENDING, created=True,
        message=f"Queued: {job.spec.source} is indexed in the background; get_indexing_status shows the progress",
        estimated_duration_seconds=estimate, poll_after_seconds=_poll_after(estimate),
    )  # fmt: skip


def _joined(job: IndexingJob, row: JobRow | None, asked: IndexingJobSpec) -> Started:
    eta = row.eta_seconds if row else None
    lost = "; it leaves unchanged files alone: to force those too, start again when it has ended"
    return Started(
        job_id=job.metadata.uid, status=row.state if row else mirrored_state(job), created=False,
        message=f"{job.spec.source} is being indexed by this job already; no other was started"
        + lost * (asked.force_reindex and not job.spec.force_reindex),
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


def _refuse_final(uid: UUID, state: JobState) -> None:
    if state in FINAL:
        already = "already " if state is JobState.CANCELLED else ""
        raise UserError(f"cannot cancel: job {uid} is {already}{state.value}")


def _not_found(uid: UUID) -> UserError:
    return UserError(
        f"job not found: {uid}; it never existed, or was removed after its retention time; "
        "list_indexing_jobs shows the jobs there are"
    )


@asynccontextmanager
async def _patience(seconds: float) -> AsyncIterator[None]:
    """Take a database that does not answer in time for one that is away."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as error:
        raise StoreUnavailable(f"the database does not answer within {seconds:g} s") from error
