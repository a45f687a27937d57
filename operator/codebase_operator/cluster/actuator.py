"""Carries out a plan against the API and the database. Decides nothing; every step may be repeated."""

import hashlib
import logging
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from codebase_index import tracing
from codebase_index.api.job import GROUP, KIND, SUSPENDED, VERSION, pod_name
from codebase_index.api.resource import IndexingJobStatus
from codebase_index.store.errors import (
    FenceLost,
    IllegalTransition,
    StatementRefused,
    StoreError,
    StoreUnavailable,
)
from codebase_index.store.jobs.jobs import Jobs
from codebase_operator.cluster.api import ApiError, ClusterApi
from codebase_operator.cluster.cache import ClusterCache
from codebase_operator.cluster.credentials import release_secrets, secret_of, secret_problem
from codebase_operator.cluster.pods import indexer_pod
from codebase_operator.model import actions as do
from codebase_operator.model.site_policy import SitePolicy
from codebase_operator.model.snapshot import SECRET_REFUSED, Job, Rejection, StepFailure, finished
from codebase_operator.reporting import conditions as c
from codebase_operator.reporting.messages import MAX_EVENT_BYTES, single_line
from codebase_operator.settings import PodTemplate

log = logging.getLogger(__name__)

MAX_UNANSWERED_STEPS: Final = 3
"""Steps per pass that may time out on a service: hundreds would delay cancels for minutes."""


class SlotDenied(StoreError):
    """The planner saw a free slot, but the database grants none."""


