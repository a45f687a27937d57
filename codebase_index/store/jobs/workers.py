"""The further pods of a job with spec.parallelism: who is there, and what the silent ones hold."""

from datetime import timedelta
from typing import Final
from uuid import UUID

from codebase_index.store import queries
from codebase_index.store.database import Database
from codebase_index.store.errors import FenceLost

SQL = queries.load("workers")

SILENCE: Final = timedelta(seconds=5)
"""A helper shows life every second; after five without, others may have its files."""


class Helpers:
    """Reads and writes the table `helpers`. Every method may raise StoreUnavailable."""

    def __init__(self, database: Database) -> None:
        self._db = database

    async def join(self, job_id: UUID, attempt: int, pod: str) -> None:
        """Begin to help an attempt. Raises FenceLost when it is over or replaced."""
        await self._fenced("join", job_id, attempt, pod)

    async def beat(self, job_id: UUID, attempt: int, pod: str) -> None:
        """Show life. Raises FenceLost when the attempt is over or replaced."""
        await self._fenced("beat", job_id, attempt, pod)

    async def release_silent(self, job_id: UUID, attempt: int) -> int:
        """Give back what helpers hold that were silent for longer than SILENCE; return how many files."""
        async with self._db.connection() as connection:
            status: str = await connection.execute(SQL["release_silent"], job_id, attempt, SILENCE)
        return int(status.split()[-1])

    async def _fenced(self, query: str, job_id: UUID, attempt: int, pod: str) -> None:
        async with self._db.connection() as connection:
            if await connection.fetchval(SQL[query], job_id, attempt, pod) is None:
                raise FenceLost(job_id, attempt)
