"""What searches have read of the indexes, kept in memory: postings and codes.

Its parts are never changed, only replaced by others, so nothing here can be out of date. Which segments and
pending batches an index has is asked anew by every search; what they hold comes from Postgres once, and not for
each question: a common word is a megabyte in a large index, and the batches of a job that writes are several.
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
from codebase_index.vectors.quantization import Codes

SQL = queries.load("search")

log = logging.getLogger(__name__)

_K = TypeVar("_K")
_V = TypeVar("_V", bound="Part | Held")

MAX_BYTES: Final = 480 << 20
"""Of what is kept; half of the MCP server's memory in the chart. Of 400,000 chunks, a word that is in more than
one of eight takes 0.4 MB, and the codes of 256 dimensions 27 MB."""

_SHARES: Final = {"segments": 14, "batches": 3, "postings": 3}
"""Of MAX_BYTES. Segments have the codes: there is room for those of five million chunks. Three jobs have some
50 MB of batches that are in no segment yet."""

_OVERHEAD_BYTES: Final = 900
"""What an entry costs beside its numbers, about."""

_BYTES_OF_A_WORD: Final = 100
"""What a word costs beside its letters: as a string, in a dictionary."""


@dataclass(frozen=True)
class Segment:
    """A segment without its postings: how many chunks it has, removed ones too, which, and their codes."""

    id: int
    index_id: int
    stamp: UUID
    chunks: int
    total_length: int
    id_ranges: IdRanges
    model: str
    codes: Codes

    @classmethod
    def of(cls, row: Any) -> "Segment":
        """Read a row of `segments`."""
        known = _codes(row)
        return cls(
            row["id"], row["index_id"], row["stamp"], row["chunks"], row["total_length"], _id_ranges(row),
            row["model"], known,
        )  # fmt: skip

    @property
    def nbytes(self) -> int:
        """Bytes in memory, about."""
        return 16 * len(self.id_ranges.firsts) + self.codes.nbytes


@dataclass(frozen=True)
class Batch:
    """A pending batch, with all of its postings and codes; `lengths` are those of its chunks, in terms."""

    index_id: int
    chunks: int
    total_length: int
    id_ranges: IdRanges
    terms: TermDictionary
    lengths: postings.Array
    model: str
    codes: Codes
    nbytes: int

    @classmethod
    def of(cls, row: Any) -> "Batch":
        """Read a row of `pending_batches`."""
        part = postings.decode(row["vocabulary"], row["payload"])
        known = _codes(row)
        nbytes = len(row["vocabulary"]) + len(row["payload"]) + _BYTES_OF_A_WORD * len(part.postings.terms)
        nbytes += known.nbytes
        return cls(
            row["index_id"], row["chunks"], row["total_length"], _id_ranges(row), TermDictionary(part.postings),
            part.lengths, row["model"], known, nbytes,
        )  # fmt: skip


Part: TypeAlias = Segment | Batch


@dataclass(frozen=True)
class Parts:
    """What some indexes are made of: segments and pending batches, each by id."""

    segments: Sequence[Segment]
    pending: Sequence[Batch]

    @cached_property
    def doc_ids(self) -> DocIdMap:
        """Numbers the chunks of all parts one after another, those of segments first."""
        return DocIdMap([part.id_ranges for _, part in self.with_offsets])

    @cached_property
    def segments_with_offsets(self) -> list[tuple[int, Segment]]:
        """The segments, each with the number of its first chunk."""
        return list(zip(_begins(self.segments), self.segments, strict=True))

    @cached_property
    def pending_with_offsets(self) -> list[tuple[int, Batch]]:
        """The pending batches likewise."""
        return list(zip(_begins(self.pending, self.in_segments), self.pending, strict=True))

    @cached_property
    def with_offsets(self) -> list[tuple[int, Part]]:
        """Both, in the order of these numbers."""
        return [*self.segments_with_offsets, *self.pending_with_offsets]

    @cached_property
    def in_segments(self) -> int:
        """How many chunks are in segments: the number of the first one that is pending."""
        return sum(segment.chunks for segment in self.segments)

    @cached_property
    def pending_lengths(self) -> postings.Array:
        """The lengths of the chunks of the pending batches, one batch after another."""
        return np.concatenate([np.empty(0, "<u4"), *(batch.lengths for batch in self.pending)])

    def models(self, ids: Sequence[int]) -> list[str | None]:
        """Return the model of each chunk's vector; None for one that is in no part."""
        documents = self.doc_ids.documents(np.asarray(ids, np.int64))
        numbers = np.searchsorted([begin for begin, _ in self.with_offsets], documents, side="right") - 1
        of_part = [*(part.model for _, part in self.with_offsets), None]  # None for -1, too
        return [of_part[number] for number in numbers.tolist()]

    @cached_property
    def average_length(self) -> float:
        """How many terms a chunk has, on average."""
        return sum(part.total_length for _, part in self.with_offsets) / max(1, self.doc_ids.total)


