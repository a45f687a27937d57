"""The definitions of files: of the one at a path, and of those that chunks are of."""

from collections.abc import Collection

import asyncpg

from codebase_index.definitions import Definitions
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

    async def of_chunks(self, chunk_ids: Collection[int]) -> dict[int, Definitions]:
        """Return for each chunk the definitions of its file; chunks whose file's are not known are left out."""
        async with self._db.connection() as connection:
            return await of_chunks(connection, chunk_ids)


async def of_file(connection: asyncpg.Connection, index_id: int, path: str) -> Definitions | None:
    """Return the definitions of a file within a transaction; None as there."""
    return read(await connection.fetchval(SQL["of_file"], index_id, path))


async def of_chunks(connection: asyncpg.Connection, chunk_ids: Collection[int]) -> dict[int, Definitions]:
    """Return the same within a transaction."""
    found: dict[int, Definitions] = {}
    for record in await connection.fetch(SQL["of_chunks"], list(chunk_ids)):
        if (definitions := read(record["packed"])) is not None:
            found |= dict.fromkeys(record["chunks"], definitions)
    return found


def read(packed: bytes | None) -> Definitions | None:
    """Decode definitions; None where there are none, or where a later version has packed them."""
    try:
        return Definitions(packed) if packed else None
    except ValueError:
        return None
