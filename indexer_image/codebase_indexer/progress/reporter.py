"""Progress of an attempt: set by its stages, reported by the heartbeat (heartbeat.py)."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from codebase_index.store.jobs.jobs import Progress
from codebase_index.store.jobs.rows import JobRow
from codebase_indexer.progress import messages


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