class Actuator:
    """Applies actions. What the API answers goes into the cache, so that the next plan sees it at once."""

    def __init__(
        self, api: ClusterApi, jobs: Jobs, cache: ClusterCache, template: PodTemplate,
        on_step: Callable[[do.Action, Exception | None], None] = lambda *_: None, site: SitePolicy | None = None,
    ) -> None:  # fmt: skip
        """`on_step` is called with each step and the error that it failed with, or None."""
        self._api = api
        self._jobs = jobs
        self._cache = cache
        self._template = template
        self._on_step = on_step
        self._site = site or SitePolicy()
        self._release_secrets = release_secrets(template)
        self._now = datetime.now(UTC)

    async def apply(self, plan: Iterable[do.Action], now: datetime) -> int:
        """Carry out the actions in order; return how many succeeded. `now` is the time of the plan.

        A step that fails, in whatever way, ends this pass for its job alone: its later steps rest on it, except
        what is told of the job. The next pass plans again from what is true then.
        """
        self._now = now
        stopped: set[UUID] = set()
        failures: dict[UUID, StepFailure] = {}
        done = unanswered = 0
        for action in plan:
            job_id = do.job_of(action)
            if job_id in stopped and not isinstance(action, do.Emit | do.WriteStatus):
                continue
            try:
                with _in_trace(action):
                    await self._carry_out(action)
                done += 1
                self._on_step(action, None)
            except Exception as error:
                self._on_step(action, error)
                _report(action, error)
                if job_id is not None:
                    stopped.add(job_id)
                    if not _is_race(error):
                        failures.setdefault(job_id, self._failure(job_id, action, error))
                unanswered += _is_outage(error)
                if unanswered == MAX_UNANSWERED_STEPS:
                    log.warning("the rest of the plan is left to the next pass", extra={"error": str(error)})
                    break
            self._cache.mark_alive()
        self._cache.failures = failures
        return done

    def _failure(self, job_id: UUID, action: do.Action, error: Exception) -> StepFailure:
        before = self._cache.failures.get(job_id)
        message = single_line(_error_text(error), 1000)
        return StepFailure(type(action).__name__, message, before.since if before else self._now)

    async def _carry_out(self, action: do.Action) -> None:
        match action:
            case do.EnsureRow():
                await self._jobs.create(action.job.resource)
            case do.Admit():
                await self._admit(action)
            case do.CheckSecret():
                await self._check_secret(action.job)
            case do.ReleaseSlot():
                await self._release_slot(action.job_id)
            case do.StartPod():
                await self._start(action.job, action.attempt)
            case do.StartWorker():
                await self._start_worker(action)
            case do.Retry():
                await self._start(action.job, action.attempt, action.counted, action.message, action.avoid_node)
            case do.DeletePod():
                await self._delete_pod(action)
            case do.Fail():
                await self._fail(action)
            case do.Cancel():
                await self._cancel(action.job.id)
            case do.Suspend():
                await self._suspend(action)
            case do.SetQueue():
                await self._jobs.set_queue(action.positions)
            case do.WriteStatus():
                await self._write_status(action.job, action.status)
            case do.CancelOrphan():
                await self._cancel_orphan(action)
            case do.RemoveOrphan():
                await self._remove_orphan(action)
            case do.DeleteJob():
                await self._delete_job(action.job)
            case do.Emit():
                await self._emit(action)
            case do.PlanFailed():
                raise action.error

    async def _admit(self, action: do.Admit) -> None:
        """Take the slot and the fence in the database, then create the pod, unless its Secret is refused."""
        if await self._secret_refused(action.job):
            return
        if not await self._jobs.admit(action.job.id, action.attempt, action.limit):
            raise SlotDenied("the database grants no slot: another operator was first, or the job is not pending")
        await self._create_pod(action.job, action.attempt)

    async def _release_slot(self, job_id: UUID) -> None:
        """Free a slot only when the API confirms that no pod is left: the watch may lag behind it."""
        left = [body for body in (await self._api.pods_of(job_id))["items"] if not finished(body)]
        for body in left:
            self._cache.put_pod(body)
        if not left:
            await self._jobs.release_slot(job_id)

    async def _start(
        self, job: Job, attempt: int, counted: bool = False, message: str = "Starting", avoid: str | None = None
    ) -> None:
        """Fence the attempt, then create its pod: in this order, so that no pod runs without its token."""
        if not await self._jobs.fence(job.id, attempt, failed=counted, message=single_line(message)):
            return  # final or fenced by somebody else meanwhile: the next pass sees it
        if not await self._secret_refused(job):
            self._cache.clear_rejection(job.id)  # the rejected pod may have been a worker of the previous attempt
            await self._create_pod(job, attempt, avoid)

    async def _check_secret(self, job: Job) -> None:
        if not await self._secret_refused(job):
            self._cache.clear_rejection(job.id)
            log.info("Secret given", extra=_job_fields(job, secret=secret_of(job)))

    async def _secret_refused(self, job: Job) -> bool:
        """Check whether the job may use the Secret that it names, and record why not."""
        name = secret_of(job)
        if name is None:
            return False
        try:
            problem = secret_problem(job, await self._secret(name), self._release_secrets)
        except ApiError as error:
            if error.status != 403:
                raise
            problem = (
                f"the operator may not look at Secret {name}: add it to repositories.gitSecrets in the chart "
                f"({error.message})"
            )
        if problem is not None:
            before = self._cache.rejections.get(job.id)
            self._record_rejection(job, SECRET_REFUSED, problem)
            if before is None or before.message != self._cache.rejections[job.id].message:
                log.info("Secret refused", extra=_job_fields(job, secret=name, why=problem))
        return problem is not None

    async def _secret(self, name: str) -> dict[str, Any] | None:
        if name in self._release_secrets:
            return None  # refused whatever it says
        try:
            return await self._api.secret_metadata(name)
        except ApiError as error:
            if error.status != 404:
                raise
            return None

    async def _create_pod(self, job: Job, attempt: int, avoid: str | None = None) -> None:
        try:
            body = await self._api.create_pod(indexer_pod(job, attempt, self._template, avoid, site=self._site))
        except ApiError as error:
            if error.status == 409:
                await self._adopt(job, pod_name(job.name, attempt))
                return
            if error.status in (403, 422):
                reason = c.QUOTA_EXCEEDED if "exceeded quota" in error.message else c.POD_REFUSED
                self._record_rejection(job, reason, error.message)
            raise
        self._cache.clear_rejection(job.id)
        self._cache.put_pod(body)
        log.info("pod created", extra=_job_fields(job, attempt=attempt))

    async def _start_worker(self, action: do.StartWorker) -> None:
        """Create a worker pod of an attempt. The job can do without: a rejected one is tried again later."""
        job, attempt = action.job, action.attempt
        if await self._secret_refused(job):
            return
        try:
            manifest = indexer_pod(job, attempt, self._template, worker_index=action.worker_index, site=self._site)
            body = await self._api.create_pod(manifest)
        except ApiError as error:
            if error.status == 409:
                await self._adopt(job, pod_name(job.name, attempt, action.worker_index))
                return
            if error.status in (403, 422):
                self._record_rejection(job, c.WORKER_REFUSED, f"the job goes on with fewer pods: {error.message}")
            raise
        self._cache.clear_rejection(job.id)
        self._cache.put_pod(body)
        log.info("worker created", extra=_job_fields(job, attempt=attempt, worker_index=action.worker_index))

    async def _adopt(self, job: Job, name: str) -> None:
        """Adopt the existing pod of this name if it is the job's own; else record a rejection."""
        body = await self._api.read_pod(name)
        if any(owner["uid"] == str(job.id) for owner in body["metadata"].get("ownerReferences", ())):
            self._cache.put_pod(body)
        else:
            whose = "one of a deleted job goes by itself within seconds, any other has to be deleted"
            self._record_rejection(
                job, c.POD_REFUSED, f"a pod {name} that is not this job's is in the way: {whose}"
            )

    def _record_rejection(self, job: Job, reason: str, message: str) -> None:
        self._cache.record_rejection(job.id, Rejection(reason, single_line(message, 2000), self._now))

    async def _delete_pod(self, action: do.DeletePod) -> None:
        try:
            answer = await self._api.delete_pod(action.pod.name, action.pod.id, force=action.force)
            if answer.get("kind") == "Pod" and not action.force:
                self._cache.put_pod(answer)  # it shows the deletion
        except ApiError as error:
            if error.status not in (404, 409):  # gone already, or another pod of that name
                raise
            self._cache.pods.remove(action.pod.id)
        log.info("pod deleted", extra={"pod": action.pod.name, "job_id": action.job_id, "why": action.reason})

    async def _fail(self, action: do.Fail) -> None:
        try:
            await self._jobs.fail(action.job.id, action.attempt, action.error.value, single_line(action.message))
        except FenceLost:
            return  # it ended by itself in this moment

    async def _cancel(self, job_id: UUID) -> None:
        try:
            await self._jobs.cancel(job_id)
        except IllegalTransition:
            return  # it ended by itself in this moment

    async def _suspend(self, action: do.Suspend) -> None:
        if not await self._jobs.suspend(action.job.id):
            # Not claimed yet: raising the token is enough to keep its pod from starting.
            await self._jobs.fence(action.job.id, action.attempt, failed=False, message=SUSPENDED)

    async def _cancel_orphan(self, action: do.CancelOrphan) -> None:
        if await self._is_deleted(action.name, action.job_id):
            await self._cancel(action.job_id)
            log.info("custom resource is gone: cancelled", extra={"job": action.name, "job_id": action.job_id})

    async def _remove_orphan(self, action: do.RemoveOrphan) -> None:
        if await self._is_deleted(action.name, action.job_id):
            await self._delete_records(action.job_id)
            log.info("row removed", extra={"job": action.name, "job_id": action.job_id, "why": "long gone"})

    async def _is_deleted(self, name: str, job_id: UUID) -> bool:
        """Ask the API whether a resource is gone: one that is just being created may not be known here yet."""
        try:
            body = await self._api.read_job(name)
        except ApiError as error:
            if error.status != 404:
                raise
            return True
        if body["metadata"]["uid"] != str(job_id):
            return True  # another job took the name
        self._cache.put_job(body)
        return False

    async def _delete_job(self, job: Job) -> None:
        """Remove the resource before the row: a resource without its row would run again."""
        try:
            await self._api.delete_job(job.name, str(job.id))
        except ApiError as error:
            if error.status not in (404, 409):
                raise
        self._cache.jobs.remove(str(job.id))
        await self._delete_records(job.id)
        log.info("job removed", extra=_job_fields(job, why="its time after the end is over"))

    async def _delete_records(self, job_id: UUID) -> None:
        """Remove a job's events and its row with the work list. A row that is left here goes after `RETENTION`."""
        try:
            await self._api.delete_events(str(job_id))
        except ApiError as error:
            # They expire by themselves within an hour or so; the row must not stay for their sake.
            log.warning("events not removed", extra={"job_id": job_id, "error": str(error)})
        await self._jobs.delete(job_id)

    async def _write_status(self, job: Job, status: IndexingJobStatus) -> None:
        # Nulls stay in: in a merge patch they remove what is no longer true.
        body = status.model_dump(mode="json", by_alias=True)
        self._cache.put_job(await self._api.write_status(job.name, str(job.id), job.version, body))

    async def _emit(self, action: do.Emit) -> None:
        try:
            await self._api.create_event(event_manifest(action, self._now))
        except ApiError as error:
            if error.status == 409:
                return  # told before a restart
            # An event is a courtesy: its loss must not keep the job from moving on.
            log.warning(
                "event not recorded", extra=_job_fields(action.job, reason=action.reason, error=str(error))
            )
        level = logging.WARNING if action.warning else logging.INFO
        story = {"event": action.reason, "why": action.message, **action.facts}
        log.log(level, "job %s", action.reason.lower(), extra=story)


