"""Progress of an attempt: set by its stages, reported by the heartbeat every second."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NoReturn
from uuid import UUID

from codebase_index.store.errors import FenceLost, JobNotFound, StoreUnavailable
from codebase_index.store.jobs.jobs import Jobs, Progress
from codebase_index.store.jobs.rows import JobRow
from codebase_index.store.jobs.workers import Workers
from codebase_indexer.database_retry import Outage
from codebase_indexer.progress import messages

log = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 1.0

LOG_SECONDS = 10.0
"""Between log lines about progress: as often as the contract asks progress to move."""


@dataclass
class ProgressReporter:
    """The current stage of an attempt: `describe` turns the job's row into the progress to report.

    The row comes from the database each time: its counters are those of all pods of the job.
    """

    describe: Callable[[JobRow], Progress]
    in_flight: int = 0
    blocked_reason: str | None = None  # the message of a blocked job
    refusal: str | None = None  # the same, where the database refuses a part of the work
    _baseline: tuple[int, float] | None = field(default=None, init=False)

    def scanning(self, looked: int, listed: int) -> None:
        """Files are being listed. Safe to call from a thread."""
        self.describe = lambda job: messages.scanning(looked, listed)

    def copying(self, done: int, total: int) -> None:
        """Files are being copied from another index."""
        self.describe = lambda job: messages.copying(done, total)

    def set_refusal(self, why: str | None) -> None:
        """Note why the database refuses a statement; None once it no longer does."""
        self.refusal = f"Waiting for the database: {why}" if why else None

    def indexing(self) -> None:
        """Files are being chunked and embedded."""
        self.describe = self._indexing

    def current(self, job: JobRow) -> Progress:
        """Return what to report now."""
        now = self.describe(job)
        waiting = self.refusal or self.blocked_reason
        return Progress(now.phase, now.percent, waiting) if waiting else now

    def _indexing(self, job: JobRow) -> Progress:
        start = self._baseline = self._baseline or (job.files_indexed, time.monotonic())
        throughput = messages.Throughput(job.files_indexed - start[0], time.monotonic() - start[1])
        return messages.indexing(job, self.in_flight, throughput)


@dataclass
class StageTimer:
    """Seconds that this attempt spent in each stage, in order."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        """Time the block as a stage."""
        began = time.monotonic()
        yield
        self.seconds[stage] = time.monotonic() - began


class Heartbeat:
    """Renews the attempt's heartbeat and reports progress, on its own connection, so that no batch delays it."""

    def __init__(self, jobs: Jobs, job_id: UUID, attempt: int, reporter: ProgressReporter) -> None:
        self._jobs, self._job_id, self._attempt, self._reporter = jobs, job_id, attempt, reporter
        self._log_at = 0.0
        self._blocked = False

    async def send(self) -> None:
        """Report once. Raises FenceLost, StoreUnavailable."""
        try:
            job = await self._jobs.get(self._job_id)
        except JobNotFound as error:
            raise FenceLost(self._job_id, self._attempt) from error
        now = self._reporter.current(job)
        await self._jobs.heartbeat(self._job_id, self._attempt, now)
        if self._reporter.refusal:
            self._blocked = True
            await self._jobs.block(self._job_id, self._attempt, self._reporter.refusal)
        else:
            await self.unblock()
        if time.monotonic() >= self._log_at:
            self._log_at = time.monotonic() + LOG_SECONDS
            log.info("progress", extra=_log_fields(job, self._attempt, now))

    async def unblock(self) -> None:
        """Clear the refusal that was reported. Raises FenceLost, StoreUnavailable."""
        if self._blocked:
            await self._jobs.unblock(self._job_id, self._attempt)
            self._blocked = False

    async def run(self) -> NoReturn:
        """Report every second, forever. Raises FenceLost: the attempt must stop at once."""
        outage = Outage("heartbeat")
        while True:
            try:
                await self.send()
                outage.record_success()
            except StoreUnavailable as error:
                outage.record_failure(error)
            await asyncio.sleep(HEARTBEAT_SECONDS)


class WorkerHeartbeat(Heartbeat):
    """The heartbeat of a worker pod. Progress is reported by the leader alone."""

    def __init__(self, workers: Workers, job_id: UUID, attempt: int, pod: str) -> None:
        self._workers, self._job_id, self._attempt, self._pod = workers, job_id, attempt, pod

    async def send(self) -> None:
        """Renew the worker's heartbeat. Raises FenceLost, StoreUnavailable."""
        await self._workers.heartbeat(self._job_id, self._attempt, self._pod)


def _log_fields(job: JobRow, attempt: int, now: Progress) -> dict[str, object]:
    """Return the fields of a log line about progress: those of the operator's lines about the same job."""
    return {
        "job": job.cr_name, "job_id": job.id, "repository": job.source, "attempt": attempt,
        "phase": now.phase.value, "percent": round(now.percent, 1), "why": now.message,
        "files_total": job.files_total, **job.counts(), "files_repeated": job.files_repeated,
    }  # fmt: skip
