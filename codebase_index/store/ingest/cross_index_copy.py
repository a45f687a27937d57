"""Copies files from other indexes of the same repository, of another ref or a fork, inside the database.

A file of equal path, content and versions has equal chunks, vectors and terms, so none of them is computed again.
The copies belong to the new index: later changes of the source index do not affect them. They are made before the
job's list is frozen, which then reuses them like every unchanged file.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import asyncpg
import numpy as np

from codebase_index.lexical.documents import Ids
from codebase_index.store import queries
from codebase_index.store.database import Database
from codebase_index.store.ingest import segments
from codebase_index.store.ingest.chunks import ChunkIds, Writer, check_fence, ids_of
from codebase_index.store.ingest.work import ScanEntry

SQL = queries.load("cross_index_copy")

MIN_FILES: Final = 20
"""Fewer files are faster to index than to find."""

MAX_SOURCE_INDEXES: Final = 4
"""Source indexes of one job; the one with the most matching files comes first."""

Verify = Callable[[Sequence[ScanEntry]], Sequence[ScanEntry]]
"""Returns the entries whose file has been verified to have the blob that they name. Called in a thread."""

_NO_IDS: Final = np.empty(0, np.int64)

_SLICE_FILES: Final = 500
_SECONDS: Final = 120.0
_SNAPSHOT_IDLE: Final = "15min"  # it holds no row: one that hangs is in nobody's way
_COPY_IDLE: Final = "30s"  # while a large segment is read and taken apart; its rows are those of this job alone


@dataclass(frozen=True)
class CopiedFiles:
    """The number of files copied from an index."""

    source: str
    ref: str | None
    files: int


class CrossIndexCopy:
    """Fills an index from others. Raises StoreUnavailable, FenceLost, InsufficientStorage."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._ids = ChunkIds()

    async def copy_from_others(
        self, writer: Writer, entries: Sequence[ScanEntry], on_progress: Callable[[int, int], None], verify: Verify
    ) -> list[CopiedFiles]:
        """Copy files of a scan from other indexes; `on_progress` is called with the copied and the total count.

        Only files whose blob git knows: the content of others is unknown before they are read. And of those only
        what `verify` returns: whoever writes a repository also writes git's index, and could name the blob of a
        file of somebody else. Each source index is one transaction, which blocks no job of the source index.
        """
        named = {e.path: e for e in entries if e.blob is not None and e.skip_reason is None}
        verified: dict[str, ScanEntry] = {}
        copied: list[CopiedFiles] = []
        async with self._db.connection() as connection:
            if 2 * await connection.fetchval(SQL["own_files"], writer.index_id) > len(named):
                return copied  # an index that is kept up to date: looking would cost more than it finds
        for _ in range(MAX_SOURCE_INDEXES):
            async with self._db.transaction() as connection:
                source_index, paths = await self._best(connection, writer, [*named.values(), *verified.values()])
            if source_index is None:
                break
            candidates = [named.pop(path) for path in paths if path in named]
            verified |= {entry.path: entry for entry in await asyncio.to_thread(verify, candidates)}
            async with self._db.transaction() as connection:
                sure = [verified[path] for path in paths if path in verified]
                one = await self._copy(connection, writer, source_index, sure, on_progress)
                await check_fence(connection, writer)
            if one is not None:
                copied.append(one)
        return copied

    async def _best(
        self, connection: asyncpg.Connection, writer: Writer, entries: Sequence[ScanEntry]
    ) -> tuple[asyncpg.Record | None, list[str]]:
        """Return the index with the most matching files, and their paths; None if there are too few."""
        await self._load_wanted(connection, writer, entries)
        source_index = await connection.fetchrow(
            SQL["best_source_index"], writer.fingerprint, writer.index_id, timeout=_SECONDS
        )
        if source_index is None or source_index["files"] < MIN_FILES:
            return None, []
        rows = await connection.fetch(
            SQL["matching_paths"], source_index["id"], writer.fingerprint, timeout=_SECONDS
        )
        return source_index, [row["path"] for row in rows]

    async def _load_wanted(
        self, connection: asyncpg.Connection, writer: Writer, entries: Sequence[ScanEntry]
    ) -> None:
        """Load the files that the index does not have yet into a temporary table of the transaction."""
        records = ((entry.path, entry.blob, entry.size) for entry in entries)
        await connection.execute(SQL["make_wanted"])
        await connection.copy_records_to_table("wanted", records=records, timeout=_SECONDS)
        await connection.execute(SQL["drop_existing"], writer.index_id, timeout=_SECONDS)

    async def _copy(
        self,
        connection: asyncpg.Connection,
        writer: Writer,
        source_index: asyncpg.Record,
        entries: Sequence[ScanEntry],
        on_progress: Callable[[int, int], None],
    ) -> CopiedFiles | None:
        """Copy files from a source index; None if there are too few.

        No row of the source index is locked. Terms are read from a snapshot as of the listing of its files; a file
        that was rewritten since is left out.
        """
        if len(entries) < MIN_FILES:
            return None
        await self._load_wanted(connection, writer, entries)
        listed = await connection.fetch(
            SQL["list_files"], source_index["id"], writer.fingerprint, timeout=_SECONDS
        )
        async with self._db.snapshot() as snapshot:
            await snapshot.execute(SQL["keep_open"], _SNAPSHOT_IDLE)
            await connection.execute(SQL["keep_open"], _COPY_IDLE)
            rows = await unchanged(snapshot, listed)
            copied, former, new = 0, [_NO_IDS], [_NO_IDS]
            for begin in range(0, len(rows), _SLICE_FILES):
                on_progress(begin, len(rows))
                files, *ids = await self._copy_files(connection, writer, rows[begin : begin + _SLICE_FILES])
                copied += files
                former.append(ids[0])
                new.append(ids[1])
            all_former, all_new = np.concatenate(former), np.concatenate(new)
            await segments.copy(snapshot, connection, source_index["id"], writer.index_id, all_former, all_new)
        return CopiedFiles(source_index["source"], source_index["ref"], copied)

    async def _copy_files(
        self, connection: asyncpg.Connection, writer: Writer, files: Sequence[asyncpg.Record]
    ) -> tuple[int, Ids, Ids]:
        """Copy files with their chunks and vectors; return their number, and the former and new chunk ids."""
        ids, counts = [row["id"] for row in files], np.array([row["chunks"] for row in files], np.int64)
        former = np.array([row["first_chunk"] for row in files], np.int64)
        new = await self._ids.take(connection, counts.tolist())
        rows = await connection.fetch(
            SQL["copy_files"], writer.index_id, writer.job_id, ids, former.tolist(), new.tolist(), timeout=_SECONDS
        )
        done = np.isin(ids, [row["id"] for row in rows])
        return len(rows), ids_of(former[done], counts[done]), ids_of(new[done], counts[done])


async def unchanged(snapshot: asyncpg.Connection, listed: Sequence[asyncpg.Record]) -> list[asyncpg.Record]:
    """Return the files that are unchanged in a snapshot."""
    rows = await snapshot.fetch(SQL["first_chunks"], [row["id"] for row in listed], timeout=_SECONDS)
    first = {row["id"]: row["first_chunk"] for row in rows}
    return [row for row in listed if first.get(row["id"]) == row["first_chunk"]]
