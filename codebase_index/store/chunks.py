"""What an index holds: files, their chunks and vectors, written batch by batch.

A batch's chunks, its files' done marks and the job's counters commit in one transaction, so that search sees
each file either before or after, and what is not committed is the only work that is ever repeated.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import asyncpg
import numpy as np
from numpy.typing import NDArray

from codebase_index.documents import DEAD, Runs
from codebase_index.postings import Encoded
from codebase_index.store import copying, queries
from codebase_index.store.database import Database
from codebase_index.store.errors import FenceLost, IllegalTransition
from codebase_index.store.jobs import SQL as JOBS_SQL
from codebase_index.store.work import SQL as WORK_SQL
from codebase_index.symbols import Kind, Symbol

SQL = queries.load("chunks")

_SWEEP_FILES = 500  # files a transaction: short enough that a sweep never holds locks for long


@dataclass(frozen=True)
class Chunk:
    """A part of a file. Lines count from 1, both ends included.

    `kind` is that of `symbol`; `defines` are the definitions that begin in the chunk, in order. `signature` is the
    first line of `symbol` if that began in an earlier chunk; it is searched and embedded, not stored.
    """

    start_line: int
    end_line: int
    symbol: str | None
    text: str
    kind: Kind | None = None
    defines: Sequence[Symbol] = ()
    signature: str | None = None


@dataclass(frozen=True)
class Indexed:
    """A file to write: its chunks, and their vectors as float32 of shape (len(chunks), dimension).

    `size` is in bytes; without it the next job reads the file again, whatever git knows of it.
    """

    seq: int
    path: str
    language: str | None
    blob: bytes
    chunks: Sequence[Chunk]
    vectors: NDArray[np.float32]
    size: int | None = None

    @property
    def count(self) -> int:
        """How many chunks it has."""
        return len(self.chunks)


@dataclass(frozen=True)
class Packed:
    """An Indexed file in the form in which it is sent and written: its `count` chunks are encoded already."""

    seq: int
    path: str
    language: str | None
    blob: bytes
    count: int
    rows: copying.Rows
    size: int | None


@dataclass(frozen=True)
class Unchanged:
    """A file that the index already holds with equal content and fingerprint, and its number of chunks."""

    seq: int
    file_id: int
    chunks: int


@dataclass(frozen=True)
class Skipped:
    """A file that turned out not to be indexable."""

    seq: int
    reason: str


FileResult = Indexed | Packed | Unchanged | Skipped


@dataclass(frozen=True)
class Processed:
    """What became of the files of a batch, and the search terms of their chunks.

    `terms` covers the chunks of all Indexed results in order, in one part or several.
    """

    results: Sequence[FileResult]
    terms: Sequence[Encoded] = ()


@dataclass(frozen=True)
class KnownFile:
    """A file as the index holds it."""

    file_id: int
    blob: bytes
    fingerprint: str
    chunks: int


@dataclass(frozen=True)
class Writer:
    """Who writes into which index: the job and its attempt are the fence, the rest is put on the rows.

    `fingerprint` names the chunker and model versions; a file with another one is indexed again.
    """

    job_id: UUID
    attempt: int
    index_id: int
    model: str
    fingerprint: str


def pack(file: Indexed) -> Packed:
    """Encode the chunks of a file, which is the larger part of what a batch's commit asks of a processor."""
    rows = [
        copying.chunk_row(
            (c.start_line, c.end_line),
            (c.symbol, c.text, c.kind),
            ([s.name for s in c.defines], [s.plain.lower() for s in c.defines], [s.kind for s in c.defines]),
        )
        for c in file.chunks
    ]
    encoded = copying.encode(rows, file.vectors)
    return Packed(file.seq, file.path, file.language, file.blob, len(rows), encoded, file.size)


