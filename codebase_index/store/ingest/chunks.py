"""The content of an index: files, their chunks and vectors, written batch by batch.

A batch's chunks, its files' done marks and the job's counters commit in one transaction: search sees each file
either before or after, and only uncommitted work is ever repeated.
"""

from collections.abc import Container, Sequence
from dataclasses import dataclass
from uuid import UUID

import asyncpg
import numpy as np

from codebase_index.api.counters import Counters
from codebase_index.lexical.documents import NO_CHUNK, IdRanges, Ids
from codebase_index.store import queries
from codebase_index.store.database import Database
from codebase_index.store.errors import FenceLost, IllegalTransition
from codebase_index.store.ingest import binary_copy
from codebase_index.store.ingest.batch import PackedBatch, PackedFile, SkippedFile, StoredFile, UnchangedFile
from codebase_index.store.ingest.work import SQL as WORK_SQL
from codebase_index.store.jobs.jobs import SQL as JOBS_SQL

SQL = queries.load("chunks")

ID_BLOCK = 65_536
"""Ids that are reserved together: the increment of the sequence, and the maximum of chunks of a file. Unused ids
of a block are lost; bigint has enough of them."""

_NO_IDS = np.empty(0, np.int64)


@dataclass(frozen=True)
class Writer:
    """The attempt that writes into an index: job and attempt are the fence, the rest is stored with the rows.

    `fingerprint` identifies the versions of chunker and model; a file with another one is indexed again.
    """

    job_id: UUID
    attempt: int
    index_id: int
    model: str
    fingerprint: str
    namespace: str = ""


class ChunkIds:
    """Ids for chunks, consecutive within each file, taken from the database in blocks."""

    def __init__(self) -> None:
        self._next = self._end = 0

    async def take(self, connection: asyncpg.Connection, counts: Sequence[int]) -> Ids:
        """Return for each file the first of so many ids that nobody else gets.

        Raises ValueError for more than ID_BLOCK.
        """
        if max(counts, default=0) > ID_BLOCK:
            raise ValueError(f"a file of {max(counts)} chunks; at most {ID_BLOCK} can have consecutive ids")
        firsts = []
        for count in counts:
            while self._end - self._next < count:  # another batch may take of a block what this one reserved
                self._next = await connection.fetchval(SQL["reserve_ids"])
                self._end = self._next + ID_BLOCK
            firsts.append(self._next)
            self._next += count
        return np.array(firsts, np.int64)


def ids_of(firsts: Ids, counts: Sequence[int] | Ids) -> Ids:
    """Return the ids of the chunks of files, one after another."""
    return IdRanges(firsts, np.asarray(counts, np.int64)).ids


