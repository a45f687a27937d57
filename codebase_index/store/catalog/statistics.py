"""How much the database holds: for graphs and alerts, never for decisions."""

from dataclasses import dataclass

from codebase_index.store import queries
from codebase_index.store.database import Database

SQL = queries.load("statistics")


@dataclass(frozen=True)
class Statistics:
    """The indexes of a namespace, and the database that they lie in with those of others."""

    indexes: int
    chunks: int
    oldest_index_seconds: float
    """Since the least recently indexed one was completed; 0 without any."""
    database_bytes: int
    connections: int
    """To this database, by whatever program."""
    max_connections: int


async def read_statistics(database: Database, namespace: str) -> Statistics:
    """Read them: some milliseconds, more with thousands of indexes. Raises StoreUnavailable."""
    async with database.connection() as connection:
        return Statistics(**await connection.fetchrow(SQL["read"], namespace))
