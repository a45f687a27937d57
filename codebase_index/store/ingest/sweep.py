"""The sweep: removes files from an index that are no longer in the repository.

The store lists the files that a job did not see; the indexer, which can read the repository, decides which of them
are gone. Only those are removed, a bounded number of chunks at a time.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from codebase_index.grouping import grouped
from codebase_index.store import queries
from codebase_index.store.database import Database
from codebase_index.store.ingest.chunks import Writer, check_fence

SQL = queries.load("sweep")

SWEEP_CHUNKS: Final = 5_000
"""Chunks removed by one transaction (or a single file): 0.15 s on two cores, and no lock is held for longer."""

_LIST_SECONDS: Final = 120.0
_REMOVE_SECONDS: Final = 60.0
"""A single file may have more chunks than SWEEP_CHUNKS."""


@dataclass(frozen=True)
class UnseenFile:
    """A file of the index that a job did not see; `skip_reason` is why it did not index it, if it listed it."""

    id: int
    path: str
    chunks: int
    skip_reason: str | None


class Sweep:
    """Finds and removes files that a job did not see. Every method may raise StoreUnavailable."""

    def __init__(self, database: Database) -> None:
        self._db = database

    async def count(self, index_id: int) -> int:
        """Return how many files an index holds."""
        async with self._db.connection() as connection:
            files: int = await connection.fetchval(SQL["count"], index_id, timeout=_LIST_SECONDS)
        return files

    async def unseen(self, writer: Writer) -> list[UnseenFile]:
        """Return the files of the index that the job has not seen, by path."""
        async with self._db.connection() as connection:
            rows = await connection.fetch(SQL["unseen"], writer.index_id, writer.job_id, timeout=_LIST_SECONDS)
        return [UnseenFile(*row) for row in rows]

    async def remove(self, writer: Writer, files: Sequence[UnseenFile]) -> int:
        """Remove files in one transaction, with their chunks and vectors. Return how many. Raises FenceLost.

        Safe to repeat. `in_parts` divides what is too much for one transaction.
        """
        async with self._db.transaction() as connection:
            ids = [file.id for file in files]
            status = await connection.execute(
                SQL["remove"], writer.index_id, writer.job_id, ids, timeout=_REMOVE_SECONDS
            )
            await check_fence(connection, writer)
        return int(status.split()[-1])


def in_parts(files: Sequence[UnseenFile]) -> Iterator[list[UnseenFile]]:
    """Divide files so that each part is a short transaction: at most SWEEP_CHUNKS chunks, or one file."""
    return grouped(files, lambda file: file.chunks + 1, SWEEP_CHUNKS)
