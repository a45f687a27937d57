"""The vector arm of a search: codes in memory tell which chunks may be near, Postgres how near these are."""

from collections.abc import Iterable, Sequence

import asyncpg
import numpy as np
from numpy.typing import NDArray
from pgvector import HalfVector

from codebase_index import codes
from codebase_index.codes import Asked
from codebase_index.documents import Ids
from codebase_index.grouping import grouped
from codebase_index.store import queries
from codebase_index.store.index_cache import Part, Parts
from codebase_index.store.scope import Scope
from codebase_index.store.scores import Scores, best

SQL = queries.load("search")

COMPARED = 300
"""Chunks whose vectors are read, 3 us each. They hold 0.95 of the 70 nearest of 480,000, and 0.93 of 100."""

_FEW_CHUNKS = 4_096
"""Parts of fewer are put together until they have as many: a job's pending batches would be a hundred small ones,
and each costs microseconds to begin."""


async def nearest(
    connection: asyncpg.Connection,
    scope: Scope,
    parts: Parts,
    model: str,
    vector: NDArray[np.float32],
    limit: int,
) -> set[int]:
    """Return the `limit` chunks of this model whose vectors are nearest to a query's; by id where they tie."""
    query = HalfVector(vector)
    if scope.filters and scope.matching <= COMPARED:
        return await _exact(connection, scope, model, query, limit)
    estimates = _estimated(scope, parts, model, vector)
    ids = await best(connection, scope, estimates, COMPARED) if scope.filters else set(estimates.best(COMPARED))
    found = await _compared(connection, ids, model, query, limit)
    few = len(ids) < COMPARED if scope.filters else len(found) < limit and len(ids) == COMPARED
    if few:  # Of what is nearest of all, the filters leave too little; or it was removed since it was packed.
        estimates = _estimated(scope, parts, model, vector, every_one=True)
        ids = await best(connection, scope, estimates, COMPARED)
        found = await _compared(connection, ids, model, query, limit)
    return found


async def _exact(
    connection: asyncpg.Connection, scope: Scope, model: str, query: HalfVector, limit: int
) -> set[int]:
    filters = (scope.filters.path_prefix, scope.filters.language)
    rows = await connection.fetch(SQL["nearest_within"], scope.asked, model, query, limit, *filters)
    return {row["chunk_id"] for row in rows}


async def _compared(
    connection: asyncpg.Connection, ids: Iterable[int], model: str, query: HalfVector, limit: int
) -> set[int]:
    rows = await connection.fetch(SQL["nearest_of"], list(ids), model, query, limit)
    return {row["chunk_id"] for row in rows}


def _estimated(
    scope: Scope, parts: Parts, model: str, vector: NDArray[np.float32], *, every_one: bool = False
) -> Scores:
    """Score the chunks of the model by how near they may be: those that may be among the nearest, or every one."""
    query, asked = Asked(vector), frozenset(scope.asked)
    chosen = [
        (begin, part)
        for begin, part in parts.numbered
        if part.index_id in asked and part.model == model and len(part.codes.signs) == query.words
    ]
    scored = sum(part.chunks for _, part in chosen)
    share = scope.matching / max(1, scored) if scope.filters else 1.0
    groups = grouped(chosen, lambda numbered: numbered[1].chunks, _FEW_CHUNKS)
    places, estimates = query.estimates(
        [codes.join([part.codes for _, part in group]) for group in groups], 0.0 if every_one else min(1.0, share)
    )
    return Scores(parts.numbering, estimates, scored, _documents(places, chosen))


def _documents(places: NDArray[np.intp], of: Sequence[tuple[int, Part]]) -> Ids:
    """Turn places among the chunks of some parts, ascending, into documents."""
    ends = np.cumsum([part.chunks for _, part in of])
    shifts = [begin + part.chunks - end for (begin, part), end in zip(of, ends, strict=True)]
    counts = np.diff(np.searchsorted(places, ends), prepend=0)
    return places + np.repeat(np.array(shifts, np.int64), counts)