class Chunks:
    """Reads and writes `files`, `chunks` and `embeddings`. Every method may raise StoreUnavailable."""

    def __init__(self, database: Database) -> None:
        self._db = database

    async def known(self, index_id: int, paths: Sequence[str]) -> dict[str, KnownFile]:
        """Return what the index holds for these paths."""
        async with self._db.connection() as connection:
            records = await connection.fetch(SQL["known"], index_id, list(paths))
        return {r["path"]: KnownFile(r["id"], r["blob"], r["fingerprint"], r["chunks"]) for r in records}

    async def commit_batch(self, writer: Writer, batch: Processed) -> None:
        """Write a batch whole or not at all; the job's counters rise with it.

        Safe to repeat when the outcome of an earlier call is unknown: files that are done already are left as
        they are. Raises FenceLost, InsufficientStorage.
        """
        async with self._db.transaction() as connection:
            done = await self._mark(connection, writer, batch.results)
            indexed = [r for r in batch.results if isinstance(r, Indexed | Packed) and r.seq in done]
            fresh = [pack(r) if isinstance(r, Indexed) else r for r in indexed]
            unchanged = [r for r in batch.results if isinstance(r, Unchanged) and r.seq in done]
            skipped = [r for r in batch.results if isinstance(r, Skipped) and r.seq in done]
            ids = await _write_files(connection, writer, fresh)
            await _write_terms(connection, writer, batch, done, ids)
            if unchanged:
                await connection.execute(SQL["touch_files"], [r.file_id for r in unchanged], writer.job_id)
            # Last, so that the job's row is locked as briefly as possible. It is the fence of the whole batch.
            counted = await connection.fetchval(
                SQL["count_batch"], writer.job_id, writer.attempt, len(fresh) + len(unchanged), len(skipped),
                sum(r.count for r in fresh) + sum(r.chunks for r in unchanged),
            )  # fmt: skip
            if counted is None:
                raise FenceLost(writer.job_id, writer.attempt)

    async def sweep(self, writer: Writer) -> int:
        """Remove files that this job did not see, a few at a time. Return how many. Raises FenceLost."""
        swept = 0
        while True:
            async with self._db.transaction() as connection:
                status = await connection.execute(SQL["sweep"], writer.index_id, writer.job_id, _SWEEP_FILES)
                await hold_fence(connection, writer)
            removed = int(status.split()[-1])
            swept += removed
            if removed < _SWEEP_FILES:
                return swept

    async def analyze(self) -> None:
        """Refresh the planner's statistics. Bounded: it samples, and leaves out what another process works on.

        A vector index that is being built would hold it up for minutes.
        """
        async with self._db.connection() as connection:
            for table in ("chunks", "embeddings", "files", "postings"):
                await connection.execute(f"ANALYZE (SKIP_LOCKED) {table}", timeout=300)

    async def complete(self, writer: Writer, message: str) -> None:
        """Finish the index and the job in one transaction. Raises FenceLost.

        Raises IllegalTransition while files are left to do: a job that lost part of its work is never complete.
        """
        async with self._db.transaction() as connection:
            left = await connection.fetchval(WORK_SQL["todo"], writer.job_id)
            if left:
                raise IllegalTransition(f"cannot complete: job {writer.job_id} has {left} files left to do")
            await connection.execute(SQL["finish_index"], writer.index_id, writer.job_id)
            done = await connection.fetchval(JOBS_SQL["complete"], writer.job_id, writer.attempt, message)
            if done is None:
                raise FenceLost(writer.job_id, writer.attempt)
            await connection.execute(SQL["drop_done_work"], writer.job_id)

    @staticmethod
    async def _mark(connection: asyncpg.Connection, writer: Writer, results: Sequence[FileResult]) -> set[int]:
        """Mark the batch's files done or skipped; return those that were still to do."""
        finished = [r.seq for r in results if not isinstance(r, Skipped)]
        skipped = [r for r in results if isinstance(r, Skipped)]
        rows = await connection.fetch(WORK_SQL["mark_done"], writer.job_id, finished, writer.attempt)
        if skipped:
            rows += await connection.fetch(
                WORK_SQL["mark_skipped"], writer.job_id, [r.seq for r in skipped],
                [r.reason for r in skipped], writer.attempt,
            )  # fmt: skip
        return {row["seq"] for row in rows}


async def hold_fence(connection: asyncpg.Connection, writer: Writer) -> None:
    """Test the fence at the end of a transaction, keeping the job's row locked until it commits."""
    if await connection.fetchval(SQL["count_batch"], writer.job_id, writer.attempt, 0, 0, 0) is None:
        raise FenceLost(writer.job_id, writer.attempt)


async def _write_files(connection: asyncpg.Connection, writer: Writer, files: Sequence[Packed]) -> list[int]:
    """Write files with their chunks and vectors; return the chunks' ids in order."""
    if not files:
        return []
    rows = await connection.fetch(
        SQL["upsert_files"], writer.index_id, writer.fingerprint, writer.job_id,
        [f.path for f in files], [f.language for f in files], [f.blob for f in files],
        [f.count for f in files], [f.size for f in files],
    )  # fmt: skip
    if former := [row["id"] for row in rows if row["existed"]]:
        await connection.execute(SQL["delete_chunks"], former)
    total = sum(f.count for f in files)
    if not total:
        return []
    file_ids = {row["path"]: row["id"] for row in rows}
    reserved: list[int] = await connection.fetchval(SQL["reserve_ids"], total)
    ids = np.array(reserved)
    await connection.copy_to_table(
        "chunks",
        columns=copying.CHUNK_COLUMNS,
        source=copying.chunks([(file_ids[f.path], f.rows) for f in files], writer.index_id, ids),
        format="binary",
    )
    await connection.copy_to_table(
        "embeddings",
        columns=copying.VECTOR_COLUMNS,
        source=copying.vectors((f.rows for f in files), writer.index_id, writer.model, ids),
        format="binary",
    )
    return reserved


async def _write_terms(
    connection: asyncpg.Connection, writer: Writer, batch: Processed, done: set[int], ids: Sequence[int]
) -> None:
    """Write the terms of a batch, one row for each part. A file that was done already has no ids here."""
    if not ids:
        return
    left = iter(ids)
    of_chunks = [
        next(left) if result.seq in done else DEAD
        for result in batch.results
        if isinstance(result, Indexed | Packed)
        for _ in range(result.count)
    ]
    begin = 0
    for part in batch.terms:
        runs = Runs.of(of_chunks[begin : begin + part.chunks])
        begin += part.chunks
        await connection.execute(
            SQL["add_pending"], writer.index_id, part.chunks, part.total_length, runs.firsts, runs.lengths,
            part.vocabulary, part.payload,
        )  # fmt: skip