class IndexCache:
    """Reads segments, their postings and pending batches, and keeps what was used last, up to `max_bytes`.

    Owned by the event loop: no thread ever sees it. What it gives is never changed, so threads might read that.
    Methods read in the transaction of the connection that they are given, and may raise what asyncpg does.
    """

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        room = {name: max_bytes * share // sum(_SHARES.values()) for name, share in _SHARES.items()}
        self._segments = LRUCache[UUID, Segment](room["segments"], _size)
        self._batches = LRUCache[UUID, Batch](room["batches"], _size)
        self._postings = LRUCache[tuple[UUID, str], PostingList](room["postings"], _size)

    async def parts(self, connection: asyncpg.Connection, index_ids: Sequence[int]) -> Parts:
        """Return what some indexes are made of."""
        rows = await connection.fetch(SQL["parts"], index_ids)
        segments = {row["id"]: self._segments.get(row["stamp"]) for row in rows if not row["pending"]}
        batches = {row["id"]: self._batches.get(row["stamp"]) for row in rows if row["pending"]}
        if missing := [number for number, segment in segments.items() if segment is None]:
            for row in await connection.fetch(SQL["read_segments"], missing):
                segments[row["id"]] = segment = Segment.of(row)
                _keep(self._segments, row["stamp"], segment)
        if missing := [number for number, batch in batches.items() if batch is None]:
            for row in await connection.fetch(SQL["read_pending"], missing):
                batches[row["id"]] = batch = Batch.of(row)
                _keep(self._batches, row["stamp"], batch)
        return Parts(
            [segment for segment in segments.values() if segment is not None],
            [batch for batch in batches.values() if batch is not None],
        )

    async def postings(
        self, connection: asyncpg.Connection, segments: Sequence[Segment], terms: Sequence[str]
    ) -> dict[str, list[PostingList]]:
        """Return for each term where it is in each segment, in the order of the segments."""
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
        asked = [segment.id for segment, _ in missing], [term for _, term in missing]
        blocks = {(row["segment_id"], row["term"]): row for row in await connection.fetch(SQL["blocks"], *asked)}
        read = {}
        for segment, term in missing:
            posting_list = postings.EMPTY_POSTING_LIST  # kept, too: else it would be looked for each time
            if block := blocks.get((segment.id, term)):
                block_postings = postings.read_block(block["terms"], block["payload"])
                posting_list = PostingList.of(*postings.find(block_postings, term), segment.chunks)
            read[segment.stamp, term] = posting_list
            _keep(self._postings, (segment.stamp, term), posting_list)
        return read


def _begins(parts: Sequence[Part], first: int = 0) -> list[int]:
    return list(accumulate((part.chunks for part in parts[:-1]), initial=first))[: len(parts)]


def _id_ranges(row: Any) -> IdRanges:
    return IdRanges(np.asarray(row["first_ids"], np.int64), np.asarray(row["run_lengths"], np.int64))


def _codes(row: Any) -> Codes:
    """Return a row's codes. Where they cannot be read, none that could be compared: the words still answer."""
    try:
        return quantization.from_bytes(row["codes"], row["chunks"])
    except ValueError as error:
        log.error("codes of vectors cannot be read", extra={"index_id": row["index_id"], "reason": str(error)})
        return quantization.none(row["chunks"])


def _size(part: Part | Held) -> int:
    return part.nbytes + _OVERHEAD_BYTES


def _keep(cache: LRUCache[_K, _V], key: _K, value: _V) -> None:
    with contextlib.suppress(ValueError):  # it is larger than all the room there is: it is read each time
        cache[key] = value