class Chunks:
    """Reads and writes `files`, `chunks` and `embeddings`. Every method may raise StoreUnavailable."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._ids = ChunkIds()

    async def stored_files(
        self, index_id: int, paths: Sequence[str], by: UUID | None = None
    ) -> dict[str, StoredFile]:
        """Return the index's files at these paths; with `by`, only those that this job has done or seen."""
        async with self._db.connection() as connection:
            records = await connection.fetch(SQL["stored_files"], index_id, list(paths), by)
        return {r["path"]: StoredFile(r["id"], r["blob"], r["fingerprint"], r["chunks"]) for r in records}

    async def commit_batch(self, writer: Writer, batch: PackedBatch) -> None:
        """Write a batch atomically, with the job's counters.

        Idempotent, so it can be repeated when the outcome of an earlier call is unknown: files that are done are
        left as they are. Raises FenceLost, InsufficientStorage.
        """
        async with self._db.transaction() as connection:
            done = await self._mark(connection, writer, batch.results)
            fresh = [r for r in batch.results if isinstance(r, PackedFile) and r.seq in done]
            unchanged = [r for r in batch.results if isinstance(r, UnchangedFile) and r.seq in done]
            ids = await self._write_files(connection, writer, fresh)
            await _write_pending(connection, writer, batch, done, ids)
            if unchanged:
                await connection.execute(SQL["touch_files"], [r.file_id for r in unchanged], writer.job_id)
            # Last, so that the job's row is locked as briefly as possible. It is the fence of the whole batch.
            counted = counters_of([r for r in batch.results if r.seq in done and not done[r.seq]])
            await _count(connection, writer, counted)

    async def analyze(self) -> None:
        """Refresh the planner's statistics. Bounded: it samples, and skips locked tables."""
        async with self._db.connection() as connection:
            for table in ("chunks", "embeddings", "files", "postings"):
                await connection.execute(SQL["analyze"], table, timeout=300)

    async def complete(self, writer: Writer, message: str) -> None:
        """Finish the index and the job in one transaction. Raises FenceLost.

        Raises IllegalTransition while files are left to do: a job that lost part of its work is never complete.
        """
        async with self._db.transaction() as connection:
            left = await connection.fetchval(WORK_SQL["todo"], writer.job_id)
            if left:
                raise IllegalTransition(f"cannot complete: job {writer.job_id} has {left} files left to do")
            await connection.execute(SQL["finish_index"], writer.index_id, writer.job_id, writer.model)
            done = await connection.fetchval(JOBS_SQL["complete"], writer.job_id, writer.attempt, message)
            if done is None:
                raise FenceLost(writer.job_id, writer.attempt)
            await connection.execute(SQL["drop_done_work"], writer.job_id)

    async def _write_files(
        self, connection: asyncpg.Connection, writer: Writer, files: Sequence[PackedFile]
    ) -> Ids:
        """Write files with their chunks and vectors; return the chunks' ids in order."""
        if not files:
            return _NO_IDS
        counts = [f.count for f in files]
        firsts = await self._ids.take(connection, counts)
        rows = await connection.fetch(
            SQL["upsert_files"], writer.index_id, writer.fingerprint, writer.job_id,
            [f.path for f in files], [f.language for f in files], [f.blob for f in files],
            firsts.tolist(), counts, [f.size for f in files],
        )  # fmt: skip
        if former := [row["id"] for row in rows if row["existed"]]:
            await connection.execute(SQL["delete_chunks"], former)
        ids = ids_of(firsts, counts)
        if not len(ids):
            return ids
        file_ids = {row["path"]: row["id"] for row in rows}
        await connection.copy_to_table(
            "chunks",
            columns=binary_copy.CHUNK_COLUMNS,
            source=binary_copy.chunks([(file_ids[f.path], f.rows) for f in files], writer.index_id, ids),
            format="binary",
        )
        await connection.copy_to_table(
            "embeddings",
            columns=binary_copy.VECTOR_COLUMNS,
            source=binary_copy.vectors((f.rows for f in files), writer.model, ids),
            format="binary",
        )
        # A file that defines nothing has a row, too: an empty one, which no file of an older index has.
        named = [(first, f.definitions) for first, f in zip(firsts.tolist(), files, strict=True) if f.count]
        await connection.execute(SQL["add_definitions"], *map(list, zip(*named, strict=True)))
        return ids

    @staticmethod
    async def _mark(
        connection: asyncpg.Connection, writer: Writer, results: Sequence[PackedFile | UnchangedFile | SkippedFile]
    ) -> dict[int, bool]:
        """Mark the batch's files done or skipped; map those that were unfinished to whether they are counted."""
        finished = [r.seq for r in results if not isinstance(r, SkippedFile)]
        skipped = [r for r in results if isinstance(r, SkippedFile)]
        rows = await connection.fetch(WORK_SQL["mark_done"], writer.job_id, finished, writer.attempt)
        if skipped:
            rows += await connection.fetch(
                WORK_SQL["mark_skipped"], writer.job_id, [r.seq for r in skipped],
                [r.reason for r in skipped], writer.attempt,
            )  # fmt: skip
        return {row["seq"]: row["counted"] for row in rows}


def counters_of(results: Sequence[PackedFile | UnchangedFile | SkippedFile]) -> Counters:
    """Count the results of files."""
    chunks = [
        r.count if isinstance(r, PackedFile) else r.chunks for r in results if not isinstance(r, SkippedFile)
    ]
    fresh = [r for r in results if isinstance(r, PackedFile)]
    return Counters(
        files_indexed=len(chunks),
        files_skipped=len(results) - len(chunks),
        chunks_created=sum(chunks),
        files_transcoded=sum(r.encoding is not None for r in fresh),
        secrets_redacted=sum(r.redacted for r in fresh),
    )


async def check_fence(connection: asyncpg.Connection, writer: Writer) -> None:
    """Check the fence at the end of a transaction, and keep the job's row locked until it commits."""
    await _count(connection, writer, Counters())


async def _count(connection: asyncpg.Connection, writer: Writer, counters: Counters) -> None:
    """Add to the job's counters, with the fence: the query's parameters from $3 on are the counters, in order."""
    added = counters.counts().values()
    if await connection.fetchval(SQL["count_batch"], writer.job_id, writer.attempt, *added) is None:
        raise FenceLost(writer.job_id, writer.attempt)


async def _write_pending(
    connection: asyncpg.Connection, writer: Writer, batch: PackedBatch, done: Container[int], ids: Ids
) -> None:
    """Write the search data of a batch, one row a part. A file that was done already has no ids here."""
    if not len(ids):
        return
    left = iter(ids.tolist())
    of_chunks = [
        next(left) if result.seq in done else NO_CHUNK
        for result in batch.results
        if isinstance(result, PackedFile)
        for _ in range(result.count)
    ]
    begin = 0
    for part in batch.parts:
        id_ranges = IdRanges.of(of_chunks[begin : begin + part.chunks])
        begin += part.chunks
        await connection.execute(
            SQL["add_pending"], writer.index_id, part.chunks, part.terms.total_length, id_ranges.firsts,
            id_ranges.lengths, part.terms.vocabulary, part.terms.payload, writer.model, part.quantized,
            part.grams,
        )  # fmt: skip
