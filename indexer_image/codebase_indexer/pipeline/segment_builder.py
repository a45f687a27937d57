"""Builds the search segments (term postings and quantized vectors) from committed chunks."""

from collections.abc import Callable

from codebase_index.store.ingest.chunks import Writer
from codebase_index.store.ingest.segments import SEGMENT_CHUNKS, Segments
from codebase_indexer.database_retry import retry_while_unavailable


class SegmentBuilder:
    """Builds segments for one attempt of a job, one at a time.

    Chunks without a segment wait in the database, also for the next attempt.
    """

    def __init__(self, segments: Segments, writer: Writer) -> None:
        self._segments = segments
        self._writer = writer
        self._pending: int | None = None  # chunks; unknown before the first batch
        self._building = False

    async def add(self, chunks: int) -> None:
        """Count the chunks of a committed batch; build a segment when there are enough, unless one is being built.

        The calling lane waits for the segment, so that there is never more work than lanes.
        """
        if self._pending is None:
            self._pending = await retry_while_unavailable("count pending chunks", self._count)
        else:
            self._pending += chunks
        if self._pending < SEGMENT_CHUNKS or self._building:
            return
        self._building = True
        try:
            await retry_while_unavailable("build a segment", lambda: self._segments.build(self._writer))
            # Now, while other lanes keep the processors busy: at the job's end nothing else is left to do.
            await retry_while_unavailable("merge segments", lambda: self._segments.merge(self._writer))
            self._pending = await retry_while_unavailable("count pending chunks", self._count)
        finally:
            self._building = False

    async def finish(self, report: Callable[[float], None]) -> None:
        """Build the remaining segments, merge small ones, and complete those of an earlier version.

        `report` is called with the share that is done.
        """
        while await retry_while_unavailable("build a segment", lambda: self._segments.build(self._writer)):
            pass
        await retry_while_unavailable("merge segments", lambda: self._segments.compact(self._writer, report))
        await retry_while_unavailable("fill in grams", lambda: self._segments.fill_grams(self._writer))

    async def _count(self) -> int:
        return await self._segments.pending(self._writer.index_id)
