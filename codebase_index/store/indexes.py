"""Indexes: one for each source and ref, outliving the jobs that fill it."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from codebase_index.job import JobState
from codebase_index.store import queries
from codebase_index.store.database import Database
from codebase_index.store.rows import JobRow

SQL = queries.load("indexes")


@dataclass(frozen=True)
class IndexRow:
    """An index, and how its newest job stands. `indexed_at` is null while the first job runs.

    `commit` is that of the last completed job, `job_commit` the one that the newest job reads, `job_files_total`
    the length of its list of files, null before it is frozen.
    """

    id: int
    target: str
    source: str
    ref: str | None
    name: str | None
    model: str | None
    commit: str | None
    indexed_at: datetime | None
    job_id: UUID | None
    job_state: JobState | None
    job_percent: float | None
    job_commit: str | None
    job_files_total: int | None
    job_files_done: int | None


class Indexes:
    """Reads and writes the table `indexes`. Every method may raise StoreUnavailable."""

    def __init__(self, database: Database) -> None:
        self._db = database

    async def ensure(self, job: JobRow, model: str) -> int:
        """Return the id of the index that a job fills, made now if it is the first job."""
        async with self._db.connection() as connection:
            index_id: int = await connection.fetchval(
                SQL["ensure"], job.target, job.source, job.ref, job.name, model
            )
        return index_id

    async def dimension(self, index_id: int, model: str) -> int | None:
        """Return the length of the vectors that an index holds of a model; None: it holds none."""
        async with self._db.connection() as connection:
            length: int | None = await connection.fetchval(SQL["dimension"], index_id, model)
        return length

    async def list(self) -> list[IndexRow]:
        """Return every index, by source and ref."""
        async with self._db.connection() as connection:
            records = await connection.fetch(SQL["list"])
        return [
            IndexRow(**{**dict(r), "job_state": JobState(r["job_state"]) if r["job_state"] else None})
            for r in records
        ]
