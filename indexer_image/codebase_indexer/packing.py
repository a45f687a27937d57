"""What searching needs beside the chunks: words packed into segments, and no graph of vectors in a job's way."""

import logging
from collections.abc import Callable

from codebase_index.store.chunks import Writer
from codebase_index.store.errors import RowLocked
from codebase_index.store.segments import SEGMENT_CHUNKS, Segments
from codebase_index.store.vector_indexes import VectorIndexes
from codebase_indexer.patience import until_available

log = logging.getLogger(__name__)


class Packer:
    """Builds segments for one attempt of a job, one at a time.

    What it has not built yet is in the database, for the next attempt. Once the job has written more than a
    little, the vector index is dropped: keeping it up to date would cost the job more than all else. The operator
    builds it anew when the job is over.
    """

    def __init__(self, segments: Segments, graphs: VectorIndexes, writer: Writer) -> None:
        self._segments = segments
        self._graphs = graphs
        self._writer = writer
        self._pending: int | None = None  # chunks; unknown before the first batch
        self._busy = False
        self._until_drop: int | None = None  # chunks that may still be written beside a vector index

    async def committed(self, chunks: int) -> None:
        """Note the chunks of a batch; build a segment when there are enough, unless one is being built.

        The lane that comes here waits for the segment, so that there is never more work than lanes.
        """
        if self._pending is None:
            self._pending = await until_available("count pending chunks", self._count)
        else:
            self._pending += chunks
        await self._spare_graph(chunks)
        if self._pending < SEGMENT_CHUNKS or self._busy:
            return
        self._busy = True
        try:
            await until_available("build a segment", lambda: self._segments.build(self._writer))
            # Now, while other lanes keep the processors busy: at the job's end nothing else is left to do.
            await until_available("merge segments", lambda: self._segments.merge(self._writer))
            self._pending = await until_available("count pending chunks", self._count)
        finally:
            self._busy = False

    async def finish(self, told: Callable[[float], None]) -> None:
        """Build what is left, and merge what has become many or thin. `told` hears which share is done."""
        while await until_available("build a segment", lambda: self._segments.build(self._writer)):
            pass
        await until_available("merge segments", lambda: self._segments.tidy(self._writer, told))

    async def _spare_graph(self, chunks: int) -> None:
        if self._until_drop is None:
            self._until_drop = await until_available("size the index", self._bearable)
        before, self._until_drop = self._until_drop, self._until_drop - chunks
        if before <= 0 or self._until_drop > 0:
            return
        try:
            await until_available("drop the vector index", lambda: self._graphs.drop(self._writer.index_id))
        except RowLocked:
            log.info("the vector index is in use; it is dropped after some more chunks")
            self._until_drop = await until_available("size the index", self._bearable)

    async def _bearable(self) -> int:
        return await self._graphs.bearable(self._writer.index_id)

    async def _count(self) -> int:
        return await self._segments.pending(self._writer.index_id)
