"""The definitions of files: of the one at a path, and of those that chunks are of."""

from collections.abc import Collection, Iterator, Mapping

import asyncpg

from codebase_index.definitions import Definitions, is_readable
from codebase_index.store import queries
from codebase_index.store.database import Database

SQL = queries.load("definitions")


class DefinitionSearch:
    """Reads the definitions of files. Every method may raise StoreUnavailable.

    A file that was indexed by a version before these were stored has none until it is indexed again: that is told
    from a file that defines nothing, whose Definitions are empty.
    """

    def __init__(self, database: Database) -> None:
        self._db = database

    async def of_file(self, index_id: int, path: str) -> Definitions | None:
        """Return the definitions of a file, in order; None if they are not known, or there is no such file."""
        async with self._db.connection() as connection:
            return await of_file(connection, index_id, path)

    async def of_chunks(self, chunk_ids: Collection[int]) -> Mapping[int, Definitions]:
        """Return for each chunk the definitions of its file; chunks whose file's are not known are left out."""
        async with self._db.connection() as connection:
            return await of_chunks(connection, chunk_ids)


async def of_file(connection: asyncpg.Connection, index_id: int, path: str) -> Definitions | None:
    """Return the definitions of a file within a transaction; None as there."""
    return read(await connection.fetchval(SQL["of_file"], index_id, path))


async def of_chunks(connection: asyncpg.Connection, chunk_ids: Collection[int]) -> Mapping[int, Definitions]:
    """Return the same within a transaction."""
    found: dict[int, bytes] = {}
    for record in await connection.fetch(SQL["of_chunks"], list(chunk_ids)):
        if is_readable(record["packed"]):
            found |= dict.fromkeys(record["chunks"], record["packed"])
    return _OfChunks(found)


class _OfChunks(Mapping[int, Definitions]):
    """Definitions by chunk, of one file at a time: they are decoded when they are asked for, and given up for
    those of the next. Those of a file take up to 14 MB, and an answer may be of a hundred such files.
    """

    def __init__(self, packed: Mapping[int, bytes]) -> None:
        self._packed = packed
        self._decoded: tuple[bytes, Definitions] | None = None

    def __getitem__(self, chunk_id: int) -> Definitions:
        packed = self._packed[chunk_id]
        if self._decoded is None or self._decoded[0] is not packed:
            self._decoded = packed, Definitions(packed)
        return self._decoded[1]

    def __contains__(self, chunk_id: object) -> bool:
        return chunk_id in self._packed

    def __iter__(self) -> Iterator[int]:
        return iter(self._packed)

    def __len__(self) -> int:
        return len(self._packed)


def read(packed: bytes | None) -> Definitions | None:
    """Decode definitions; None where there are none, or where a later version has packed them."""
    try:
        return Definitions(packed) if packed else None
    except ValueError:
        return None
