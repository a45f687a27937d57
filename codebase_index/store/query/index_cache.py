"""An LRU cache of what searches read: postings and quantized vectors.

Segments and pending batches are immutable, so nothing in it can be stale. Every search asks Postgres which of them
an index has; their content is read once: the postings of a common term are a megabyte in a large index, and the
pending batches of a running job are several.
"""

import contextlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Any, Final, TypeAlias, TypeVar
from uuid import UUID

import asyncpg
import numpy as np
from cachetools import LRUCache

from codebase_index.lexical import postings
from codebase_index.lexical.documents import DocIdMap, IdRanges
from codebase_index.lexical.postings import PostingList, TermDictionary
from codebase_index.store import queries
from codebase_index.vectors import quantization
from codebase_index.vectors.quantization import QuantizedVectors

SQL = queries.load("search")

log = logging.getLogger(__name__)

_K = TypeVar("_K")
_V = TypeVar("_V", bound="IndexPart | PostingList")

MAX_BYTES: Final = 480 << 20
"""Capacity: half of the MCP server's memory in the chart. For 400,000 chunks, a term in more than an eighth of
them takes 0.4 MB, and quantized vectors of 256 dimensions take 27 MB."""

_SHARES: Final = {"segments": 14, "batches": 3, "postings": 3}
"""Shares of MAX_BYTES. Segments include the quantized vectors: there is room for those of five million chunks.
Three jobs have some 50 MB of pending batches."""

_OVERHEAD_BYTES: Final = 900
"""Approximate overhead of an entry beside its arrays."""

_BYTES_OF_A_WORD: Final = 100
"""Approximate overhead of a term beside its letters: as a string, in a dictionary."""


@dataclass(frozen=True)
class Segment:
    """Segment metadata: chunk count (deleted ones included), chunk-id ranges, quantized vectors."""

    id: int
    index_id: int
    stamp: UUID
    chunks: int
    total_length: int
    id_ranges: IdRanges
    model: str
    quantized: QuantizedVectors

    @classmethod
    def of(cls, row: Any) -> "Segment":
        """Read a row of `segments`."""
        quantized = _quantized(row)
        return cls(
            row["id"], row["index_id"], row["stamp"], row["chunks"], row["total_length"], _id_ranges(row),
            row["model"], quantized,
        )  # fmt: skip

    @property
    def nbytes(self) -> int:
        """Approximate size in bytes."""
        return 16 * len(self.id_ranges.firsts) + self.quantized.nbytes


@dataclass(frozen=True)
class PendingBatch:
    """A pending batch with its postings and quantized vectors; `lengths` has the terms of each chunk."""

    index_id: int
    chunks: int
    total_length: int
    id_ranges: IdRanges
    terms: TermDictionary
    lengths: postings.Array
    model: str
    quantized: QuantizedVectors
    nbytes: int

    @classmethod
    def of(cls, row: Any) -> "PendingBatch":
        """Read a row of `pending_batches`."""
        part = postings.decode(row["vocabulary"], row["payload"])
        quantized = _quantized(row)
        nbytes = len(row["vocabulary"]) + len(row["payload"]) + _BYTES_OF_A_WORD * len(part.postings.terms)
        nbytes += quantized.nbytes
        return cls(
            row["index_id"], row["chunks"], row["total_length"], _id_ranges(row), TermDictionary(part.postings),
            part.lengths, row["model"], quantized, nbytes,
        )  # fmt: skip


IndexPart: TypeAlias = Segment | PendingBatch


@dataclass(frozen=True)
class IndexParts:
    """The segments and pending batches of some indexes, each ordered by id."""

    segments: Sequence[Segment]
    pending: Sequence[PendingBatch]

    @cached_property
    def doc_ids(self) -> DocIdMap:
        """Document numbers through all parts, segments first."""
        return DocIdMap([part.id_ranges for _, part in self.with_offsets])

    @cached_property
    def segments_with_offsets(self) -> list[tuple[int, Segment]]:
        """The segments, each with the number of its first document."""
        return list(zip(_begins(self.segments), self.segments, strict=True))

    @cached_property
    def pending_with_offsets(self) -> list[tuple[int, PendingBatch]]:
        """The pending batches likewise."""
        return list(zip(_begins(self.pending, self.in_segments), self.pending, strict=True))

    @cached_property
    def with_offsets(self) -> list[tuple[int, IndexPart]]:
        """Segments and pending batches in document order."""
        return [*self.segments_with_offsets, *self.pending_with_offsets]

    @cached_property
    def in_segments(self) -> int:
        """Number of chunks in segments; the first pending document has this number."""
        return sum(segment.chunks for segment in self.segments)

    @cached_property
    def pending_lengths(self) -> postings.Array:
        """The lengths of the chunks of all pending batches, concatenated."""
        return np.concatenate([np.empty(0, "<u4"), *(batch.lengths for batch in self.pending)])

    def models(self, ids: Sequence[int]) -> list[str | None]:
        """Return the model of each chunk's vector; None for one that is in no part."""
        documents = self.doc_ids.documents(np.asarray(ids, np.int64))
        numbers = np.searchsorted([begin for begin, _ in self.with_offsets], documents, side="right") - 1
        of_part = [*(part.model for _, part in self.with_offsets), None]  # None for -1, too
        return [of_part[number] for number in numbers.tolist()]

    @cached_property
    def average_length(self) -> float:
        """The average number of terms of a chunk."""
        return sum(part.total_length for _, part in self.with_offsets) / max(1, self.doc_ids.total)


