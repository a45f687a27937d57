"""The vector arm of a search: exact scans of what is small, walks through the graphs of what is large."""

from collections.abc import Sequence

import asyncpg
from pgvector import HalfVector

from codebase_index.store import queries
from codebase_index.store.scope import Scope
from codebase_index.store.vector_indexes import SQL as GRAPHS_SQL
from codebase_index.store.vector_indexes import name_of

SQL = queries.load("search")

SEARCH_WIDTH = 400
"""Candidates that a walk keeps: recall@100 is 0.85 at 400,000 chunks, in 7 ms. That is enough, because the lexical
arm brings candidates too and both scores are computed for all of them."""

WIDTH_OF_ALL = 1_600
"""The same for the graphs of one query together: with many repositories each walk gets less."""

WIDEST = 1_000
"""pgvector's limit. Used with filters, which leave a part of what a walk finds."""

Found = list[tuple[float, int]]
"""Distance and chunk."""


async def nearest(
    connection: asyncpg.Connection, scope: Scope, model: str, query: HalfVector, limit: int
) -> set[int]:
    """Return the `limit` chunks of this model whose vectors are nearest to the query's; by id where they tie."""
    graphs = await _with_graph(connection, scope.large)
    scanned = [index_id for index_id in scope.asked if index_id not in graphs]
    found = await _exact(connection, scope, scanned, model, query, limit)
    for index_id in graphs:
        width = WIDEST if scope.filters else min(SEARCH_WIDTH, max(limit, WIDTH_OF_ALL // len(graphs)))
        found += await _approximate(connection, scope, index_id, model, query, limit, width)
    return {chunk_id for _, chunk_id in sorted(found)[:limit]}


async def _with_graph(connection: asyncpg.Connection, index_ids: Sequence[int]) -> list[int]:
    names = {name_of(index_id): index_id for index_id in index_ids}
    return [names[row["name"]] for row in await connection.fetch(GRAPHS_SQL["complete"], list(names))]


async def _exact(
    connection: asyncpg.Connection,
    scope: Scope,
    index_ids: Sequence[int],
    model: str,
    query: HalfVector,
    limit: int,
) -> Found:
    if not index_ids:
        return []
    arguments = [list(index_ids), model, query, limit]
    if scope.filters:
        filters = (scope.filters.path_prefix, scope.filters.language)
        records = await connection.fetch(SQL["exact_filtered"], *arguments, *filters)
    else:
        records = await connection.fetch(SQL["exact"], *arguments)
    return [(record["distance"], record["chunk_id"]) for record in records]


async def _approximate(
    connection: asyncpg.Connection,
    scope: Scope,
    index_id: int,
    model: str,
    query: HalfVector,
    limit: int,
    width: int,
) -> Found:
    await connection.execute(SQL["search_width"], str(width))
    statement = SQL["approximate"].replace("{dimension}", str(query.dimensions()))
    records = await connection.fetch(statement, index_id, model, query, width if scope.filters else limit)
    found = {record["chunk_id"]: record["distance"] for record in records}
    if not scope.filters:
        return [(distance, chunk_id) for chunk_id, distance in found.items()]
    left = await scope.those(connection, list(found))
    if len(left) < limit:  # the filters leave too little of what is near
        return await _exact(connection, scope, [index_id], model, query, limit)
    return [(found[chunk_id], chunk_id) for chunk_id in left]
