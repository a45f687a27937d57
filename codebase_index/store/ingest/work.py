"""The work list of a job: frozen once, claimed in batches, marked done in the transaction that commits a batch."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import asyncpg

from codebase_index.store import queries
from codebase_index.store.database import Database
from codebase_index.store.errors import FenceLost
from codebase_index.store.ingest.batch import WorkItem
from codebase_index.store.ingest.reuse import BULK_SECONDS, Reuse, ReusedFiles, reuse_files

SQL = queries.load("work")


@dataclass(frozen=True)
class ScanEntry:
    """A file that the scan found: path relative to the repository, size in bytes, the reason if it is skipped.

    `blob` is git's id of the content if git vouches for it; None: unknown before the file is read.
    """

    path: str
    size: int
    skip_reason: str | None = None
    blob: bytes | None = None


class Work:
    """Reads and writes the table `work`. Every method may raise StoreUnavailable."""

    def __init__(self, database: Database) -> None:
        self._db = database

    async def freeze(
        self, job_id: UUID, attempt: int, entries: Sequence[ScanEntry], reuse: Reuse | None = None
    ) -> bool:
        """Freeze the scan's result as the work list. False: an earlier attempt has frozen one, which stands.

        With `reuse`, unchanged files of the index count as indexed at once and are not listed.
        Raises FenceLost, and UnverifiedMoves when the disk has to be checked first.
        """
        skipped = sum(entry.skip_reason is not None for entry in entries)
        async with self._db.transaction() as connection:
            job = await connection.fetchrow(SQL["current_attempt"], job_id, attempt)
            if job is None:
                raise FenceLost(job_id, attempt)
            if job["files_total"] is not None:
                return False
            await write_scan(connection, entries)
            reused = await reuse_files(connection, job_id, reuse) if reuse else ReusedFiles()
            await connection.execute(SQL["list_work"], job_id, timeout=BULK_SECONDS)
            # Last, so that a list of a million files keeps no heartbeat from the job's row.
            frozen = await connection.fetchval(
                SQL["freeze_job"], job_id, attempt, len(entries), skipped, reused.files, reused.chunks
            )
            if frozen is None:
                raise FenceLost(job_id, attempt)
        return True

    async def release(self, job_id: UUID, attempt: int, pod: str) -> None:
        """Release the files that this pod claimed and did not commit: after a restart, or before a stop."""
        async with self._db.connection() as connection:
            await connection.execute(SQL["release"], job_id, attempt, pod)

    async def claim(self, job_id: UUID, attempt: int, pod: str, limit: int) -> list[WorkItem]:
        """Claim up to `limit` files, in list order; an empty list: all are claimed or finished.

        Raises FenceLost.
        """
        # One statement, and so a transaction by itself: one round trip for what every batch begins with.
        async with self._db.connection() as connection:
            records = await connection.fetch(SQL["claim"], job_id, attempt, pod, limit)
            if not records and await connection.fetchrow(SQL["current_attempt"], job_id, attempt) is None:
                raise FenceLost(job_id, attempt)
        return [WorkItem(record["seq"], record["path"], record["size"]) for record in records]

    async def todo(self, job_id: UUID) -> int:
        """Count the unfinished files, claimed or not."""
        async with self._db.connection() as connection:
            count: int = await connection.fetchval(SQL["todo"], job_id)
        return count

    async def repeated(self, job_id: UUID, attempt: int) -> int:
        """Count the files that were or will be processed again: in flight when a pod or a worker process ended."""
        async with self._db.connection() as connection:
            count: int = await connection.fetchval(SQL["repeated"], job_id, attempt)
        return count

    async def skipped(self, job_id: UUID, limit: int, offset: int = 0) -> list[tuple[str, str]]:
        """Return a page of the skipped files as (path, reason)."""
        async with self._db.connection() as connection:
            records = await connection.fetch(SQL["skipped"], job_id, limit, offset)
        return [(record["path"], record["skip_reason"]) for record in records]

    async def skip_reason(self, job_id: UUID, path: str) -> str | None:
        """Return why a job left a file out; None if it did not."""
        async with self._db.connection() as connection:
            reason: str | None = await connection.fetchval(SQL["skip_reason"], job_id, path)
        return reason

    async def skip_reasons(self, job_id: UUID) -> dict[str, int]:
        """Count the skipped files by reason, most frequent first."""
        async with self._db.connection() as connection:
            return {r["skip_reason"]: r["files"] for r in await connection.fetch(SQL["skip_reasons"], job_id)}


async def write_scan(connection: asyncpg.Connection, entries: Sequence[ScanEntry]) -> None:
    """Write a scan's result into a temporary table of the transaction."""
    await connection.execute(SQL["make_scanned"])
    await connection.copy_records_to_table(
        "scanned",
        columns=["seq", "path", "size", "skip_reason", "blob"],
        records=((seq, e.path, e.size, e.skip_reason, e.blob) for seq, e in enumerate(entries)),
        timeout=BULK_SECONDS,
    )
