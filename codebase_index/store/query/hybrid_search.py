"""Candidates for a query: a vector arm and a lexical arm, both signals for each candidate.

Ranking them is the server's business (`codebase_mcp.ranking.ranking`); nothing here decides an order that users
see.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

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
from codebase_index.store.query.scores import best_alive
from codebase_index.store.query.vector_search import nearest

SQL = queries.load("search")

DEFINITIONS = 20
"""Chunks that come for what they define, those with the best words first."""

MOST_DEFINITIONS = 1_000
"""Of which they are chosen: a name that is defined more often says little."""

_EVERYTHING = Filters()


@dataclass(frozen=True)
class Found:
    """What a search may answer with, in no order.

    `incomparable` are the models of which there are vectors of another length than the query's: whatever has them
    was found by the lexical arm alone.
    """

    candidates: list[Candidate]
    incomparable: frozenset[str] = field(default_factory=frozenset)


class Search:
    """Reads the index. Every method may raise StoreUnavailable. `kept` is what was read before.

    Owned by the event loop, like the IndexCache: no thread ever sees either.
    """

    def __init__(self, database: Database, kept: IndexCache | None = None) -> None:
        self._db = database
        self._kept = kept or IndexCache()

    async def candidates(
        self,
        index_ids: Sequence[int],
        *,
        vectors: Mapping[str, NDArray[np.float32]],
        terms: Sequence[str],
        names: Sequence[str] = (),
        filters: Filters = _EVERYTHING,
        limit: int = 100,
    ) -> Found:
        """Return up to `limit` chunks of each arm with both scores for each, and the terms it holds.

        `vectors` has the query's unit vector by each model, `terms` what `codebase_index.lexical.words` makes of
        the query.
        There is a vector arm for each model; chunks whose vectors are of another one are found by the lexical arm
        alone. Up to DEFINITIONS more are those that define one of `names`, given in lower case.
        """
        ids, scored_by = list(index_ids), (list(vectors), [HalfVector(vector) for vector in vectors.values()])
        async with self._db.snapshot() as connection:  # a file is seen before or after, in every part
            parts = await self._kept.parts(connection, ids)
            allowed = await filtered.allowed(connection, ids, filters, parts.doc_ids)
            if allowed is not None and not allowed.any():
                return Found([])
            near = {
                model: await nearest(connection, parts, allowed, model, vector, limit)
                for model, vector in vectors.items()
            }
            matches = await lexical_search.matches(connection, parts, allowed, terms, self._kept)
            best = set(matches.scores.best(limit))
            found = best | await self._defining(connection, ids, names, matches, allowed)
            found = found.union(*(of_model.chunks for of_model in near.values()))
            records = await connection.fetch(SQL["candidates"], list(found), *scored_by)
            there = {record["id"] for record in records}
            if not best <= there:
                # Some were removed since their words were packed: others take their places.
                further = set(await best_alive(connection, matches.scores, limit)) - there
                records += await connection.fetch(SQL["candidates"], list(further), *scored_by)
        found_ids = [record["id"] for record in records]
        scores, terms_of, models = (
            matches.scores.of(found_ids),
            matches.terms_of(found_ids),
            parts.models(found_ids),
        )
        candidates = [
            Candidate._make((*record, score, held, model))  # by place: by name it takes four times as long
            for record, score, held, model in zip(records, scores, terms_of, models, strict=True)
        ]
        return Found(candidates, frozenset(model for model, of_model in near.items() if of_model.unlike))

    async def _defining(
        self,
        connection: asyncpg.Connection,
        index_ids: Sequence[int],
        names: Sequence[str],
        matches: lexical_search.Matches,
        allowed: NDArray[np.bool_] | None,
    ) -> set[int]:
        """Return the best of the chunks that define some names: both arms miss a name that is used all over."""
        if not names:
            return set()
        records = await connection.fetch(SQL["defining"], index_ids, list(names), MOST_DEFINITIONS)
        ids = np.array([record["id"] for record in records], np.int64)
        if allowed is not None:
            ids = ids[allowed[matches.parts.doc_ids.documents(ids)]]
        return set(matches.scores.best_of(ids, DEFINITIONS))

    async def neighbours(self, chunk_ids: Sequence[int]) -> dict[int, tuple[str | None, str | None]]:
        """Return the texts before and after each chunk in its file; None at the file's ends."""
        async with self._db.connection() as connection:
            records = await connection.fetch(SQL["neighbours"], list(chunk_ids))
        return {r["id"]: (r["before"], r["after"]) for r in records}

    async def holds_something(self, index_ids: Sequence[int]) -> bool:
        """Say whether these indexes hold a file now."""
        async with self._db.connection() as connection:
            holds: bool = await connection.fetchval(SQL["holds_something"], list(index_ids))
        return holds
