"""The files of indexes: their stored text by lines, and lists of them.

The text is that of the index, not of the disk: decoded, and without its secrets. The chunks of a file, one after
another, are its text to the byte; of what releases before chunker version 5 stored, some blank lines are missing.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import asyncpg

from codebase_index.definitions import Definitions
from codebase_index.store import queries
from codebase_index.store.database import Database
from codebase_index.store.query.definitions import of_file
from codebase_index.store.query.filters import Filters
from codebase_index.store.query.symbol_search import IndexSnapshot

SQL = queries.load("files")


@dataclass(frozen=True)
class FileRow:
    """A file of an index. `lines` is the number of its last line that is not lost, 0 for a file without chunks."""

    id: int
    index_id: int
    path: str
    language: str | None
    lines: int


@dataclass(frozen=True)
class ListedFile:
    """A file in a list, as `FileRow`."""

    index_id: int
    path: str
    language: str | None
    lines: int


@dataclass(frozen=True)
class FileCount:
    """How many files of a language an index holds, and of how many chunks."""

    index_id: int
    language: str | None
    files: int
    chunks: int


@dataclass(frozen=True)
class StoredText:
    """A chunk's text, with the numbers of the lines that it begins and ends in. Its line ends are in the text."""

    start_line: int
    end_line: int
    text: str


class Files:
    """Reads files of indexes. Every method may raise StoreUnavailable."""

    def __init__(self, database: Database) -> None:
        self._db = database

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator["FileSnapshot"]:
        """Yield a snapshot, in which each file is seen either before or after its re-indexing."""
        async with (
            self._db.connection() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            yield FileSnapshot(connection)


class FileSnapshot:
    """A consistent snapshot of the files of indexes, and of what they define (`symbols`)."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection
        self.symbols = IndexSnapshot(connection)

    async def at_path(self, index_ids: Sequence[int], path: str) -> list[FileRow]:
        """Return the files at a path, at most one an index."""
        records = await self._connection.fetch(SQL["at_path"], list(index_ids), path)
        return [FileRow(**dict(record)) for record in records]

    async def called(self, index_ids: Sequence[int], name: str, limit: int) -> list[tuple[int, str]]:
        """Return files (index, path) whose last part is this name in any letter case, the shortest paths first."""
        records = await self._connection.fetch(SQL["called"], list(index_ids), name.lower(), limit)
        return [(record["index_id"], record["path"]) for record in records]

    async def is_folder(self, index_ids: Sequence[int], path: str) -> bool:
        """Say whether an index has files below a path."""
        found: bool = await self._connection.fetchval(SQL["is_folder"], list(index_ids), path + "/")
        return found

    async def texts(self, file: FileRow, start_line: int, end_line: int, limit: int) -> list[StoredText]:
        """Return the first `limit` chunks of a file that have some of these lines, in order."""
        records = await self._connection.fetch(SQL["texts"], file.id, start_line, end_line, limit)
        return [StoredText(**dict(record)) for record in records]

    async def definitions(self, file: FileRow) -> Definitions | None:
        """Return the definitions of a file, in order; None if an earlier version indexed it."""
        return await of_file(self._connection, file.index_id, file.path)

    async def page(
        self, index_ids: Sequence[int], filters: Filters, limit: int, offset: int = 0
    ) -> list[ListedFile]:
        """Return the files that pass the filters, by index (in the order given) and path."""
        records = await self._connection.fetch(SQL["page"], list(index_ids), *filters.parameters, limit, offset)
        return [ListedFile(**dict(record)) for record in records]

    async def paths(self, index_ids: Sequence[int], filters: Filters, limit: int) -> list[tuple[int, str]]:
        """Return the files that pass the filters as (index, path), in the same order."""
        records = await self._connection.fetch(SQL["paths"], list(index_ids), *filters.parameters, limit)
        return [(record["index_id"], record["path"]) for record in records]

    async def file_counts(self, index_ids: Sequence[int], filters: Filters) -> list[FileCount]:
        """Count the files that pass the filters by index and language, the most frequent language first."""
        records = await self._connection.fetch(SQL["file_counts"], list(index_ids), *filters.parameters)
        return [FileCount(**dict(record)) for record in records]
