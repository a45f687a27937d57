"""The vector arm of a search: codes in memory tell which chunks may be near, Postgres how near these are."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import asyncpg
import numpy as np
from numpy.typing import NDArray
from pgvector import HalfVector

from codebase_index.grouping import grouped
from codebase_index.lexical.documents import Ids
from codebase_index.store import queries
from codebase_index.store.query.index_cache import Part, Parts
from codebase_index.store.query.scores import Scores, best_alive
from codebase_index.vectors import quantization
from codebase_index.vectors.quantization import Asked

SQL = queries.load("search")

COMPARED = 300
"""Chunks whose vectors are read, 3 us each. They hold 0.95 of the 70 nearest of 480,000, and 0.93 of 100."""

_FEW_CHUNKS = 4_096
"""Parts of fewer are put together until they have as many: a job's pending batches would be a hundred small ones,
and each costs microseconds to begin."""


@dataclass(frozen=True)
class Nearest:
    """The chunks nearest to a query. `unlike`: some vectors of the model have another length than the query's."""

    chunks: set[int]
    unlike: bool


async def nearest(
    connection: asyncpg.Connection,
    parts: Parts,
    allowed: NDArray[np.bool_] | None,
    model: str,
    vector: NDArray[np.float32],
    limit: int,
) -> Nearest:
    """Return the `limit` chunks of this model whose vectors are nearest to a query's; by id where they tie.

    `allowed` says which documents may answer; None: all.
    """
    query = HalfVector(vector)
    ids = _estimated(parts, allowed, model, vector).best(COMPARED)
    found = await _compared(connection, ids, model, query, limit)
    if allowed is None and len(found) < limit and len(ids) == COMPARED:
        # Of what is nearest of all, so much was removed since it was packed that too little is left.
        estimates = _estimated(parts, allowed, model, vector, every_one=True)
        found = await _compared(connection, await best_alive(connection, estimates, COMPARED), model, query, limit)
    words = quantization.words_of(len(vector))
    unlike = any(part.model == model and len(part.codes.signs) != words for _, part in parts.with_offsets)
    if not unlike and ids and not found:
        unlike = await connection.fetchval(SQL["unlike"], ids, model, len(vector))
    return Nearest(found, unlike)


async def _compared(
    connection: asyncpg.Connection, ids: Iterable[int], model: str, query: HalfVector, limit: int
) -> set[int]:
    rows = await connection.fetch(SQL["nearest_of"], list(ids), model, query, query.dimensions(), limit)
    return {row["chunk_id"] for row in rows}


def _estimated(
    parts: Parts,
    allowed: NDArray[np.bool_] | None,
    model: str,
    vector: NDArray[np.float32],
    *,
    every_one: bool = False,
) -> Scores:
    """Score the chunks of the model by how near they may be: those that may be among the nearest, or every one."""
    query = Asked(vector)
    chosen = [
        (begin, part)
        for begin, part in parts.with_offsets
        if part.model == model
        and len(part.codes.signs) == query.words
        and (allowed is None or allowed[begin : begin + part.chunks].any())
    ]
    groups = grouped(chosen, lambda item: item[1].chunks, _FEW_CHUNKS)
    known = [quantization.join([part.codes for _, part in group]) for group in groups]
    of_these = allowed
    if allowed is not None:
        slices = [allowed[begin : begin + part.chunks] for begin, part in chosen]
        of_these = np.concatenate([np.empty(0, np.bool_), *slices])
    places, estimates = query.estimates(known, of_these, every_one=every_one)
    return Scores(parts.doc_ids, estimates, _documents(places, chosen))


def _documents(places: NDArray[np.intp], of: Sequence[tuple[int, Part]]) -> Ids:
    """Turn places among the chunks of some parts, ascending, into documents."""
    ends = np.cumsum([part.chunks for _, part in of])
    shifts = [begin + part.chunks - end for (begin, part), end in zip(of, ends, strict=True)]
    counts = np.diff(np.searchsorted(places, ends), prepend=0)
    return places + np.repeat(np.array(shifts, np.int64), counts)
