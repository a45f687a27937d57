"""A pod's heartbeat: every second it proves that it is alive, and learns whether its attempt still is."""

import asyncio
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import NoReturn
from uuid import UUID

from codebase_index.store.errors import FenceLost, JobNotFound, StoreUnavailable
from codebase_index.store.jobs.jobs import Jobs, Progress
from codebase_index.store.jobs.rows import JobRow
from codebase_index.store.jobs.workers import Workers
from codebase_indexer.database_retry import Outage
from codebase_indexer.progress.reporter import ProgressReporter

log = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 1.0

LOG_SECONDS = 10.0
"""Between log lines about progress: as often as the contract asks progress to move."""


class Heartbeat(ABC):
    """The heartbeat of a pod, on a connection of its own, so that no batch delays it."""

    @abstractmethod
    async def send(self) -> None:
        """Renew it once. Raises FenceLost, StoreUnavailable."""

    async def run(self) -> NoReturn:
        """Renew it every second, forever. Raises FenceLost: the attempt must stop at once."""
        outage = Outage("heartbeat")
        while True:
            try:
                await self.send()
                outage.record_success()
            except StoreUnavailable as error:
                outage.record_failure(error)
            await asyncio.sleep(HEARTBEAT_SECONDS)


class LeaderHeartbeat(Heartbeat):
    """The heartbeat of an attempt's leader, which also reports progress, and what the job waits for."""

    def __init__(
        self,
        jobs: Jobs,
        job_id: UUID,
        attempt: int,
        reporter: ProgressReporter,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._jobs, self._job_id, self._attempt, self._reporter = jobs, job_id, attempt, reporter
        self._clock = clock
        self._log_at = 0.0
        self._blocked = False
        self._lock = asyncio.Lock()

    async def send(self) -> None:
        """Renew it and report once. Raises FenceLost, StoreUnavailable.

        Stages report beside the loop: one after another, so that no report is of an older row than the one before.
        """
        async with self._lock:
            await self._send()

    async def _send(self) -> None:
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
            await self._unblock()
        if (now_seconds := self._clock()) >= self._log_at:
            self._log_at = now_seconds + LOG_SECONDS
            log.info("progress", extra=_log_fields(job, self._attempt, now))

    async def _unblock(self) -> None:
        if self._blocked:
            await self._jobs.unblock(self._job_id, self._attempt)
            self._blocked = False


class WorkerHeartbeat(Heartbeat):
    """The heartbeat of a worker pod."""

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
