"""The life cycle of segments: built from pending batches, merged in tiers, compacted when chunks are deleted.

Every step replaces rows by equivalent ones in one fenced transaction: a search sees either. The computation
between reading and writing runs in a thread and holds no lock.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import log
from operator import itemgetter
from typing import Any, Final

import asyncpg
import numpy as np
from numpy.typing import NDArray

from codebase_index.grouping import grouped
from codebase_index.lexical import gram_filter, postings
from codebase_index.lexical.documents import IdRanges, Ids
from codebase_index.lexical.postings import Block, InvertedIndex
from codebase_index.store import queries
from codebase_index.store.database import Database
from codebase_index.store.ingest.chunks import Writer, check_fence
from codebase_index.vectors import quantization
from codebase_index.vectors.quantization import QuantizedVectors

SQL = queries.load("segments")

SEGMENT_CHUNKS: Final = 8_192
"""Pending chunks from which a segment is built: some forty batches, in each of which a search looks up each term
until then. With twice as many a job took one percent less, with half as many three percent more. Eight of these
fill the largest segment."""

FEW_CHUNKS: Final = 1_024
"""Segments up to four times this are of the lowest tier."""

FANOUT: Final = 4
"""Segments of one tier that are merged, and the factor between tiers (O'Neil et al., The log-structured
merge-tree, 1996): each chunk is rewritten at most three times, and an index has at most three segments a tier."""

MAX_DEAD_SHARE: Final = 0.2
"""Share of deleted chunks above which a segment is rewritten: more cost more search time than one rewrite."""

_WRITE_SECONDS: Final = 60.0

_TEXTS: Final = 4_096
"""Texts that are read together: some 5 MB."""


@dataclass(frozen=True)
class SegmentSize:
    """The size of a segment: chunks (deleted ones included), live chunks at most, and the model of its vectors."""

    id: int
    chunks: int
    live: int
    model: str


@dataclass(frozen=True)
class _SegmentContent:
    """The content of a new segment."""

    chunks: int
    total_length: int
    id_ranges: IdRanges
    blocks: Sequence[Block]
    model: str
    quantized: bytes
    grams: bytes | None


_NOTHING: Final = _SegmentContent(0, 0, IdRanges([], []), [], "", b"", None)


class Segments:
    """Writes `segments` and `postings`. Methods may raise StoreUnavailable, and those with a Writer FenceLost."""

    def __init__(self, database: Database) -> None:
        self._db = database

    async def pending(self, index_id: int) -> int:
        """Count the pending chunks of an index: those in no segment yet."""
        async with self._db.connection() as connection:
            chunks: int = await connection.fetchval(SQL["pending_chunks"], index_id)
        return chunks

    async def build(self, writer: Writer) -> int:
        """Build a segment from the oldest pending batches, about SEGMENT_CHUNKS. Return its chunk count.

        0 means that none is left, or that another process built them meanwhile.
        """
        async with self._db.connection() as connection:
            rows = await connection.fetch(SQL["take_pending"], writer.index_id, SEGMENT_CHUNKS)
            average = await connection.fetchval(SQL["average_length"], writer.index_id)
        if not rows:
            return 0
        new = await asyncio.to_thread(_build, rows, average)
        replaced = await self._replace(writer, SQL["drop_pending"], [row["id"] for row in rows], new)
        return new.chunks if replaced else 0

    async def merge(self, writer: Writer) -> int:
        """Merge full tiers of small segments; deleted chunks do not matter. Return the number of replaced
        segments.
        """
        async with self._db.connection() as connection:
            rows = await connection.fetch(SQL["list_segments"], writer.index_id)
        groups = plan([SegmentSize(row["id"], row["chunks"], row["chunks"], row["model"]) for row in rows])
        return sum([await self._merge(writer, group) for group in groups])

    async def compact(self, writer: Writer, on_progress: Callable[[float], None] = lambda share: None) -> int:
        """Remove segments without live chunks, merge small ones, and rewrite those with many deleted chunks.

        Return the number of replaced segments. `on_progress` is called with the share that is done, 0 to 1.
        """
        sizes = await self._sizes(writer.index_id)
        dead = [size.id for size in sizes if not size.live]
        replaced = len(dead) if dead and await self._replace(writer, SQL["drop_segments"], dead, _NOTHING) else 0
        groups = plan([size for size in sizes if size.live])
        for number, group in enumerate(groups):
            on_progress(number / len(groups))
            replaced += await self._merge(writer, group)
        return replaced

    async def fill_grams(self, writer: Writer) -> int:
        """Make the gram filters that segments of an earlier version lack, from the texts of their chunks.

        Return how many there were.
        """
        async with self._db.connection() as connection:
            rows = await connection.fetch(SQL["without_grams"], writer.index_id)
        for row in rows:
            ids = IdRanges(row["first_ids"], row["run_lengths"]).ids
            filters = [await self._grams_of(part) for part in np.split(ids, range(_TEXTS, len(ids), _TEXTS))]
            async with self._db.transaction() as connection:
                joined = await asyncio.to_thread(gram_filter.join, filters)
                await connection.execute(SQL["set_grams"], row["id"], joined, timeout=_WRITE_SECONDS)
                await check_fence(connection, writer)
        return len(rows)

    async def _grams_of(self, ids: Ids) -> tuple[bytes, int]:
        """Return the filter of some chunks, and their number; those that are gone hold nothing."""
        async with self._db.connection() as connection:
            rows = await connection.fetch(SQL["texts"], ids.tolist(), timeout=_WRITE_SECONDS)
        texts = {row["id"]: row["text"] for row in rows}
        of_chunks = [texts.get(chunk_id, "") for chunk_id in ids.tolist()]
        return await asyncio.to_thread(gram_filter.encode, of_chunks), len(ids)

    async def _sizes(self, index_id: int) -> list[SegmentSize]:
        """Return the sizes of an index's segments; one that cannot have too many deleted chunks counts as all
        live.
        """
        sizes = []
        async with self._db.connection() as connection:
            rows = await connection.fetch(SQL["list_segments"], index_id)
            # Counting reads every chunk of a large index, and mostly there is nothing to find.
            dead = await connection.fetchval(SQL["deleted_chunks"], index_id)
            for row in rows:
                live = row["chunks"]
                if dead > MAX_DEAD_SHARE * live:
                    live = await connection.fetchval(SQL["count_live"], row["id"])
                sizes.append(SegmentSize(row["id"], row["chunks"], live, row["model"]))
        return sizes

    async def _merge(self, writer: Writer, ids: Sequence[int]) -> int:
        read = []
        async with self._db.connection() as connection:
            for segment_id in ids:
                segment = await connection.fetchrow(SQL["read_segment"], segment_id, timeout=_WRITE_SECONDS)
                if segment is None:  # replaced by another process
                    return 0
                read.append((segment, await connection.fetch(SQL["read_postings"], segment_id)))
        new = await asyncio.to_thread(_merge_parts, read)
        return len(ids) if await self._replace(writer, SQL["drop_segments"], ids, new) else 0

    async def _replace(self, writer: Writer, drop: str, ids: Sequence[int], new: _SegmentContent) -> bool:
        """Replace rows by a segment, or by nothing if it is empty; do nothing if one of them is gone."""
        try:
            async with self._db.transaction() as connection:
                await connection.execute(SQL["lock_index"], writer.index_id)
                dropped = await connection.fetch(drop, ids, timeout=_WRITE_SECONDS)
                if len(dropped) < len(ids):
                    raise _ReplacedConcurrently
                if new.chunks:
                    await _write(connection, writer.index_id, new)
                await check_fence(connection, writer)
        except _ReplacedConcurrently:
            return False
        return True


class _ReplacedConcurrently(Exception):
    """Another process has replaced some of the rows; the rollback restores those dropped here."""


async def copy(
    snapshot: asyncpg.Connection,
    connection: asyncpg.Connection,
    source_index: int,
    index_id: int,
    former: Ids,
    new: Ids,
) -> None:
    """Copy terms and quantized vectors of chunks that were copied from another index: ids `former` become `new`.

    They are read from a snapshot that has these chunks, in which no segment is replaced.
    """
    order = np.argsort(former)
    copies = _CopiedChunks(former[order], new[order])
    for row in await snapshot.fetch(SQL["list_segments"], source_index):
        segment = await snapshot.fetchrow(SQL["read_segment_vectors"], row["id"], timeout=_WRITE_SECONDS)
        if copies.any_of(IdRanges(segment["first_ids"], segment["run_lengths"])):
            read = await snapshot.fetch(SQL["read_postings"], row["id"], timeout=_WRITE_SECONDS)
            await _write(connection, index_id, await asyncio.to_thread(copies.of_segment, segment, read))
    average = await snapshot.fetchval(SQL["average_length"], source_index)
    for ids in _group_batches(await snapshot.fetch(SQL["list_pending"], source_index)):
        batches = await snapshot.fetch(SQL["read_pending"], ids, timeout=_WRITE_SECONDS)
        batches = [b for b in batches if copies.any_of(IdRanges(b["first_ids"], b["run_lengths"]))]
        if batches:
            await _write(connection, index_id, await asyncio.to_thread(copies.of_batches, batches, average))


def _group_batches(pending: Sequence[Any]) -> Iterator[list[int]]:
    """Group batches of one model, up to SEGMENT_CHUNKS chunks a group or a single batch."""
    for _, of_model in groupby(pending, key=itemgetter("model")):
        for rows in grouped(of_model, itemgetter("chunks"), SEGMENT_CHUNKS):
            yield [row["id"] for row in rows]


@dataclass(frozen=True)
class _CopiedChunks:
    """The ids of copied chunks, ascending, and those of their copies."""

    former: Ids
    new: Ids

    def any_of(self, id_ranges: IdRanges) -> bool:
        """Whether some of these chunks were copied."""
        return bool(np.isin(id_ranges.ids, self.former).any())

    def of_segment(self, segment: Any, rows: Sequence[Any]) -> _SegmentContent:
        """Return the part of a segment that covers the copied chunks."""
        inverted = postings.join([postings.read_block(row["terms"], row["payload"]) for row in rows])
        part, share = self._chosen(inverted, segment)
        return _new([part], round(segment["total_length"] * share), segment["model"])

    def of_batches(self, rows: Sequence[Any], average_length: float) -> _SegmentContent:
        """Return the part of pending batches that covers the copied chunks, as a segment."""
        parts, length = [], 0.0
        for row in rows:
            inverted = postings.impacts(postings.decode(row["vocabulary"], row["payload"]), average_length)
            part, share = self._chosen(inverted, row)
            parts.append(part)
            length += row["total_length"] * share
        return _new(parts, round(length), rows[0]["model"])

    def _chosen(self, inverted: InvertedIndex, row: Any) -> tuple["_SegmentPart", float]:
        """Return the part of a row that covers the copied chunks, and their share of its chunks."""
        ids = IdRanges(row["first_ids"], row["run_lengths"]).ids
        chosen = np.isin(ids, self.former)
        copies = self.new[np.searchsorted(self.former, ids[chosen])]
        return _SegmentPart.of(inverted, row, chosen, copies), float(chosen.mean())


def plan(sizes: Sequence[SegmentSize]) -> list[list[int]]:
    """Return the segments to merge, grouped: full tiers of one model, and single ones with many deleted chunks."""
    tiers: dict[tuple[str, int], list[SegmentSize]] = defaultdict(list)
    for size in sorted(sizes, key=lambda s: (s.live, s.id)):
        tiers[size.model, max(0, int(log(max(size.live, 1) / FEW_CHUNKS, FANOUT)))].append(size)
    groups = [group for tier in tiers.values() if len(tier) >= FANOUT for group in _packed(tier) if len(group) > 1]
    merged = {size.id for group in groups for size in group}
    dying = [s for s in sizes if s.id not in merged and s.chunks - s.live > MAX_DEAD_SHARE * s.chunks]
    return [[size.id for size in group] for group in [*groups, *([size] for size in dying)]]


def _packed(tier: Sequence[SegmentSize]) -> list[list[SegmentSize]]:
    """Divide segments into groups of at most MAX_DOCUMENTS chunks."""
    # The dead are counted too: fewer may have died when it is read again, but no more come alive.
    return list(grouped(tier, lambda size: size.chunks, postings.MAX_DOCUMENTS))


@dataclass(frozen=True)
class _SegmentPart:
    """A part of a new segment: the postings, ids, quantized vectors and gram filter of some chunks.

    `grams` is None in what an earlier version wrote.
    """

    inverted: InvertedIndex
    id_ranges: IdRanges
    quantized: QuantizedVectors
    grams: bytes | None

    @classmethod
    def of(cls, inverted: InvertedIndex, row: Any, chosen: NDArray[np.bool_], ids: Ids) -> "_SegmentPart":
        """Select some of a row's chunks, which get these ids."""
        quantized, filter_ = quantization.from_bytes(row["codes"], row["chunks"]), row["grams"]
        id_ranges = IdRanges.of(ids.tolist())
        if chosen.all():
            return cls(inverted, id_ranges, quantized, filter_)
        return cls(
            postings.select_documents(inverted, chosen), id_ranges, quantized.select(chosen),
            filter_ and gram_filter.select(filter_, row["chunks"], chosen),
        )  # fmt: skip