class IndexCache:
    """Reads segments, their postings and pending batches through an LRU cache of `max_bytes`.

    Owned by the event loop, not thread-safe. Its values are immutable, so threads may read them.
    Methods read in the transaction of the given connection, and may raise what asyncpg does.
    """

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        room = {name: max_bytes * share // sum(_SHARES.values()) for name, share in _SHARES.items()}
        self._segments = LRUCache[UUID, Segment](room["segments"], _size)
        self._batches = LRUCache[UUID, PendingBatch](room["batches"], _size)
        self._postings = LRUCache[tuple[UUID, str], PostingList](room["postings"], _size)

    async def parts(self, connection: asyncpg.Connection, index_ids: Sequence[int]) -> IndexParts:
        """Return the segments and pending batches of some indexes."""
        rows = await connection.fetch(SQL["parts"], index_ids)
        segments = {row["id"]: self._segments.get(row["stamp"]) for row in rows if not row["pending"]}
        batches = {row["id"]: self._batches.get(row["stamp"]) for row in rows if row["pending"]}
        if missing := [number for number, segment in segments.items() if segment is None]:
            for row in await connection.fetch(SQL["read_segments"], missing):
                segments[row["id"]] = segment = Segment.of(row)
                _keep(self._segments, row["stamp"], segment)
        if missing := [number for number, batch in batches.items() if batch is None]:
            for row in await connection.fetch(SQL["read_pending"], missing):
                batches[row["id"]] = batch = PendingBatch.of(row)
                _keep(self._batches, row["stamp"], batch)
        return IndexParts(
            [segment for segment in segments.values() if segment is not None],
            [batch for batch in batches.values() if batch is not None],
        )

    async def postings(
        self, connection: asyncpg.Connection, segments: Sequence[Segment], terms: Sequence[str]
    ) -> dict[str, list[PostingList]]:
        """Return the posting lists of each term, one a segment, in the order of the segments."""
        found = {term: [self._postings.get((segment.stamp, term)) for segment in segments] for term in terms}
        missing = [
            (segment, term)
            for term, of_term in found.items()
            for segment, posting_list in zip(segments, of_term, strict=True)
            if posting_list is None
        ]
        read = await self._read(connection, missing) if missing else {}
        return {
            term: [
                posting_list or read[segment.stamp, term]
                for segment, posting_list in zip(segments, of_term, strict=True)
            ]
            for term, of_term in found.items()
        }

    async def _read(
        self, connection: asyncpg.Connection, missing: Sequence[tuple[Segment, str]]
    ) -> dict[tuple[UUID, str], PostingList]:
        pairs = [segment.id for segment, _ in missing], [term for _, term in missing]
        blocks = {(row["segment_id"], row["term"]): row for row in await connection.fetch(SQL["blocks"], *pairs)}
        read = {}
        for segment, term in missing:
            posting_list = postings.EMPTY_POSTING_LIST  # cached too: else it would be read each time
            if block := blocks.get((segment.id, term)):
                block_postings = postings.read_block(block["terms"], block["payload"])
                posting_list = PostingList.of(*postings.find(block_postings, term), segment.chunks)
            read[segment.stamp, term] = posting_list
            _keep(self._postings, (segment.stamp, term), posting_list)
        return read


def _begins(parts: Sequence[IndexPart], first: int = 0) -> list[int]:
    return list(accumulate((part.chunks for part in parts[:-1]), initial=first))[: len(parts)]


def _id_ranges(row: Any) -> IdRanges:
    return IdRanges(np.asarray(row["first_ids"], np.int64), np.asarray(row["run_lengths"], np.int64))


def _quantized(row: Any) -> QuantizedVectors:
    """Return a row's quantized vectors; none that match a query if they are unreadable: terms still answer."""
    try:
        return quantization.from_bytes(row["codes"], row["chunks"])
    except ValueError as error:
        log.error("quantized vectors are unreadable", extra={"index_id": row["index_id"], "reason": str(error)})
        return quantization.empty(row["chunks"])


def _size(part: IndexPart | PostingList) -> int:
    return part.nbytes + _OVERHEAD_BYTES


def _keep(cache: LRUCache[_K, _V], key: _K, value: _V) -> None:
    with contextlib.suppress(ValueError):  # it is larger than all the room there is: it is read each time
        cache[key] = value
