"""Where an attempt stands: set by the stages, read by the heartbeat every second."""

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
from codebase_index.store.jobs.workers import Helpers
from codebase_indexer.database_retry import Outage
from codebase_indexer.progress import messages

log = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 1.0

LOG_SECONDS = 10.0
"""Between lines about progress in the log: as often as the contract has it move."""


@dataclass
class Board:
    """The stage that an attempt is in, as a function from the job's row to what it says.

    The row comes from the database each time: its counters are those of all pods of the job.
    """

    say: Callable[[JobRow], Progress]
    in_flight: int = 0
    waiting_for: str | None = None  # the message of a blocked job
    refused: str | None = None  # the same, where the database refuses a part of the work
    _counted_from: tuple[int, float] | None = field(default=None, init=False)

    def scanning(self, looked: int, listed: int) -> None:
        """Files are being listed. Safe to call from a thread."""
        self.say = lambda job: messages.scanning(looked, listed)

    def copying(self, done: int, total: int) -> None:
        """Files are being copied from another index."""
        self.say = lambda job: messages.copying(done, total)

    def refuse(self, why: str | None) -> None:
        """The database refuses a statement of the work, or does so no more."""
        self.refused = f"Waiting for the database: {why}" if why else None

    def indexing(self) -> None:
        """Files are being chunked and embedded."""
        self.say = self._indexing

    def current(self, job: JobRow) -> Progress:
        """Return what to report now."""
        now = self.say(job)
        waiting = self.refused or self.waiting_for
        return Progress(now.phase, now.percent, waiting) if waiting else now

    def _indexing(self, job: JobRow) -> Progress:
        start = self._counted_from = self._counted_from or (job.files_indexed, time.monotonic())
        pace = messages.Pace(job.files_indexed - start[0], time.monotonic() - start[1])
        return messages.indexing(job, self.in_flight, pace)


@dataclass
class Laps:
    """How many seconds this attempt spent in each stage, in order."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def lap(self, stage: str) -> Iterator[None]:
        """Time the block as a stage."""
        began = time.monotonic()
        yield
        self.seconds[stage] = time.monotonic() - began


class Heart:
    """Shows life and progress, on a connection of its own, so that no batch makes it wait."""

    def __init__(self, jobs: Jobs, job_id: UUID, attempt: int, board: Board) -> None:
        self._jobs, self._job_id, self._attempt, self._board = jobs, job_id, attempt, board
        self._log_at = 0.0
        self._blocked = False

    async def beat(self) -> None:
        """Report once. Raises FenceLost, StoreUnavailable."""
        try:
            job = await self._jobs.get(self._job_id)
        except JobNotFound as error:
            raise FenceLost(self._job_id, self._attempt) from error
        now = self._board.current(job)
        await self._jobs.heartbeat(self._job_id, self._attempt, now)
        if self._board.refused:
            self._blocked = True
            await self._jobs.block(self._job_id, self._attempt, self._board.refused)
        else:
            await self.unblock()
        if time.monotonic() >= self._log_at:
            self._log_at = time.monotonic() + LOG_SECONDS
            log.info("progress", extra=_facts(job, self._attempt, now))

    async def unblock(self) -> None:
        """Take back that the database refuses the work. Raises FenceLost, StoreUnavailable."""
        if self._blocked:
            await self._jobs.unblock(self._job_id, self._attempt)
            self._blocked = False

    async def run(self) -> NoReturn:
        """Report every second, for ever. Raises FenceLost: the attempt must stop at once."""
        outage = Outage("heartbeat")
        while True:
            try:
                await self.beat()
                outage.over()
            except StoreUnavailable as error:
                outage.note(error)
            await asyncio.sleep(HEARTBEAT_SECONDS)


class HelperHeart(Heart):
    """The heart of a further pod: it shows life, and leaves the progress to the pod that holds the attempt."""

    def __init__(self, helpers: Helpers, job_id: UUID, attempt: int, pod: str) -> None:
        self._helpers, self._job_id, self._attempt, self._pod = helpers, job_id, attempt, pod

    async def beat(self) -> None:
        """Show life once. Raises FenceLost, StoreUnavailable."""
        await self._helpers.beat(self._job_id, self._attempt, self._pod)


def _facts(job: JobRow, attempt: int, now: Progress) -> dict[str, object]:
    """Return the fields of a log line about progress: those of the operator's lines about the same job."""
    return {
        "job": job.cr_name, "job_id": job.id, "repository": job.source, "attempt": attempt,
        "phase": now.phase.value, "percent": round(now.percent, 1), "why": now.message,
        "files_total": job.files_total, "files_indexed": job.files_indexed, "files_skipped": job.files_skipped,
        "chunks_created": job.chunks_created, "files_repeated": job.files_repeated,
    }  # fmt: skip
