"""What searches have read of segments, kept in memory: a segment is never changed, only replaced by another.

So nothing here can be out of date. Which segments an index has is asked anew by every search; what a common word
has in them, a megabyte in a large index, comes from Postgres once and not for each question that holds `how`.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar
from uuid import UUID

import asyncpg
import numpy as np

from codebase_index import postings
from codebase_index.documents import Runs
from codebase_index.postings import Held
from codebase_index.store import queries

SQL = queries.load("search")

_K = TypeVar("_K")
_V = TypeVar("_V")

MAX_BYTES: Final = 128 << 20
"""Of what is kept; a quarter of the MCP server's memory in the chart. Of 400,000 chunks the words that are in more
than one of eight take 0.4 MB each."""

_OVERHEAD_BYTES: Final = 400
"""What an entry costs beside its numbers, about."""


@dataclass(frozen=True)
class Segment:
    """A segment without its postings: how many chunks it has, removed ones too, and which."""

    id: int
    index_id: int
    stamp: UUID
    chunks: int
    total_length: int
    runs: Runs

    @property
    def nbytes(self) -> int:
        """Bytes of its numbers."""
        return 8 * (len(self.runs.firsts) + len(self.runs.lengths))


class SegmentCache:
    """Reads segments and their postings, and keeps the most recently used ones, up to `max_bytes`.

    Methods read in the transaction of the connection that they are given, and may raise what asyncpg does.
    """

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._segments = _Recent[UUID, Segment](max_bytes // 8)
        self._postings = _Recent[tuple[UUID, str], Held](max_bytes - max_bytes // 8)

    async def segments(self, connection: asyncpg.Connection, index_ids: Sequence[int]) -> list[Segment]:
        """Return the segments of some indexes, by id."""
        stamps = {r["id"]: r["stamp"] for r in await connection.fetch(SQL["segments"], index_ids)}
        found = {stamp: self._segments.get(stamp) for stamp in stamps.values()}
        if missing := [number for number, stamp in stamps.items() if found[stamp] is None]:
            for row in await connection.fetch(SQL["read_segments"], missing):
                runs = Runs(np.asarray(row["first_ids"], np.int64), np.asarray(row["run_lengths"], np.int64))
                stamp = stamps[row["id"]]
                segment = Segment(row["id"], row["index_id"], stamp, row["chunks"], row["total_length"], runs)
                found[stamp] = segment
                self._segments.put(stamp, segment, segment.nbytes)
        return [segment for segment in found.values() if segment is not None]

    async def postings(
        self, connection: asyncpg.Connection, segments: Sequence[Segment], terms: Sequence[str]
    ) -> dict[str, list[Held]]:
        """Return for each term where it is in each segment, in the order of the segments."""
        found = {term: [self._postings.get((segment.stamp, term)) for segment in segments] for term in terms}
        missing = [
            (segment, term)
            for term, of_term in found.items()
            for segment, held in zip(segments, of_term, strict=True)
            if held is None
        ]
        read = await self._read(connection, missing) if missing else {}
        return {
            term: [held or read[segment.stamp, term] for segment, held in zip(segments, of_term, strict=True)]
            for term, of_term in found.items()
        }

    async def _read(
        self, connection: asyncpg.Connection, missing: Sequence[tuple[Segment, str]]
    ) -> dict[tuple[UUID, str], Held]:
        asked = [segment.id for segment, _ in missing], [term for _, term in missing]
        blocks = {(row["segment_id"], row["term"]): row for row in await connection.fetch(SQL["blocks"], *asked)}
        read = {}
        for segment, term in missing:
            held = postings.NOWHERE  # kept, too: else it would be looked for each time
            if block := blocks.get((segment.id, term)):
                block_postings = postings.read_block(block["terms"], block["payload"])
                held = Held.of(*postings.find(block_postings, term), segment.chunks)
            read[segment.stamp, term] = held
            self._postings.put((segment.stamp, term), held, held.nbytes)
        return read


class _Recent(Generic[_K, _V]):
    """The most recently used values, up to a number of bytes."""

    def __init__(self, max_bytes: int) -> None:
        self._left = max_bytes
        self._values: OrderedDict[_K, tuple[_V, int]] = OrderedDict()

    def get(self, key: _K) -> _V | None:
        if key not in self._values:
            return None
        self._values.move_to_end(key)
        return self._values[key][0]

    def put(self, key: _K, value: _V, nbytes: int) -> None:
        self._forget(key)
        nbytes += _OVERHEAD_BYTES
        self._values[key] = value, nbytes
        self._left -= nbytes
        while self._left < 0:
            self._forget(next(iter(self._values)))

    def _forget(self, key: _K) -> None:
        if key in self._values:
            self._left += self._values.pop(key)[1]
