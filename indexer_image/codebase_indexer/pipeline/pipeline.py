"""The way of a batch: claim, process, embed, commit; several of them side by side.

What is claimed and not committed is the only work that a crash repeats, so that is kept under 1 % of the
files, and the more a job has repeated the smaller. Nothing waits in queues: a lane holds one batch from its
claim to its commit, which also bounds memory, and there is a lane more than processes, so that one lane's
commit overlaps with the others' parsing.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from pathlib import Path

from codebase_index.grouping import grouped
from codebase_index.store.ingest.batch import (
    BatchT,
    PackedBatch,
    ProcessedBatch,
    SkippedFile,
    StoredFile,
    WorkItem,
)
from codebase_index.store.ingest.chunks import Chunks, Writer
from codebase_index.store.ingest.work import Work
from codebase_index.store.jobs.jobs import Jobs
from codebase_index.store.jobs.workers import Workers
from codebase_indexer.content.skipping import UNCERTAIN
from codebase_indexer.database_retry import retry_while_unavailable
from codebase_indexer.pipeline.pool import Pool
from codebase_indexer.pipeline.remote_embedding import Counts, SlowEmbedding
from codebase_indexer.pipeline.segment_builder import Packer
from codebase_indexer.pipeline.tasks import run_together
from codebase_indexer.pipeline.worker_protocol import Batch
from codebase_indexer.progress.reporter import ProgressReporter
from codebase_indexer.source.checkout import SourceChanged

log = logging.getLogger(__name__)

MAX_BATCH_FILES = 32
"""More would not make commits cheaper: their fixed cost is a few milliseconds."""

MAX_BATCH_BYTES = 1_000_000
"""Of source, committed at once: about 800 chunks, a few times that in memory."""

SPARE_LANES = 1
"""Beside a lane for each process: while all of these parse, one commits. More only make each batch smaller, since
they share what may be in flight, and small batches cost more CPU time."""

RECHECK_SECONDS = 1.0
"""How often a pod that has no files left asks whether the other pods' are done."""


MAX_MISSING = 8
"""Files in a row that a helper does not find until it concludes that its node lacks the repository."""


class Redo(Enum):
    """Which files are done again though the index has them as they are."""

    CHANGED = auto()  # none
    ALL = auto()
    NOT_MINE = auto()  # those that the job itself has not done yet


@dataclass(frozen=True)
class Flight:
    """How many batches are in flight at most, and of how many files."""

    lanes: int
    batch_files: int


def plan_flight(files_total: int, workers: int, pods: int = 1, repeated: int = 0) -> Flight:
    """Return what keeps the processes busy with less than 1 % of the files in flight, all pods together.

    A small repository has one file in flight, which costs it little. `repeated` files were lost in flight before:
    crashes share that one percent. Each may take a quarter of what those before it left, so that there is some for
    the next, or else a file for each lane; when less is left than there are lanes, fewer work, at last one.
    """
    one_percent = (files_total - 1) // 100
    left = max(1, (one_percent - repeated) // pods)
    share = left // 4 if repeated else left
    wanted = workers + SPARE_LANES
    batch_files = min(MAX_BATCH_FILES, max(1, share // wanted))
    return Flight(lanes=min(wanted, left // batch_files), batch_files=batch_files)


def by_bytes(items: Sequence[WorkItem], limit: int = MAX_BATCH_BYTES) -> Iterator[list[WorkItem]]:
    """Divide files into consecutive groups of at most `limit` bytes; a larger file is alone."""
    return grouped(items, lambda item: item.size, limit)


@dataclass
class Pipeline:
    """Indexes what is left of a job's work list. `slow` makes the vectors, None: the pool does."""

    jobs: Jobs
    work: Work
    chunks: Chunks
    writer: Writer
    pod: str
    folder: Path
    boundary: Path
    pool: Pool
    reporter: ProgressReporter
    slow: SlowEmbedding | None
    packer: Packer
    redo: Redo
    check: Callable[[], Awaitable[None]]
    """Makes sure that what was read is of the folder that the job opened; raises where it may not be."""
    helpers: Workers | None = None
    """Whose files are taken over when they fall silent; None for a helper itself, which leaves that, and the job's
    state, to the pod that holds the attempt."""
    _missing: int = field(default=0, init=False)

    async def run(self, flight: Flight) -> None:
        """Return when every file of the job is done, by this pod or another; a helper returns when none is left
        to claim.

        Raises FenceLost, InsufficientStorage, and what `check` raises. An outage of the database or the embedding
        service is waited for, with the batches in flight kept.
        """
        while True:
            await run_together(self._lane(flight.batch_files) for _ in range(flight.lanes))
            if self.helpers is None:
                await retry_while_unavailable("release", self.release)
                return
            if not await retry_while_unavailable("count what is left", lambda: self.work.todo(self.writer.job_id)):
                return
            # Either other pods hold the rest, or the answer to a claim of ours was lost in an outage.
            await retry_while_unavailable("release", self.release)
            await retry_while_unavailable("take over", self._take_over)
            await asyncio.sleep(RECHECK_SECONDS)

    async def release(self) -> None:
        """Give back what this pod holds. No lane may be running."""
        await self.work.release(self.writer.job_id, self.writer.attempt, self.pod)

    async def _take_over(self) -> None:
        if self.helpers is not None:
            await self.helpers.release_stale(self.writer.job_id, self.writer.attempt)

    async def _lane(self, batch_files: int) -> None:
        while items := await retry_while_unavailable("claim", lambda: self._claim(batch_files)):
            self.reporter.in_flight += len(items)
            for group in by_bytes(items):
                await self._index(group)
                self.reporter.in_flight -= len(group)

    async def _claim(self, limit: int) -> list[WorkItem]:
        return await self.work.claim(self.writer.job_id, self.writer.attempt, self.pod, limit)

    async def _index(self, items: Sequence[WorkItem]) -> None:
        known = await retry_while_unavailable("look up known files", lambda: self._known(items))
        answer = await self.pool.process(Batch(self.folder, items, known, self.boundary))
        await self.check()
        if self.helpers is None:
            answer = self._found(answer)
        batch, counts = await self._embed(answer) if isinstance(answer, ProcessedBatch) else (answer, Counts())
        await retry_while_unavailable("commit", lambda: self.chunks.commit_batch(self.writer, batch))
        if self.slow is not None:
            await self.slow.count(counts)
        await self.packer.committed(sum(part.chunks for part in batch.parts))

    async def _embed(self, batch: ProcessedBatch) -> tuple[PackedBatch, Counts]:
        assert self.slow is not None, "a pool without a model is for models that embed here"
        return await self.slow.embed(batch)

    def _found(self, batch: BatchT) -> BatchT:
        """Leave out what a helper cannot read: its node may lack what others have. It gives that back at its end.

        Raises SourceChanged when it finds nothing at all: then another folder is mounted on this node.
        """
        found = [r for r in batch.results if not (isinstance(r, SkippedFile) and r.reason in UNCERTAIN)]
        self._missing = 0 if found else self._missing + len(batch.results)
        if self._missing >= MAX_MISSING:
            raise SourceChanged(
                f"{self._missing} files in a row are not there on this node, which the list has; the other pods "
                "do them; mount the same repositories on every node"
            )
        return replace(batch, results=found)

    async def _known(self, items: Sequence[WorkItem]) -> dict[str, StoredFile]:
        if self.redo is Redo.ALL:
            return {}
        by = self.writer.job_id if self.redo is Redo.NOT_MINE else None
        return await self.chunks.stored_files(self.writer.index_id, [item.path for item in items], by)
