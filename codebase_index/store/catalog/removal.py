"""Online removal of an index: it is detached first, then its contents are deleted in small transactions.

An index is found by its target, the digest of source and ref. Detaching it clears the target in one short
transaction: then no search finds the index, and a job for the same repository creates a new one. Nobody reads the
rest, so several processes can delete it in small transactions, and an interrupted removal can be resumed. Of a
local repository a row stays that says that it was removed: what is indexed by itself shall not come back so.
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
"""Chunks deleted by one transaction: a fraction of a second, so that no indexer waits long for its locks and the
write-ahead log stays small, even on a disk that is almost full."""

_BATCH_PENDING: Final = 50
"""Pending batches deleted by one transaction: a few hundred kilobytes each."""

_BATCH_SECONDS: Final = 120.0
_VACUUM_SECONDS: Final = 3600.0


@dataclass(frozen=True)
class IndexOverview:
    """An index for its administrator.

    `bytes` is estimated: its share, by chunks, of the size of the tables and their indexes on disk.
    `removal_started`: it is detached, and a removal has to be repeated to finish.
    """

    id: int
    namespace: str
    source: str
    ref: str | None
    name: str | None
    include: tuple[str, ...]
    exclude: tuple[str, ...]
    indexed_at: datetime | None
    removal_started: bool
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

    async def overview(self) -> list[IndexOverview]:
        """Return the indexes, by source and ref; those whose removal has started are included."""
        async with self._db.connection() as connection:
            records = await connection.fetch(SQL["overview"], self._namespaces)
        return [_overview(record) for record in records]

    async def detach(self, index_id: int) -> None:
        """Detach an index, so that nobody finds it. Raises IndexInUse while a job writes into it, or may again.

        Does nothing if it is detached already, or gone.
        """
        async with self._db.transaction() as connection:
            # Locked before the jobs are read: a job that has opened the index is running and is seen; a later one
            # waits for the lock, and finds the target free. So no job is left with a detached index.
            index = await connection.fetchrow(SQL["lock_index"], index_id)
            if index is None or index["target"] is None:
                return
            users = await connection.fetch(SQL["users"], index["namespace"], index["target"])
            if users:
                raise IndexInUse([(r["namespace"], r["cr_name"], r["state"]) for r in users])
            await connection.execute(SQL["detach"], index_id)
            await connection.execute(SQL["remember"], index_id, index["target"])

    async def detached(self) -> list[int]:
        """Return the indexes that are detached and not gone yet."""
        async with self._db.connection() as connection:
            return [record["id"] for record in await connection.fetch(SQL["detached"], self._namespaces)]

    async def delete_contents(self, index_id: int, on_progress: Callable[[int, int], None]) -> None:
        """Delete the contents of a detached index. `on_progress` is called with the files and chunks of each
        batch.

        May be interrupted at any point and called again, also concurrently.
        """
        while await self._left(index_id):
            async with self._db.connection() as connection:
                removed = await connection.fetch(
                    SQL["remove_files"], index_id, BATCH_CHUNKS, timeout=_BATCH_SECONDS
                )  # fmt: skip
                if not removed and not await _remove_terms(connection, index_id):
                    await connection.execute(SQL["remove_index"], index_id)
            if removed:
                on_progress(len(removed), sum(r["chunks"] for r in removed))

    async def vacuum(self) -> None:
        """Make the space of deleted rows reusable, and refresh the planner's statistics.

        Blocks nobody. The files keep their size on disk: Postgres reuses the space.
        """
        for table in ("embeddings", "chunks", "files", "pending_batches", "segments", "postings"):
            async with self._db.connection() as connection:
                await connection.execute(f"VACUUM (ANALYZE) {table}", timeout=_VACUUM_SECONDS)

    async def _left(self, index_id: int) -> bool:
        async with self._db.connection() as connection:
            left: bool = await connection.fetchval(SQL["is_detached"], index_id)
        return left


def _overview(record: Mapping[str, Any]) -> IndexOverview:
    state = record["job_state"]
    return IndexOverview(
        **{
            **record,
            "include": tuple(record["include"]),
            "exclude": tuple(record["exclude"]),
            "job_state": JobState(state) if state else None,
        }
    )


async def _remove_terms(connection: asyncpg.Connection, index_id: int) -> bool:
    """Delete some of its segments and pending batches; return whether there were any."""
    pending = await connection.fetch(SQL["remove_pending"], index_id, _BATCH_PENDING, timeout=_BATCH_SECONDS)
    return bool(pending or await connection.fetch(SQL["remove_segment"], index_id, timeout=_BATCH_SECONDS))
