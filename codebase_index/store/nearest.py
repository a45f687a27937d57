"""The vector arm of a search: exact scans of what is small, walks through the graphs of what is large."""

from collections.abc import Sequence

import asyncpg
from pgvector import HalfVector

from codebase_index.store import queries
from codebase_index.store.scope import Scope
from codebase_index.store.vector_indexes import SQL as GRAPHS_SQL
from codebase_index.store.vector_indexes import name_of

SQL = queries.load("search")

SEARCH_WIDTH = 300
"""Candidates that a walk keeps: recall@100 is 0.92 in a graph of 100,000 chunks, in 2 ms. That is enough, because
the lexical arm brings candidates too and both scores are computed for all of them."""

WIDTH_OF_ALL = 600
"""The same for the graphs of one query together: the nearest chunks are spread over them. Five graphs of 400,000
chunks give 0.92, in 10 ms."""

LEAST_WIDTH = 40
"""What each gets of it at least."""

FARTHEST = 5_000
"""Chunks that a walk with filters looks at, 15 us each: where they leave less than 2 % of what is near, a scan of
what they leave is no slower."""

Found = list[tuple[float, int]]
"""Distance and chunk."""


async def nearest(
    connection: asyncpg.Connection, scope: Scope, model: str, query: HalfVector, limit: int
) -> set[int]:
    """Return the `limit` chunks of this model whose vectors are nearest to the query's; by id where they tie."""
    graphs = await _with_graph(connection, scope.large)
    scanned = [index_id for index_id in scope.asked if index_id not in graphs]
    found = await _exact(connection, scope, scanned, model, query, limit)
    if graphs:
        width = min(SEARCH_WIDTH, max(LEAST_WIDTH, WIDTH_OF_ALL // len(graphs)))
        order = "relaxed_order" if scope.filters else "off"
        await connection.execute(SQL["walk"], str(width), order, str(FARTHEST))
        if scope.filters:
            for index_id in graphs:
                found += await _within_filters(connection, scope, index_id, model, query, limit)
        else:
            found += await _approximate(connection, graphs, model, query, limit)
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
    connection: asyncpg.Connection, index_ids: Sequence[int], model: str, query: HalfVector, limit: int
) -> Found:
    records = await connection.fetch(statement(query, len(index_ids)), model, query, limit, *index_ids)
    return [(record["distance"], record["chunk_id"]) for record in records]


async def _within_filters(
    connection: asyncpg.Connection, scope: Scope, index_id: int, model: str, query: HalfVector, limit: int
) -> Found:
    """Walk on until enough of what is near fits the filters."""
    cursor = await connection.cursor(statement(query), model, query, FARTHEST, index_id)
    found: Found = []
    seen, wanted = 0, 2 * limit
    while len(found) < limit and (records := await cursor.fetch(wanted)):
        distance = {record["chunk_id"]: record["distance"] for record in records}
        found += [(distance[chunk_id], chunk_id) for chunk_id in await scope.those(connection, list(distance))]
        seen += len(records)
        wanted = max(limit, (limit - len(found)) * seen // max(1, len(found)))  # at the share that fitted so far
    if len(found) < limit:
        return await _exact(connection, scope, [index_id], model, query, limit)
    return found


def statement(query: HalfVector, graphs: int = 1) -> str:
    """Return the text that walks through the graphs of so many indexes: of model $1, for vector $2, $3 of each."""
    walk = SQL["approximate"].replace("{dimension}", str(query.dimensions()))
    return "\nUNION ALL\n".join(walk.replace("{index}", f"${4 + n}") for n in range(graphs))
