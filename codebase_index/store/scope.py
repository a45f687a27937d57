"""What a query searches: some indexes, and of their files those that its filters leave."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import asyncpg
import numpy as np

from codebase_index.documents import Ids
from codebase_index.store import queries

SQL = queries.load("search")


@dataclass(frozen=True)
class Filters:
    """Which files may answer: under a path prefix, of a language."""

    path_prefix: str | None = None
    language: str | None = None

    def __bool__(self) -> bool:
        return self.path_prefix is not None or self.language is not None


@dataclass(frozen=True)
class Scope:
    """The indexes and filters of a query.

    `left` is how many chunks of each index the filters leave; it has no indexes of which they leave nothing, and
    is empty without filters.
    """

    index_ids: list[int]
    filters: Filters
    left: Mapping[int, int]

    @classmethod
    async def of(cls, connection: asyncpg.Connection, index_ids: Sequence[int], filters: Filters) -> "Scope":
        """Count what the filters leave."""
        ids = list(index_ids)
        if not filters:
            return cls(ids, filters, {})
        records = await connection.fetch(SQL["matching"], ids, filters.path_prefix, filters.language)
        return cls(ids, filters, {record["index_id"]: record["chunks"] for record in records})

    @property
    def matching(self) -> int:
        """How many chunks the filters leave."""
        return sum(self.left.values())

    @property
    def asked(self) -> list[int]:
        """The indexes of which the filters leave anything."""
        return [i for i in self.index_ids if i in self.left] if self.filters else self.index_ids

    async def all(self, connection: asyncpg.Connection) -> Ids:
        """Return every chunk that the filters leave, in no order."""
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
