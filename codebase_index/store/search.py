"""Candidates for a query: a vector arm and a lexical arm inside Postgres, both signals for each candidate.

Ranking them is the server's business (`codebase_mcp.ranking`); nothing here decides an order that users see.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import asyncpg
import numpy as np
from numpy.typing import NDArray
from pgvector import HalfVector

from codebase_index.store import queries
from codebase_index.store.database import Database

SQL = queries.load("search")

# Chunks that the lexical arm may look at: about 20 ms of ts_rank at three terms on one core.
_LEXICAL_BUDGET = 10_000
_MAX_TERMS = 24  # a question of 15 words with its split identifiers; more terms change no ranking
_RARE = 0.0005  # share of chunks assumed for terms that the statistics do not list


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

    `vector_score` is the cosine similarity (-1 to 1); `lexical_score` sums idf times saturated frequency.
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


@dataclass(frozen=True)
class _Lexical:
    """The lexical side of a query: `any_of` selects chunks, `terms` and `weights` score them."""

    any_of: str | None
    terms: list[str]
    weights: list[float]


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
        async with self._db.transaction() as connection:  # one snapshot: a file is seen before or after
            lexical = await _lexical(connection, terms)
            found = await _vector_arm(connection, ids, model, query, filters, limit)
            if lexical.any_of:
                found |= await _lexical_arm(connection, ids, lexical, filters, limit)
            records = await connection.fetch(
                SQL["candidates"], list(found), query, model, lexical.terms, lexical.weights
            )
        return [Candidate(**dict(record)) for record in records]

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
    connection: asyncpg.Connection, ids: list[int], lexical: _Lexical, filters: Filters, limit: int
) -> set[int]:
    records = await connection.fetch(
        SQL["lexical_arm"], ids, lexical.any_of, lexical.terms, lexical.weights, limit,
        filters.path_prefix, filters.language, 2 * _LEXICAL_BUDGET,
    )  # fmt: skip
    return {record[0] for record in records}


async def _lexical(connection: asyncpg.Connection, terms: Sequence[str]) -> _Lexical:
    """Weigh the terms, and choose by which of them to select: the rarest, within the budget."""
    unique = list(dict.fromkeys(terms))
    if not unique:
        return _Lexical(None, [], [])
    records = await connection.fetch(SQL["term_frequencies"], unique)
    share = dict.fromkeys(unique, _RARE) | {r["term"]: float(r["frequency"]) for r in records}
    chunks = await connection.fetchval(SQL["chunk_estimate"])
    rarest = sorted(unique, key=lambda term: (share[term], -len(term), term))[:_MAX_TERMS]
    return _Lexical(
        any_of=selection([(term, share[term]) for term in rarest], chunks),
        terms=[quote(term) for term in rarest],
        weights=[inverse_document_frequency(share[term]) for term in rarest],
    )


def selection(rarest: Sequence[tuple[str, float]], chunks: int) -> str:
    """Return the tsquery that selects chunks to score, from (term, share of chunks), rarest first.

    Common terms cost a visit to most of the index and tell nothing, so terms are taken from the rarest on
    while the expected number of chunks stays within the budget; where even the rarest is too common, chunks
    must hold all of the three rarest.
    """
    if rarest[0][1] * chunks > _LEXICAL_BUDGET:
        return " & ".join(quote(term) for term, _ in rarest[:3])
    taken: list[str] = []
    expected = 0.0
    for term, share in rarest:
        expected += share * chunks
        if taken and expected > _LEXICAL_BUDGET:
            break
        taken.append(quote(term))
    return " | ".join(taken)


def inverse_document_frequency(share: float) -> float:
    """Weigh a term by the share of chunks that hold it, as BM25 does (Robertson and Zaragoza, 2009)."""
    share = min(max(share, 1e-6), 1.0)
    return math.log(1 + (1 - share) / share)


def quote(term: str) -> str:
    """Write a term as a tsquery lexeme, whatever characters it holds."""
    return "'" + term.replace("\\", "\\\\").replace("'", "''") + "'"
