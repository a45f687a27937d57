"""A cluster and a database as values: carries plans out as the real ones would, without either.

The rows change by the rules of codebase_index/store/sql/jobs.sql; the store's tests hold those to the database.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import count
from uuid import UUID

from codebase_index.api.job import FINAL, JobState, pod_name
from codebase_index.store.jobs.rows import JobRow
from codebase_operator.model import actions as do
from codebase_operator.model.snapshot import Job, Pod, Rejection, Snapshot, Termination
from codebase_operator.model.uptime import Uptime
from codebase_operator.planning.planner import plan
from tests.operator.builders import NOW, row


class Crash(Exception):
    """The operator dies between two calls."""


@dataclass
class Simulation:
    """What is true, and the way in which it changes."""

    limit: int = 3
    now: datetime = NOW
    jobs: dict[UUID, Job] = field(default_factory=dict)
    rows: dict[UUID, JobRow] = field(default_factory=dict)
    pods: dict[str, Pod] = field(default_factory=dict)
    away: bool = False
    database_since: datetime = NOW - timedelta(hours=1)
    uptime: Uptime = field(default_factory=Uptime)
    rejections: dict[UUID, Rejection] = field(default_factory=dict)
    admissions: list[UUID] = field(default_factory=list)
    arrivals: Iterator[int] = field(default_factory=lambda: count(1))
    calls_left: int | None = None
    """How many more calls the operator makes before it crashes; None for no crash."""

    def snapshot(self) -> Snapshot:
        self.uptime = self.uptime.record_outage() if self.away else self.uptime.record_answer(self.now)
        return Snapshot(
            now=self.now, namespace="ns", limit=self.limit, jobs=tuple(self.jobs.values()),
            pods=tuple(self.pods.values()), rows=None if self.away else dict(self.rows),
            database_since=self.database_since, uptime=self.uptime, rejections=dict(self.rejections),
        )  # fmt: skip

    def settle(self, rounds: int = 8) -> None:
        """Plan and apply until nothing is due; an endless plan is a fault."""
        for _ in range(rounds):
            actions = plan(self.snapshot())
            if not actions:
                return
            for action in actions:
                self.apply(action)
        raise AssertionError(f"the plan does not come to rest: {plan(self.snapshot())}")

    def crash_after(self, calls: int) -> None:
        """Carry out a plan up to so many calls, and lose the rest of it."""
        self.calls_left = calls
        try:
            for action in plan(self.snapshot()):
                self.apply(action)
        except Crash:
            pass
        self.calls_left = None

    def call(self) -> None:
        """Stand for one call to the API or the database."""
        if self.calls_left is not None:
            if self.calls_left == 0:
                raise Crash
            self.calls_left -= 1

    def apply(self, action: do.Action) -> None:
        self.call()
        match action:
            case do.EnsureRow(job):
                self.rows.setdefault(job.id, row(job, arrival=next(self.arrivals)))
            case do.Admit(job, attempt, limit):
                self._admit(job, attempt, limit)
            case do.ReleaseSlot(job_id, _):
                if not any(pod.job_id == job_id and not pod.finished for pod in self.pods.values()):
                    raised = self.rows[job_id].state is JobState.PENDING
                    self.change(job_id, slot=False, attempt=self.rows[job_id].attempt + raised)
            case do.StartPod(job, attempt):
                self._start(job, attempt, counted=False)
            case do.Retry(job, attempt, counted):
                self._start(job, attempt, counted=counted)
            case do.DeletePod(_, pod, _, force):
                self._delete_pod(pod, force)
            case do.Fail(job, _, error, message):
                self._end(job.id, "failed", error_type=error.value, error_message=message)
            case do.Cancel(job):
                self._cancel(job.id)
            case do.CancelOrphan(job_id, _):
                self._cancel(job_id)
            case do.RemoveOrphan(job_id, _):
                self._delete_row(job_id)
            case do.Suspend(job, attempt):
                self._suspend(job.id, attempt)
            case do.SetQueue(positions):
                for job_id, position, message in positions:
                    self.change(job_id, queue_position=position, message=message)
            case do.WriteStatus(job, status):
                self.jobs[job.id] = replace(job, status=status)
            case do.DeleteJob(job):
                del self.jobs[job.id]
                self.call()
                self._delete_row(job.id)
            case do.Emit():
                pass

    def change(self, job_id: UUID, **fields: object) -> None:
        self.rows[job_id] = self.rows[job_id].model_copy(update=fields)

    def _admit(self, job: Job, attempt: int, limit: int) -> None:
        others = [r for r in self.rows.values() if r.slot and r.id != job.id]
        current = self.rows[job.id]
        if (
            current.state is not JobState.PENDING
            or current.attempt not in (attempt, attempt - 1)
            or len(others) >= limit
            or current.target in {r.target for r in self.rows.values() if r.id != job.id and self._keeps(r)}
        ):
            return
        self.admissions.append(job.id)
        since = current.starting_since if current.slot else None
        self.change(
            job.id, slot=True, attempt=attempt, queue_position=None, message="Starting",
            starting_since=since or self.now, disruptions=current.disruptions if current.slot else 0,
        )  # fmt: skip
        self.call()
        self._start(job, attempt, counted=False)

    @staticmethod
    def _keeps(row_: JobRow) -> bool:
        return row_.slot or (row_.state is JobState.PENDING and row_.files_total is not None)

    def _start(self, job: Job, attempt: int, *, counted: bool) -> None:
        current = self.rows[job.id]
        if current.state in FINAL or current.attempt not in (attempt, attempt - 1):
            return
        if current.pod is None:
            self.change(job.id, starting_since=current.starting_since or self.now)
        if current.attempt < attempt:
            disruptions = 1 if current.has_progressed else current.disruptions + 1
            self.change(
                job.id, attempt=attempt, failures=current.failures + counted, pod=None, heartbeat_at=None,
                message="Restarting", starting_since=self.now if current.pod else self.rows[job.id].starting_since,
                disruptions=current.disruptions if counted else disruptions,
            )  # fmt: skip
        self.change(job.id, queue_position=None)
        self.call()
        name = pod_name(job.name, attempt)
        if name in self.pods and self.pods[name].job_id != job.id:
            self.rejections[job.id] = Rejection(
                "PodRefused", "a pod of a deleted job has the name still", self.now
            )
            return
        self.rejections.pop(job.id, None)
        if name not in self.pods:
            self.pods[name] = Pod(id=f"{name}/{job.id}", name=name, job_id=job.id, attempt=attempt, node="node1")

    def _delete_pod(self, pod: Pod, force: bool) -> None:
        if force:
            self.pods.pop(pod.name, None)
        elif pod.name in self.pods:
            self.pods[pod.name] = replace(self.pods[pod.name], deleted_at=self.now + timedelta(seconds=3))

    def _cancel(self, job_id: UUID) -> None:
        if self.rows[job_id].state not in FINAL:
            self._end(job_id, "cancelled", attempt=self.rows[job_id].attempt + 1)

    def _end(self, job_id: UUID, state: str, **fields: object) -> None:
        when = "cancelled_at" if state == "cancelled" else "completed_at"
        moment = {when: self.now, "blocked_since": None, "queue_position": None}
        self.change(job_id, state=JobState(state), **moment, **fields)

    def _delete_row(self, job_id: UUID) -> None:
        current = self.rows.get(job_id)
        if current and current.state in FINAL and not current.slot:
            del self.rows[job_id]

    def _suspend(self, job_id: UUID, attempt: int) -> None:
        current = self.rows[job_id]
        if current.state in (JobState.RUNNING, JobState.BLOCKED):
            self.change(
                job_id, state=JobState.PENDING, attempt=current.attempt + 1, pod=None, heartbeat_at=None,
                blocked_since=None, starting_since=None,
            )  # fmt: skip
        elif current.state is JobState.PENDING:
            self.change(
                job_id, attempt=attempt, pod=None, starting_since=current.starting_since or self.now,
                disruptions=current.disruptions + (attempt > current.attempt),
            )  # fmt: skip

    # --- what happens by itself --------------------------------------------------------------------

    def claim(self, pod: Pod) -> None:
        """The pod takes its job, as store.jobs.claim would let it."""
        self.pods[pod.name] = pod = replace(pod, running_since=self.now)
        current = self.rows.get(pod.job_id)
        if (
            current
            and current.state not in FINAL
            and current.attempt == pod.attempt
            and current.pod in (None, pod.name)
        ):
            started = current.started_at or self.now
            self.change(
                pod.job_id, state=JobState.RUNNING, pod=pod.name, started_at=started, heartbeat_at=self.now,
                claimed_at=self.now, done_at_claim=current.files_indexed + current.files_skipped,
                blocked_since=None, message="Scanning the repository",
            )  # fmt: skip

    def complete(self, pod: Pod) -> None:
        current = self.rows.get(pod.job_id)
        if current and current.pod == pod.name and current.state is JobState.RUNNING:
            self._end(pod.job_id, "completed")
            self.pods[pod.name] = replace(pod, finished=True, running_since=None)

    def crash(self, pod: Pod) -> None:
        self.pods[pod.name] = replace(
            pod,
            running_since=None,
            waiting=("CrashLoopBackOff", ""),
            termination=Termination(1, "Error", self.now),
        )

    def advance(self, seconds: float) -> None:
        """Let time pass: hearts beat, terminating pods go, collected garbage too."""
        self.now += timedelta(seconds=seconds)
        self.pods = {
            name: pod for name, pod in self.pods.items()
            if (pod.deleted_at is None or pod.deleted_at > self.now) and pod.job_id in self.jobs
        }  # fmt: skip
        for pod in self.pods.values():
            current = self.rows.get(pod.job_id)
            if pod.running_since and current and current.pod == pod.name and current.attempt == pod.attempt:
                self.change(pod.job_id, heartbeat_at=self.now)
