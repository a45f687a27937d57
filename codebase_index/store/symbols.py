"""Finds the definitions of a name."""

from collections.abc import Sequence
from dataclasses import dataclass

from codebase_index.store import queries
from codebase_index.store.database import Database
from codebase_index.store.search import Filters

SQL = queries.load("symbols")


@dataclass(frozen=True)
class Definition:
    """A definition, and the chunk in which it begins: `symbol` is its qualified name (Class.method), `kind` a word
    of `codebase_index.symbols.Kind`.
    """

    id: int
    index_id: int
    path: str
    language: str | None
    start_line: int
    end_line: int
    symbol: str
    kind: str
    text: str


class Symbols:
    """Reads the names that chunks define. Every method may raise StoreUnavailable."""

    def __init__(self, database: Database) -> None:
        self._db = database

    async def definitions(
        self, index_ids: Sequence[int], name: str, *, filters: Filters, limit: int
    ) -> list[Definition]:
        """Return up to `limit` definitions of a plain name, in any case, those in this spelling first; then by
        index, path and line.
        """
        async with self._db.connection() as connection:
            records = await connection.fetch(
                SQL["definitions"], list(index_ids), name.lower(), name, filters.path_prefix, filters.language,
                limit,
            )  # fmt: skip
        return [Definition(**dict(record)) for record in records]
