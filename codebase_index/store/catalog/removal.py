"""Removing an index while everything else goes on: taken out first, then emptied file by file.

An index is found by its target, the digest of source and ref. Taking the target away is one short transaction;
after it no search finds the index, and a job for the same repository makes itself a new one. What is left is
garbage that nobody reads, so it can be removed in small transactions, by anybody, as often as it takes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import asyncpg

from codebase_index.api.job import JobState
from codebase_index.store import queries
from codebase_index.store.database import Database
from codebase_index.store.errors import IndexInUse

SQL = queries.load("removal")

BATCH_CHUNKS: Final = 5_000
"""Chunks that one transaction removes: a fraction of a second, so that no indexer waits long for its locks and
the write-ahead log stays small, also on a disk that is almost full."""

_BATCH_PENDING: Final = 50
"""Pending batches of terms that one transaction removes: a few hundred kilobytes each."""

_BATCH_SECONDS: Final = 120.0
_VACUUM_SECONDS: Final = 3600.0


@dataclass(frozen=True)
class Overview:
    """An index for its administrator.

    `bytes` is estimated: its share, by chunks, of what the tables and their indexes take on the disk.
    `leaving`: a removal of it was begun, and ends when somebody asks for it again.
    """

    id: int
    namespace: str
    source: str
    ref: str | None
    name: str | None
    include: tuple[str, ...]
    exclude: tuple[str, ...]
    indexed_at: datetime | None
    leaving: bool
    files: int
    chunks: int
    bytes: int
    job: str | None
    job_state: JobState | None


class Removal:
    """Lists and removes indexes. Every method may raise StoreUnavailable.

    `namespaces` are those whose indexes are listed; None: every one.
    """

    def __init__(self, database: Database, namespaces: Sequence[str] | None = None) -> None:
        self._db = database
        self._namespaces = namespaces

    async def overview(self) -> list[Overview]:
        """Return the indexes, by source and ref; also those of which only a part is left."""
        async with self._db.connection() as connection:
            records = await connection.fetch(SQL["overview"], self._namespaces)
        return [_overview(record) for record in records]

    async def take_out(self, index_id: int) -> None:
        """Make an index one that nobody finds. Raises IndexInUse while a job writes into it, or may again.

        Nothing happens when it is taken out already, or gone.
        """
        async with self._db.transaction() as connection:
            # Held before the jobs are read: a job that opens the index was running before that, and is seen; one
            # that comes later waits here, and finds the target free. So no job is left with an index of the dead.
            held = await connection.fetchrow(SQL["hold"], index_id)
            if held is None or held["target"] is None:
                return
            users = await connection.fetch(SQL["users"], held["namespace"], held["target"])
            if users:
                raise IndexInUse([(r["namespace"], r["cr_name"], r["state"]) for r in users])
            await connection.execute(SQL["take_out"], index_id)

    async def empty(self, index_id: int, told: Callable[[int, int], None]) -> None:
        """Remove all of an index that was taken out. `told` gets the files and chunks of each batch.

        May be interrupted at any point and called again, also by two at once.
        """
        while await self._left(index_id):
            async with self._db.connection() as connection:
                removed = await connection.fetch(
                    SQL["remove_files"], index_id, BATCH_CHUNKS, timeout=_BATCH_SECONDS
                )  # fmt: skip
                if not removed and not await _remove_terms(connection, index_id):
                    await connection.execute(SQL["remove_index"], index_id)
            if removed:
                told(len(removed), sum(r["chunks"] for r in removed))

    async def vacuum(self) -> None:
        """Make the room of removed rows usable again, and refresh the planner's statistics.

        Blocks nobody. The files keep their size on the disk: Postgres fills them again.
        """
        for table in ("embeddings", "chunks", "files", "pending_batches", "segments", "postings"):
            async with self._db.connection() as connection:
                await connection.execute(f"VACUUM (ANALYZE) {table}", timeout=_VACUUM_SECONDS)

    async def _left(self, index_id: int) -> bool:
        async with self._db.connection() as connection:
            left: bool = await connection.fetchval(SQL["taken_out"], index_id)
        return left


def _overview(record: Mapping[str, Any]) -> Overview:
    state = record["job_state"]
    return Overview(
        **{
            **record,
            "include": tuple(record["include"]),
            "exclude": tuple(record["exclude"]),
            "job_state": JobState(state) if state else None,
        }
    )


async def _remove_terms(connection: asyncpg.Connection, index_id: int) -> bool:
    """Remove some of its segments and pending batches; return whether there was anything."""
    pending = await connection.fetch(SQL["remove_pending"], index_id, _BATCH_PENDING, timeout=_BATCH_SECONDS)
    return bool(pending or await connection.fetch(SQL["remove_segment"], index_id, timeout=_BATCH_SECONDS))
