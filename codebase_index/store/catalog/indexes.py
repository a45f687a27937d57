"""Indexes: one for each target of a namespace, outliving the jobs that fill it."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from codebase_index.api.job import FINAL, JobState, canonical_globs
from codebase_index.store import queries
from codebase_index.store.database import Database
from codebase_index.store.jobs.rows import JobRow

SQL = queries.load("indexes")


@dataclass(frozen=True)
class IndexRow:
    """An index, and how its newest job stands. `indexed_at` is null until a job has completed it.

    From then on it has every file: what a later job has done when it ends early are newer states of some of them.

    `include` and `exclude` are the globs of the files that it has and leaves out; both empty: it has all.
    `model` is that of the last completed job, or of the first one while it runs; `models` says about how many
    chunks have vectors of which one: several while a job changes the model, and after one that ended early.
    `commit` is that of the last completed job, `job_commit` the one that the newest job reads,
    `job_files_total` the length of its list of files, null before it is frozen. What was written before
    `read_since` is in the index, as far as a completed job has read it.
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
    namespace: str = ""
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    models: Mapping[str, int] = field(default_factory=dict)
    read_since: datetime | None = None

    @property
    def is_changing(self) -> bool:
        """Whether a job of it is not over yet."""
        return self.job_state is not None and self.job_state not in FINAL


_BLOB_BYTES: Final = 20


@dataclass(frozen=True)
class StoredFiles:
    """Files of an index, packed: their paths in UTF-8 with a NUL between, and git's names for their contents."""

    paths: bytes
    blobs: bytes

    def __len__(self) -> int:
        return len(self.blobs) // _BLOB_BYTES

    def unpack(self) -> dict[str, bytes]:
        """Return git's name for the content of each, by path. It takes a while: not for an event loop."""
        names = (self.blobs[at : at + _BLOB_BYTES] for at in range(0, len(self.blobs), _BLOB_BYTES))
        return dict(zip(self.paths.decode().split("\0"), names, strict=True)) if self.blobs else {}


class Indexes:
    """Reads and writes the table `indexes`. Every method may raise StoreUnavailable.

    `namespaces` are those whose indexes are listed; None: every one.
    """

    def __init__(self, database: Database, namespaces: Sequence[str] | None = None) -> None:
        self._db = database
        self._namespaces = namespaces

    async def ensure(
        self, job: JobRow, model: str, *, include: Sequence[str] = (), exclude: Sequence[str] = ()
    ) -> int:
        """Return the id of the index that a job fills, made now if it is the first job."""
        async with self._db.connection() as connection:
            index_id: int = await connection.fetchval(
                SQL["ensure"], job.namespace, job.target, job.source, job.ref, job.name, model,
                canonical_globs(include), canonical_globs(exclude),
            )  # fmt: skip
        return index_id

    async def dimension(self, index_id: int, model: str) -> int | None:
        """Return the length of the vectors that an index holds of a model; None: it holds none."""
        async with self._db.connection() as connection:
            length: int | None = await connection.fetchval(SQL["dimension"], index_id, model)
        return length

    async def files(self, index_id: int, limit: int) -> StoredFiles:
        """Return the first files of an index by path."""
        async with self._db.connection() as connection:
            record = await connection.fetchrow(SQL["files"], index_id, limit)
        return StoredFiles(record["paths"] or b"", record["blobs"] or b"")

    async def was_removed(self, source: str) -> bool:
        """Say whether an index of a local repository was removed, and nobody has asked for one since."""
        async with self._db.connection() as connection:
            removed: bool = await connection.fetchval(SQL["was_removed"], source, self._namespaces)
        return removed

    async def list(self, ids: Collection[int] | None = None) -> list[IndexRow]:
        """Return the indexes, by source and ref: those with these ids; None: every one."""
        only = None if ids is None else list(ids)
        async with self._db.connection() as connection:
            records = await connection.fetch(SQL["list"], self._namespaces, only)
        return [_row(record) for record in records]


def _row(record: Mapping[str, Any]) -> IndexRow:
    values = dict(record)
    state, chunks = values["job_state"], values.pop("models_chunks")
    return IndexRow(
        **{
            **values,
            "job_state": JobState(state) if state else None,
            "include": tuple(values["include"]),
            "exclude": tuple(values["exclude"]),
            "models": dict(zip(values["models"], chunks, strict=True)),
        }
    )
