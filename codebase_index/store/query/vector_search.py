"""The vector arm of a search: candidates by quantized vectors in memory, rescored by full vectors in Postgres."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import asyncpg
import numpy as np
from numpy.typing import NDArray
from pgvector import HalfVector

from codebase_index.grouping import grouped
from codebase_index.lexical.documents import Ids
from codebase_index.store import queries
from codebase_index.store.query.index_cache import IndexPart, IndexParts
from codebase_index.store.query.scores import Scores, best_live
from codebase_index.vectors import quantization
from codebase_index.vectors.quantization import EncodedQuery

SQL = queries.load("search")

RESCORED_CHUNKS = 300
"""Candidates that are rescored by their full vectors. docs/search.md has the recall for other numbers."""

_GROUP_CHUNKS = 4_096
"""Smaller parts are joined up to this size: a job has a hundred small pending batches, and each numpy call has a
fixed cost of microseconds."""


@dataclass(frozen=True)
class NearestChunks:
    """The chunks nearest to a query. `dimension_mismatch`: some vectors of the model have another dimension."""

    chunks: set[int]
    dimension_mismatch: bool


async def nearest(
    connection: asyncpg.Connection,
    parts: IndexParts,
    allowed: NDArray[np.bool_] | None,
    model: str,
    vector: NDArray[np.float32],
    limit: int,
) -> NearestChunks:
    """Return the `limit` nearest neighbours of a query among the chunks of this model; ties by id.

    `allowed` is a mask of the documents that may answer; None: all.
    """
    query = HalfVector(vector)
    ids = _estimate(parts, allowed, model, vector).best(RESCORED_CHUNKS)
    found = await _rescore(connection, ids, model, query, limit)
    if allowed is None and len(found) < limit and len(ids) == RESCORED_CHUNKS:
        # Too many of the nearest were deleted since their segments were built.
        estimates = _estimate(parts, allowed, model, vector, exhaustive=True)
        ids = await best_live(connection, estimates, RESCORED_CHUNKS)
        found = await _rescore(connection, ids, model, query, limit)
    words = quantization.word_count(len(vector))
    mismatch = any(part.model == model and len(part.quantized.signs) != words for _, part in parts.with_offsets)
    if not mismatch and ids and not found:
        mismatch = await connection.fetchval(SQL["dimension_mismatch"], ids, model, len(vector))
    return NearestChunks(found, mismatch)


async def _rescore(
    connection: asyncpg.Connection, ids: Iterable[int], model: str, query: HalfVector, limit: int
) -> set[int]:
    rows = await connection.fetch(SQL["rescore"], list(ids), model, query, query.dimensions(), limit)
    return {row["chunk_id"] for row in rows}


def _estimate(
    parts: IndexParts,
    allowed: NDArray[np.bool_] | None,
    model: str,
    vector: NDArray[np.float32],
    *,
    exhaustive: bool = False,
) -> Scores:
    """Estimate the similarity of the chunks of the model: of those that may be among the nearest, or of all."""
    query = EncodedQuery(vector)
    chosen = [
        (begin, part)
        for begin, part in parts.with_offsets
        if part.model == model
        and len(part.quantized.signs) == query.words
        and (allowed is None or allowed[begin : begin + part.chunks].any())
    ]
    groups = grouped(chosen, lambda item: item[1].chunks, _GROUP_CHUNKS)
    quantized = [quantization.join([part.quantized for _, part in group]) for group in groups]
    of_these = allowed
    if allowed is not None:
        slices = [allowed[begin : begin + part.chunks] for begin, part in chosen]
        of_these = np.concatenate([np.empty(0, np.bool_), *slices])
    places, estimates = query.estimates(quantized, of_these, exhaustive=exhaustive)
    return Scores(parts.doc_ids, estimates, _documents(places, chosen))


def _documents(places: NDArray[np.intp], of: Sequence[tuple[int, IndexPart]]) -> Ids:
    """Map positions among the chunks of these parts, ascending, to documents."""
    ends = np.cumsum([part.chunks for _, part in of])
    shifts = [begin + part.chunks - end for (begin, part), end in zip(of, ends, strict=True)]
    counts = np.diff(np.searchsorted(places, ends), prepend=0)
    return places + np.repeat(np.array(shifts, np.int64), counts)
