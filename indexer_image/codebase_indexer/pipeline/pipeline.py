"""The indexing pipeline: concurrent lanes that claim, parse, embed and commit batches of files.

A crash repeats only claimed, uncommitted files, so these stay below 1 % of all files, and fewer the more a job has
already repeated. There are no queues: a lane holds one batch from claim to commit, which also bounds memory. There
is one lane more than parser processes, so that one lane's commit overlaps with the others' parsing.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum, auto

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
from codebase_indexer.pipeline.parser_protocol import ParseRequest
from codebase_indexer.pipeline.pool import ParserPool, PoolBroken
from codebase_indexer.pipeline.remote_embedding import EmbeddingCounts, RemoteEmbedding
from codebase_indexer.pipeline.segment_builder import SegmentBuilder
from codebase_indexer.pipeline.tasks import run_together
from codebase_indexer.progress.reporter import ProgressReporter
from codebase_indexer.source.checkout import SourceChanged

log = logging.getLogger(__name__)

MAX_BATCH_FILES = 32
"""More would not make commits cheaper: their fixed cost is a few milliseconds."""

MAX_BATCH_BYTES = 1_000_000
"""Of source, committed at once: about 800 chunks, a few times that in memory."""

SPARE_LANES = 1
"""Lanes beyond one per process: while the others parse, one commits. More lanes only make each batch smaller,
since they share what may be in flight, and small batches cost more CPU time."""

RECHECK_SECONDS = 1.0
"""How often the leader, out of files itself, checks whether the other pods have finished."""


MAX_MISSING_FILES = 8
"""Consecutive missing files after which a worker concludes that its node lacks the repository."""


class ReindexScope(Enum):
    """Which unchanged files are indexed again."""

    CHANGED = auto()  # none
    ALL = auto()
    NOT_BY_THIS_JOB = auto()  # those that this job has not indexed yet


@dataclass(frozen=True)
class Concurrency:
    """Limits on work in flight: concurrent lanes, and files per batch."""

    lanes: int
    batch_files: int


def plan_concurrency(files_total: int, processes: int, pods: int = 1, repeated: int = 0) -> Concurrency:
    """Return limits that keep the processes busy with less than 1 % of all files in flight, over all pods.

    A small repository has one file in flight, which costs it little. `repeated` files were lost in flight before;
    all crashes share the one percent. Each may use a quarter of what the earlier ones left, so that some remains
    for the next, or else one file per lane; when less remains than there are lanes, fewer lanes run, at least one.
    """
    one_percent = (files_total - 1) // 100
    left = max(1, (one_percent - repeated) // pods)
    share = left // 4 if repeated else left
    wanted = processes + SPARE_LANES
    batch_files = min(MAX_BATCH_FILES, max(1, share // wanted))
    return Concurrency(lanes=min(wanted, left // batch_files), batch_files=batch_files)


def by_bytes(items: Sequence[WorkItem], limit: int = MAX_BATCH_BYTES) -> Iterator[list[WorkItem]]:
    """Split files into consecutive groups of at most `limit` bytes; a larger file is alone."""
    return grouped(items, lambda item: item.size, limit)


@dataclass
class Pipeline:
    """Indexes the rest of a job's work list. `remote` makes the vectors; None: the parser pool does."""

    jobs: Jobs
    work: Work
    chunks: Chunks
    writer: Writer
    pod: str
    pool: ParserPool
    reporter: ProgressReporter
    remote: RemoteEmbedding | None
    segment_builder: SegmentBuilder
    scope: ReindexScope
    check: Callable[[], Awaitable[None]]
    """Verifies that what was read belongs to the folder that the job opened; raises if it may not."""
    workers: Workers | None = None
    """The workers whose files are reclaimed when their heartbeat stops; None in a worker, which leaves that and
    the job's state to the leader."""
    _missing_files: int = field(default=0, init=False)

    async def run(self, concurrency: Concurrency) -> None:
        """Return when every file of the job is done, by this pod or another; a worker returns when none is left
        to claim.

        Raises FenceLost, InsufficientStorage, and what `check` raises. During an outage of the database or the
        embedding service the lanes wait with their batches.
        """
        while True:
            await run_together(self._lane(concurrency.batch_files) for _ in range(concurrency.lanes))
            if self.workers is None:
                await retry_while_unavailable("release", self.release)
                return
            if not await retry_while_unavailable(
                "count remaining files", lambda: self.work.todo(self.writer.job_id)
            ):
                return
            # Either other pods hold the rest, or an outage lost the answer to one of our claims.
            await retry_while_unavailable("release", self.release)
            await retry_while_unavailable("reclaim files of silent workers", self._reclaim_silent)
            await asyncio.sleep(RECHECK_SECONDS)

    async def release(self) -> None:
        """Release this pod's claims. No lane may be running."""
        await self.work.release(self.writer.job_id, self.writer.attempt, self.pod)

    async def _reclaim_silent(self) -> None:
        if self.workers is not None:
            await self.workers.release_stale(self.writer.job_id, self.writer.attempt)

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
        try:
            answer = await self.pool.process(ParseRequest(items, known))
        except PoolBroken:
            await self.check()  # a process does not start either while its folder is away
            raise
        await self.check()
        if self.workers is None:
            answer = self._drop_missing(answer)
        batch, counts = (
            await self._embed(answer) if isinstance(answer, ProcessedBatch) else (answer, EmbeddingCounts())
        )
        await retry_while_unavailable("commit", lambda: self.chunks.commit_batch(self.writer, batch))
        if self.remote is not None:
            await self.remote.count(counts)
        await self.segment_builder.add(sum(part.chunks for part in batch.parts))

    async def _embed(self, batch: ProcessedBatch) -> tuple[PackedBatch, EmbeddingCounts]:
        assert self.remote is not None, "a pool without a model needs a remote embedding"
        return await self.remote.embed(batch)

    def _drop_missing(self, batch: BatchT) -> BatchT:
        """Drop the files that a worker cannot read, since other nodes may have them. It releases them at its end.

        Raises SourceChanged when it finds no file at all: then another folder is mounted on this node.
        """
        found = [r for r in batch.results if not (isinstance(r, SkippedFile) and r.reason in UNCERTAIN)]
        self._missing_files = 0 if found else self._missing_files + len(batch.results)
        if self._missing_files >= MAX_MISSING_FILES:
            raise SourceChanged(
                f"{self._missing_files} listed files in a row are missing on this node; other pods index them; "
                "mount the same repositories on every node"
            )
        return replace(batch, results=found)

    async def _known(self, items: Sequence[WorkItem]) -> dict[str, StoredFile]:
        if self.scope is ReindexScope.ALL:
            return {}
        by = self.writer.job_id if self.scope is ReindexScope.NOT_BY_THIS_JOB else None
        return await self.chunks.stored_files(self.writer.index_id, [item.path for item in items], by)
