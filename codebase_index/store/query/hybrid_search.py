"""Candidates for a query: a vector arm and a lexical arm, both signals for each candidate.

Ranking them is the server's business (`codebase_mcp.ranking.ranking`); nothing here decides an order that users
see.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import asyncpg
import numpy as np
from numpy.typing import NDArray
from pgvector import HalfVector

from codebase_index.store import queries
from codebase_index.store.database import Database
from codebase_index.store.query import filters as filtered
from codebase_index.store.query import lexical_search
from codebase_index.store.query.candidate import Candidate as Candidate  # part of this module's interface
from codebase_index.store.query.filters import Filters as Filters  # this one too
from codebase_index.store.query.index_cache import IndexCache
from codebase_index.store.query.scores import best_live
from codebase_index.store.query.vector_search import nearest

SQL = queries.load("search")

MAX_DEFINITIONS = 20
"""Chunks added because they define a name of the query, the best lexical scores first."""

MAX_NAME_MATCHES = 1_000
"""Definitions among which they are chosen: a name that is defined more often says little."""

_NO_FILTERS = Filters()


@dataclass(frozen=True)
class CandidateSet:
    """The candidates of a search, unordered.

    `incomparable` are the models of which some vectors have another dimension than the query's: chunks with those
    were found by the lexical arm alone. `term_weights` has the inverse document frequency of each term.
    """

    candidates: list[Candidate]
    incomparable: frozenset[str] = field(default_factory=frozenset)
    term_weights: Mapping[str, float] = field(default_factory=dict)


class Lines(NamedTuple):
    """Some lines of a file: the number of the first one, from 1, and their text."""

    first: int
    text: str


class Search:
    """Reads the index. Every method may raise StoreUnavailable.

    Owned by the event loop, like its IndexCache: not thread-safe.
    """

    def __init__(self, database: Database, cache: IndexCache | None = None) -> None:
        self._db = database
        self._cache = cache or IndexCache()

    async def candidates(
        self,
        index_ids: Sequence[int],
        *,
        vectors: Mapping[str, NDArray[np.float32]],
        terms: Sequence[str],
        names: Sequence[str] = (),
        filters: Filters = _NO_FILTERS,
        limit: int = 100,
    ) -> CandidateSet:
        """Return up to `limit` chunks of each arm, with both scores and the terms that each contains.

        `vectors` has the query's unit vector for each model, `terms` the query's search terms
        (`codebase_index.lexical.words`). There is a vector arm for each model; chunks with vectors of another
        model are found by the lexical arm alone. Up to MAX_DEFINITIONS more define one of `names`, given in lower
        case.
        """
        ids, scored_by = list(index_ids), (list(vectors), [HalfVector(vector) for vector in vectors.values()])
        async with self._db.snapshot() as connection:  # a file is seen before or after, in every part
            parts = await self._cache.parts(connection, ids)
            allowed = await filtered.allowed(connection, ids, filters, parts.doc_ids)
            if allowed is not None and not allowed.any():
                return CandidateSet([])
            near = {
                model: await nearest(connection, parts, allowed, model, vector, limit)
                for model, vector in vectors.items()
            }
            matches = await lexical_search.matches(connection, parts, allowed, terms, self._cache)
            best = set(matches.scores.best(limit))
            found = best | await self._definitions(connection, ids, names, matches, allowed)
            found = found.union(*(of_model.chunks for of_model in near.values()))
            records = await connection.fetch(SQL["candidates"], list(found), *scored_by)
            there = {record["id"] for record in records}
            if not best <= there:
                # Some were deleted since their segment was built: the next best take their places.
                further = set(await best_live(connection, matches.scores, limit)) - there
                records += await connection.fetch(SQL["candidates"], list(further), *scored_by)
        found_ids = [record["id"] for record in records]
        scores, terms_of, models = (
            matches.scores.of(found_ids),
            matches.terms_of(found_ids),
            parts.models(found_ids),
        )
        candidates = [
            Candidate._make((*record, score, matched, model))  # positional: keywords take four times as long
            for record, score, matched, model in zip(records, scores, terms_of, models, strict=True)
        ]
        incomparable = frozenset(model for model, of_model in near.items() if of_model.dimension_mismatch)
        return CandidateSet(candidates, incomparable, matches.weights())

    async def _definitions(
        self,
        connection: asyncpg.Connection,
        index_ids: Sequence[int],
        names: Sequence[str],
        matches: lexical_search.Matches,
        allowed: NDArray[np.bool_] | None,
    ) -> set[int]:
        """Return the best chunks that define one of these names: both arms miss a name that is used everywhere."""
        if not names:
            return set()
        records = await connection.fetch(SQL["definitions"], index_ids, list(names), MAX_NAME_MATCHES)
        ids = np.array([record["id"] for record in records], np.int64)
        if allowed is not None:
            ids = ids[allowed[matches.parts.doc_ids.documents(ids)]]
        return set(matches.scores.best_of(ids, MAX_DEFINITIONS))

    async def neighbours(self, chunk_ids: Sequence[int]) -> dict[int, tuple[Lines | None, Lines | None]]:
        """Return what is before and after each chunk in its file; None at the file's ends."""
        async with self._db.connection() as connection:
            records = await connection.fetch(SQL["neighbours"], list(chunk_ids))
        return {
            r["id"]: (_lines(r["before_line"], r["before"]), _lines(r["after_line"], r["after"])) for r in records
        }

    async def has_files(self, index_ids: Sequence[int]) -> bool:
        """Return whether these indexes have any file."""
        async with self._db.connection() as connection:
            holds: bool = await connection.fetchval(SQL["has_files"], list(index_ids))
        return holds


def _lines(first: int | None, text: str | None) -> Lines | None:
    return None if first is None or text is None else Lines(first, text)
