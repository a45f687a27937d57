"""What searching needs beside the chunks: their words and codes, packed into segments."""

from collections.abc import Callable

from codebase_index.store.ingest.chunks import Writer
from codebase_index.store.ingest.segments import SEGMENT_CHUNKS, Segments
from codebase_indexer.database_retry import retry_while_unavailable


class Packer:
    """Builds segments for one attempt of a job, one at a time.

    What it has not built yet is in the database, for the next attempt.
    """

    def __init__(self, segments: Segments, writer: Writer) -> None:
        self._segments = segments
        self._writer = writer
        self._pending: int | None = None  # chunks; unknown before the first batch
        self._busy = False

    async def committed(self, chunks: int) -> None:
        """Note the chunks of a batch; build a segment when there are enough, unless one is being built.

        The lane that comes here waits for the segment, so that there is never more work than lanes.
        """
        if self._pending is None:
            self._pending = await retry_while_unavailable("count pending chunks", self._count)
        else:
            self._pending += chunks
        if self._pending < SEGMENT_CHUNKS or self._busy:
            return
        self._busy = True
        try:
            await retry_while_unavailable("build a segment", lambda: self._segments.build(self._writer))
            # Now, while other lanes keep the processors busy: at the job's end nothing else is left to do.
            await retry_while_unavailable("merge segments", lambda: self._segments.merge(self._writer))
            self._pending = await retry_while_unavailable("count pending chunks", self._count)
        finally:
            self._busy = False

    async def finish(self, on_progress: Callable[[float], None]) -> None:
        """Build what is left, and merge what has become many or thin. `on_progress` hears which share is done."""
        while await retry_while_unavailable("build a segment", lambda: self._segments.build(self._writer)):
            pass
        await retry_while_unavailable("merge segments", lambda: self._segments.compact(self._writer, on_progress))

    async def _count(self) -> int:
        return await self._segments.pending(self._writer.index_id)
