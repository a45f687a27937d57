"""Candidates for a query: a vector arm and a lexical arm, both signals for each candidate.

Ranking them is the server's business (`codebase_mcp.ranking`); nothing here decides an order that users see.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import asyncpg
import numpy as np
from numpy.typing import NDArray
from pgvector import HalfVector

from codebase_index.store import lexical, queries
from codebase_index.store.database import Database

SQL = queries.load("search")

FEW_CHUNKS = 50_000
"""Chunks that are looked at one by one: their vectors in 20 ms, exactly, or their ids in less."""


@dataclass(frozen=True)
class Filters:
    """Which files may answer: under a path prefix, of a language."""

    path_prefix: str | None = None
    language: str | None = None

    def __bool__(self) -> bool:
        return self.path_prefix is not None or self.language is not None


@dataclass(frozen=True)
class Candidate:
    """A chunk that may answer. Lines count from 1, both ends included.

    `vector_score` is the cosine similarity (-1 to 1), `lexical_score` the BM25 score.
    """

    id: int
    index_id: int
    path: str
    language: str | None
    start_line: int
    end_line: int
    symbol: str | None
    text: str
    vector_score: float
    lexical_score: float


class Search:
    """Reads the index. Every method may raise StoreUnavailable."""

    def __init__(self, database: Database) -> None:
        self._db = database

    async def candidates(
        self,
        index_ids: Sequence[int],
        *,
        model: str,
        vector: NDArray[np.float32],
        terms: Sequence[str],
        filters: Filters = Filters(),
        limit: int = 100,
    ) -> list[Candidate]:
        """Return up to `limit` chunks of each arm, in no order, with both scores for each.

        `vector` is the query's unit vector, `terms` what `codebase_index.text` makes of the query. Chunks
        whose vectors are of another model are found by the lexical arm alone.
        """
        ids, query = list(index_ids), HalfVector(vector)
        async with self._db.snapshot() as connection:  # a file is seen before or after, in every part
            scores = await lexical.scores(connection, ids, terms)
            found = await _vector_arm(connection, ids, model, query, filters, limit)
            found |= await _lexical_arm(connection, ids, scores, filters, limit)
            records = await connection.fetch(SQL["candidates"], list(found), query, model)
        of_chunk = scores.of([record["id"] for record in records])
        return [
            Candidate(**dict(record), lexical_score=score) for record, score in zip(records, of_chunk, strict=True)
        ]

    async def neighbours(self, chunk_ids: Sequence[int]) -> dict[int, tuple[str | None, str | None]]:
        """Return the texts before and after each chunk in its file; None at the file's ends."""
        async with self._db.connection() as connection:
            records = await connection.fetch(SQL["neighbours"], list(chunk_ids))
        return {r["id"]: (r["before"], r["after"]) for r in records}

    async def counts(self, index_ids: Sequence[int]) -> tuple[int, int]:
        """Return how many files and chunks these indexes hold now."""
        async with self._db.connection() as connection:
            record = await connection.fetchrow(SQL["counts"], list(index_ids))
        return record["files"], int(record["chunks"])


async def _vector_arm(
    connection: asyncpg.Connection, ids: list[int], model: str, query: HalfVector, filters: Filters, limit: int
) -> set[int]:
    if filters:
        records = await connection.fetch(
            SQL["vector_arm_filtered"], ids, model, query, limit, filters.path_prefix, filters.language
        )
    else:
        records = await connection.fetch(SQL["vector_arm"], ids, model, query, limit)
    return {record[0] for record in records}


async def _lexical_arm(
    connection: asyncpg.Connection, ids: list[int], scores: lexical.Scores, filters: Filters, limit: int
) -> set[int]:
    """Return the best chunks that there still are. Segments also have chunks that were removed or rewritten."""
    wanted = 2 * limit
    if filters:
        matching = await connection.fetchval(SQL["matching"], ids, filters.path_prefix, filters.language)
        if matching <= FEW_CHUNKS:
            raw = await connection.fetchval(SQL["allowed"], ids, filters.path_prefix, filters.language)
            return set(scores.best_of(np.frombuffer(raw, ">i8").astype(np.int64), limit))
        wanted = 2 * limit * max(1, scores.total // matching)
    found: list[int] = []
    for chunk_ids in _ever_more(scores, wanted):
        records = await connection.fetch(SQL["alive"], chunk_ids, filters.path_prefix, filters.language)
        alive = {record[0] for record in records}
        found += [chunk_id for chunk_id in chunk_ids if chunk_id in alive]
        if len(found) >= limit:
            break
    return set(found[:limit])


def _ever_more(scores: lexical.Scores, wanted: int) -> Iterator[list[int]]:
    """Return chunks from the best on, in ever longer lists, until none is left."""
    told = 0
    while chunk_ids := scores.best(told + wanted)[told:]:
        yield chunk_ids
        told, wanted = told + len(chunk_ids), 4 * wanted
