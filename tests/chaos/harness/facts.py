"""The database as the harness reads it: every query waits for a database that is away."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from tests.chaos.harness.cluster import Cluster

_AWAY = (OSError, asyncpg.PostgresConnectionError, asyncpg.InterfaceError, asyncpg.CannotConnectNowError)
_BROKEN = (asyncpg.InternalClientError,)
"""A query that was cancelled while the database was away can leave a connection that is good for nothing."""

_ENDED = (asyncpg.AdminShutdownError, asyncpg.CrashShutdownError, asyncpg.QueryCanceledError)
_PATIENCE_SECONDS = 120.0


class Facts:
    """One connection that is made anew whenever it is lost."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._connection: asyncpg.Connection | None = None
        self._lock = asyncio.Lock()

    @classmethod
    @asynccontextmanager
    async def open(cls, cluster: Cluster) -> AsyncIterator["Facts"]:
        """Lend the facts of a cluster."""
        facts = cls(cluster)
        try:
            yield facts
        finally:
            facts._drop()

    async def fetch(self, query: str, *arguments: object) -> Sequence[Any]:
        """Return the rows of a query that is safe to repeat. Raises TimeoutError after two minutes' outage."""
        async with self._lock, asyncio.timeout(_PATIENCE_SECONDS):
            while True:
                try:
                    if self._connection is None:
                        self._connection = await self._cluster.connect()
                    rows: Sequence[Any] = await self._connection.fetch(query, *arguments)
                    return rows
                except (*_AWAY, *_BROKEN, *_ENDED, TimeoutError):
                    self._drop()
                    await asyncio.sleep(0.1)

    async def value(self, query: str, *arguments: object) -> Any:
        """Return the first column of the first row. Raises LookupError where there is none."""
        for row in await self.fetch(query, *arguments):
            return row[0]
        raise LookupError(f"no row: {query}")

    async def script(self, statements: str) -> None:
        """Run several statements, in a transaction of their own; again after a deadlock with jobs that write.

        Raises TimeoutError after two minutes.
        """
        async with asyncio.timeout(_PATIENCE_SECONDS):
            while True:
                try:
                    connection = await self._cluster.connect()
                    try:
                        await connection.execute(statements)
                    finally:
                        connection.terminate()
                    return
                except (*_AWAY, *_ENDED, asyncpg.DeadlockDetectedError, TimeoutError):
                    await asyncio.sleep(0.5)

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None
