"""Symbol search: the definitions of a name."""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from itertools import islice

import asyncpg

from codebase_index.definitions import Definition, Definitions
from codebase_index.store import queries
from codebase_index.store.database import Database
from codebase_index.store.query import definitions
from codebase_index.store.query.hybrid_search import Filters
from codebase_index.store.query.text_search import TextQuery, TextResult, find

SQL = queries.load("symbol_search")


@dataclass(frozen=True)
class DefinitionRow:
    """A definition, and the chunk in which it begins: `symbol` is its qualified name (Class.method), `kind` a word
    of `codebase_index.symbols.Kind`. The lines are the chunk's; `place` is where the definition itself stands,
    None in an index of an older version.
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
    place: Definition | None = None


class SymbolSearch:
    """Reads the names that chunks define. Every method may raise StoreUnavailable."""

    def __init__(self, database: Database) -> None:
        self._db = database

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator["IndexSnapshot"]:
        """Yield a snapshot, in which each file is seen either before or after its re-indexing."""
        async with (
            self._db.connection() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            yield IndexSnapshot(connection)


class IndexSnapshot:
    """A consistent snapshot of the indexes, from which definitions and uses are read."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def definitions(
        self, index_ids: Sequence[int], name: str, *, filters: Filters, limit: int
    ) -> list[DefinitionRow]:
        """Return up to `limit` definitions of a plain name, in any case, those in this spelling first; then by
        index, path and line. Of more, as many as Postgres comes by first, which is about the order of indexing.
        """

        asked = list(index_ids), name.lower(), name, *filters.parameters, limit
        records = await self._connection.fetch(SQL["definitions"], *asked)
        found = [DefinitionRow(**dict(record)) for record in records]
        of_chunks = await definitions.of_chunks(self._connection, {d.id for d in found})
        # A line may hold ten thousand of one name.
        return list(islice((placed for d in found for placed in _placed(d, of_chunks.get(d.id))), limit))

    async def find(self, text: TextQuery) -> TextResult:
        """Search the text. After a timeout nothing more can be read from this snapshot."""
        return await find(self._connection, text)


def _placed(definition: DefinitionRow, of_file: Definitions | None) -> Iterator[DefinitionRow]:
    """Yield a chunk's definition once for each place that has the name: overloads are several."""
    lines = definition.start_line, definition.end_line
    places = of_file.named(definition.symbol, *lines) if of_file else iter(())
    yield replace(definition, place=next(places, None))
    for place in places:
        yield replace(definition, place=place)