def _build(rows: Sequence[Any], average_length: float) -> _SegmentContent:
    parts = [
        _SegmentPart(
            postings.impacts(postings.decode(row["vocabulary"], row["payload"]), average_length),
            IdRanges(row["first_ids"], row["run_lengths"]),
            quantization.from_bytes(row["codes"], row["chunks"]),
            row["grams"],
        )
        for row in rows
    ]
    return _new(parts, sum(row["total_length"] for row in rows), rows[0]["model"])


def _merge_parts(read: Sequence[tuple[Any, Sequence[Any]]]) -> _SegmentContent:
    parts, length = [], 0.0
    for segment, rows in read:
        ids = IdRanges(segment["first_ids"], segment["run_lengths"]).ids
        live = np.isin(ids, np.frombuffer(segment["alive"], ">i8"))
        inverted = postings.join([postings.read_block(row["terms"], row["payload"]) for row in rows])
        parts.append(_SegmentPart.of(inverted, segment, live, ids[live]))
        length += segment["total_length"] * float(live.mean())
    return _new(parts, round(length), read[0][0]["model"])


def _new(parts: Sequence[_SegmentPart], total_length: int, model: str) -> _SegmentContent:
    sizes = [len(part.quantized) for part in parts]
    inverted = [part.inverted for part in parts]
    merged = inverted[0] if len(inverted) == 1 else postings.merge(inverted, sizes)
    return _SegmentContent(
        sum(sizes), total_length, IdRanges.concatenate([part.id_ranges for part in parts]),
        list(postings.blocks(merged)), model,
        quantization.to_bytes(quantization.join([part.quantized for part in parts])), _joined_grams(parts),
    )  # fmt: skip


def _joined_grams(parts: Sequence[_SegmentPart]) -> bytes | None:
    filters = [(part.grams, len(part.quantized)) for part in parts if part.grams is not None]
    return gram_filter.join(filters) if len(filters) == len(parts) else None


async def _write(connection: asyncpg.Connection, index_id: int, new: _SegmentContent) -> None:
    segment_id = await connection.fetchval(
        SQL["add_segment"], index_id, new.chunks, new.total_length, new.id_ranges.firsts, new.id_ranges.lengths,
        new.model, new.quantized, new.grams, timeout=_WRITE_SECONDS,
    )  # fmt: skip
    await connection.copy_records_to_table(
        "postings",
        columns=["segment_id", "first_term", "terms", "payload"],
        records=((segment_id, block.first_term, block.terms, block.payload) for block in new.blocks),
        timeout=_WRITE_SECONDS,
    )