_SPANS: Final = (do.Admit, do.StartPod, do.StartWorker, do.Retry, do.Suspend, do.Cancel, do.Fail)
"""Steps that are told as spans. The others are done every second, or tell of these."""


def _in_trace(action: do.Action) -> AbstractContextManager[None]:
    """Let a step be of the trace of its job."""
    job: Job | None = getattr(action, "job", None)
    if isinstance(action, _SPANS):
        parent = action.job.trace
        return tracing.span(f"step {type(action).__name__}", parent, **{"codebase.job.id": str(action.job.id)})
    return tracing.continued(job.trace if job else None)


def event_manifest(action: do.Emit, now: datetime) -> dict[str, Any]:
    """Return the Event; its name follows from the job and the transition, so none is told twice."""
    job, time = action.job, now.isoformat(timespec="seconds")
    digest = hashlib.sha256(f"{job.id}/{action.key}".encode()).hexdigest()[:16]
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{job.name}.{digest}", "namespace": job.namespace},
        "involvedObject": {
            "apiVersion": f"{GROUP}/{VERSION}", "kind": KIND, "name": job.name, "namespace": job.namespace,
            "uid": str(job.id), "resourceVersion": job.version,
        },
        "reason": action.reason,
        "message": single_line(action.message, MAX_EVENT_BYTES),
        "type": "Warning" if action.warning else "Normal",
        "source": {"component": "codebase-operator"},
        "reportingComponent": "codebase-operator",
        "firstTimestamp": time,
        "lastTimestamp": time,
        "count": 1,
    }  # fmt: skip


