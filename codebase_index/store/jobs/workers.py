"""The worker pods of a job with spec.parallelism: registration, heartbeat, and release of stale claims."""

from datetime import timedelta
from typing import Final
from uuid import UUID

from codebase_index.store import queries
from codebase_index.store.database import Database
from codebase_index.store.errors import FenceLost

SQL = queries.load("workers")

HEARTBEAT_TIMEOUT: Final = timedelta(seconds=5)
"""A worker sends a heartbeat every second; after five seconds without, others may claim its files."""


class Workers:
    """Reads and writes the table `workers`. Every method may raise StoreUnavailable."""

    def __init__(self, database: Database) -> None:
        self._db = database

    async def register(self, job_id: UUID, attempt: int, pod: str) -> None:
        """Register a worker of an attempt. Raises FenceLost when the attempt is over or replaced."""
        await self._fenced("register", job_id, attempt, pod)

    async def heartbeat(self, job_id: UUID, attempt: int, pod: str) -> None:
        """Record a heartbeat. Raises FenceLost when the attempt is over or replaced."""
        await self._fenced("heartbeat", job_id, attempt, pod)

    async def release_stale(self, job_id: UUID, attempt: int) -> int:
        """Release the claims of workers without a heartbeat for HEARTBEAT_TIMEOUT; return the number of files."""
        async with self._db.connection() as connection:
            status: str = await connection.execute(SQL["release_stale"], job_id, attempt, HEARTBEAT_TIMEOUT)
        return int(status.split()[-1])

    async def _fenced(self, query: str, job_id: UUID, attempt: int, pod: str) -> None:
        async with self._db.connection() as connection:
            if await connection.fetchval(SQL[query], job_id, attempt, pod) is None:
                raise FenceLost(job_id, attempt)
