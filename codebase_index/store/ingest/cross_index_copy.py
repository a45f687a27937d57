"""What other indexes hold of a repository: another ref of it, or a fork, copied inside the database.

A file of equal path, content and versions has equal chunks, vectors and terms, so none of them is made again. The
copies are the new index's own: what becomes of the donor later does not touch them. They are made before the job's
list is frozen, and are taken over there like everything else that the index holds as it is.
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
from codebase_index.store.ingest.chunks import ChunkIds, Writer, hold_fence, ids_of
from codebase_index.store.ingest.work import Entry

SQL = queries.load("cross_index_copy")

LEAST_FILES: Final = 20
"""Fewer are sooner indexed than found."""

MOST_DONORS: Final = 4
"""Indexes that one job copies from, the one with the most files first."""

Prove = Callable[[Sequence[Entry]], Sequence[Entry]]
"""Returns those of the entries whose file surely holds the blob that they name. Called in a thread."""

_NO_IDS: Final = np.empty(0, np.int64)

_SLICE_FILES: Final = 500
_SECONDS: Final = 120.0
_SNAPSHOT_IDLE: Final = "15min"  # it holds no row: one that hangs is in nobody's way
_COPY_IDLE: Final = "30s"  # while a large segment is read and taken apart; its rows are those of this job alone


@dataclass(frozen=True)
class Copied:
    """How many files came from an index."""

    source: str
    ref: str | None
    files: int


class Sharing:
    """Fills an index from others. Raises StoreUnavailable, FenceLost, InsufficientStorage."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._ids = ChunkIds()

    async def adopt(
        self, writer: Writer, entries: Sequence[Entry], told: Callable[[int, int], None], prove: Prove
    ) -> list[Copied]:
        """Copy what other indexes hold of a scan; `told` hears how many files of how many are copied.

        Only files whose content git names: of others it is known when they are read. And of them only what `prove`
        returns: who writes a repository writes git's index, too, and could name the blob of a file that is not
        his. Each donor is one transaction, whole or not at all, which keeps no job of the donor waiting.
        """
        named = {e.path: e for e in entries if e.blob is not None and e.skip_reason is None}
        proven: dict[str, Entry] = {}
        copied: list[Copied] = []
        async with self._db.connection() as connection:
            if 2 * await connection.fetchval(SQL["own_files"], writer.index_id) > len(named):
                return copied  # an index that is kept up to date: looking would cost more than it finds
        for _ in range(MOST_DONORS):
            async with self._db.transaction() as connection:
                donor, paths = await self._best(connection, writer, [*named.values(), *proven.values()])
            if donor is None:
                break
            asked = [named.pop(path) for path in paths if path in named]
            proven |= {entry.path: entry for entry in await asyncio.to_thread(prove, asked)}
            async with self._db.transaction() as connection:
                sure = [proven[path] for path in paths if path in proven]
                one = await self._copy(connection, writer, donor, sure, told)
                await hold_fence(connection, writer)
            if one is not None:
                copied.append(one)
        return copied

    async def _best(
        self, connection: asyncpg.Connection, writer: Writer, entries: Sequence[Entry]
    ) -> tuple[asyncpg.Record | None, list[str]]:
        """Return the index that holds most of the files, and which; None: there is none that is worth it."""
        await self._want(connection, writer, entries)
        donor = await connection.fetchrow(SQL["best_donor"], writer.fingerprint, writer.index_id, timeout=_SECONDS)
        if donor is None or donor["files"] < LEAST_FILES:
            return None, []
        rows = await connection.fetch(SQL["files_of_donor"], donor["id"], writer.fingerprint, timeout=_SECONDS)
        return donor, [row["path"] for row in rows]

    async def _want(self, connection: asyncpg.Connection, writer: Writer, entries: Sequence[Entry]) -> None:
        """Note until the end of the transaction which files the index does not have yet."""
        records = ((entry.path, entry.blob, entry.size) for entry in entries)
        await connection.execute(SQL["make_wanted"])
        await connection.copy_records_to_table("wanted", records=records, timeout=_SECONDS)
        await connection.execute(SQL["leave_known"], writer.index_id, timeout=_SECONDS)

    async def _copy(
        self,
        connection: asyncpg.Connection,
        writer: Writer,
        donor: asyncpg.Record,
        entries: Sequence[Entry],
        told: Callable[[int, int], None],
    ) -> Copied | None:
        """Copy files from a donor; None: there are none that are worth it.

        No row of the donor is locked. A snapshot tells its terms as they were when its files were listed; a file
        that was written anew since is left out.
        """
        if len(entries) < LEAST_FILES:
            return None
        await self._want(connection, writer, entries)
        listed = await connection.fetch(SQL["list_files"], donor["id"], writer.fingerprint, timeout=_SECONDS)
        async with self._db.snapshot() as snapshot:
            await snapshot.execute(SQL["keep_open"], _SNAPSHOT_IDLE)
            await connection.execute(SQL["keep_open"], _COPY_IDLE)
            rows = await _unchanged(snapshot, listed)
            copied, former, new = 0, [_NO_IDS], [_NO_IDS]
            for begin in range(0, len(rows), _SLICE_FILES):
                told(begin, len(rows))
                files, *ids = await self._copy_files(connection, writer, rows[begin : begin + _SLICE_FILES])
                copied += files
                former.append(ids[0])
                new.append(ids[1])
            all_former, all_new = np.concatenate(former), np.concatenate(new)
            await segments.copy(snapshot, connection, donor["id"], writer.index_id, all_former, all_new)
        return Copied(donor["source"], donor["ref"], copied)

    async def _copy_files(
        self, connection: asyncpg.Connection, writer: Writer, files: Sequence[asyncpg.Record]
    ) -> tuple[int, Ids, Ids]:
        """Copy files with their chunks and vectors; return how many, and the chunks' former and new ids."""
        ids, counts = [row["id"] for row in files], np.array([row["chunks"] for row in files], np.int64)
        former = np.array([row["first_chunk"] for row in files], np.int64)
        new = await self._ids.take(connection, counts.tolist())
        rows = await connection.fetch(
            SQL["copy_files"], writer.index_id, writer.job_id, ids, former.tolist(), new.tolist(), timeout=_SECONDS
        )
        done = np.isin(ids, [row["id"] for row in rows])
        return len(rows), ids_of(former[done], counts[done]), ids_of(new[done], counts[done])


async def _unchanged(snapshot: asyncpg.Connection, listed: Sequence[asyncpg.Record]) -> list[asyncpg.Record]:
    """Return those of the files that are the same in a snapshot."""
    rows = await snapshot.fetch(SQL["first_chunks"], [row["id"] for row in listed], timeout=_SECONDS)
    first = {row["id"]: row["first_chunk"] for row in rows}
    return [row for row in listed if first.get(row["id"]) == row["first_chunk"]]