def _job_fields(job: Job, **more: object) -> dict[str, object]:
    return {"job": job.name, "job_id": job.id, **more}


def _is_race(error: Exception) -> bool:
    """Whether somebody else was first, which is the planned answer to it."""
    return isinstance(error, SlotDenied) or (isinstance(error, ApiError) and error.status == 409)


def _is_outage(error: Exception) -> bool:
    """Whether nobody answered, after a wait that each further step would have again."""
    return type(error) is StoreUnavailable or (isinstance(error, ApiError) and error.status == 0)


def _is_expected(error: Exception) -> bool:
    """Whether it is an error of a service, whose text says all. Any other is a bug, and wants its traceback."""
    return isinstance(error, ApiError | StoreError) and not isinstance(error, StatementRefused)


def _error_text(error: Exception) -> str:
    if isinstance(error, ApiError | StoreError):
        return str(error)
    return (
        f"{type(error).__name__} in the operator, whose log has the details: this is a bug, please report it; the "
        "step is tried again, and other jobs go on"
    )


def _report(action: do.Action, error: Exception) -> None:
    """Log a failed step: a race is no news, anything else deserves a warning."""
    level = logging.DEBUG if _is_race(error) else logging.WARNING
    name, trace = type(action).__name__, None if _is_expected(error) else error
    extra = {"job_id": do.job_of(action), "error": str(error)}
    log.log(level, "%s not done, planned again", name, extra=extra, exc_info=trace)
