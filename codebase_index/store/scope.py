"""What a query searches: some indexes, and of their files those that its filters leave."""

from collections.abc import Sequence
from dataclasses import dataclass

import asyncpg
import numpy as np

from codebase_index.documents import Ids
from codebase_index.store import queries

SQL = queries.load("search")

FEW_CHUNKS = 20_000
"""Chunks whose vectors are looked up one by one, 3 us each; a scan takes a tenth of that for each."""


@dataclass(frozen=True)
class Filters:
    """Which files may answer: under a path prefix, of a language."""

    path_prefix: str | None = None
    language: str | None = None

    def __bool__(self) -> bool:
        return self.path_prefix is not None or self.language is not None


@dataclass(frozen=True)
class Scope:
    """The indexes and filters of a query, and how many chunks the filters leave (0 without filters)."""

    index_ids: list[int]
    filters: Filters
    matching: int

    @classmethod
    async def of(cls, connection: asyncpg.Connection, index_ids: Sequence[int], filters: Filters) -> "Scope":
        """Count what the filters leave."""
        ids = list(index_ids)
        if not filters:
            return cls(ids, filters, 0)
        matching = await connection.fetchval(SQL["matching"], ids, filters.path_prefix, filters.language)
        return cls(ids, filters, matching)

    @property
    def few(self) -> bool:
        """Whether filters leave so little that it is quicker to look at all of it."""
        return bool(self.filters) and self.matching <= FEW_CHUNKS

    async def all(self, connection: asyncpg.Connection) -> Ids:
        """Return every chunk that the filters leave, in no order. For a few."""
        raw = await connection.fetchval(
            SQL["allowed"], self.index_ids, self.filters.path_prefix, self.filters.language
        )
        return np.frombuffer(raw, ">i8").astype(np.int64)

    async def those(self, connection: asyncpg.Connection, chunk_ids: Sequence[int]) -> list[int]:
        """Return those of some chunks that there still are and that the filters leave, in the same order."""
        records = await connection.fetch(
            SQL["alive"], list(chunk_ids), self.filters.path_prefix, self.filters.language
        )
        alive = {record[0] for record in records}
        return [chunk_id for chunk_id in chunk_ids if chunk_id in alive]
