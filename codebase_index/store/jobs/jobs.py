"""Jobs: their state, and the fencing token that decides who may write."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from codebase_index.api.job import LABEL_CALLER, SUSPENDED, JobState, Phase, cannot_cancel
from codebase_index.api.resource import IndexingJob
from codebase_index.store import queries
from codebase_index.store.database import Database
from codebase_index.store.error_translation import MISSING_PRIVILEGES, READ_ONLY
from codebase_index.store.errors import (
    FenceLost,
    IllegalTransition,
    JobNotFound,
    RowLocked,
    StoreMisconfigured,
    StoreReadOnly,
)
from codebase_index.store.jobs.rows import JobRow, Run

SQL = queries.load("jobs")


def connection_name(program: str, job_id: UUID, pod: str) -> str:
    """Return a pod's application name in Postgres; with the job's id, since pod names repeat across namespaces."""
    return f"{program}/{str(job_id)[:8]}/{pod}"


@dataclass(frozen=True)
class Progress:
    """The progress in a heartbeat."""

    phase: Phase
    percent: float
    message: str
    eta_seconds: int | None = None


@dataclass(frozen=True)
class QueueLength:
    """The number of jobs that wait for a slot, and of those of one caller."""

    total: int
    own: int


class Jobs:
    """Reads and writes the table `jobs`. Every method may raise StoreUnavailable.

    `namespaces` are those whose jobs exist for whoever asks: the others' are neither listed, nor found by their
    ids, nor cancelled. None: every one, for a program that was given its job.
    """

    def __init__(self, database: Database, namespaces: Sequence[str] | None = None) -> None:
        self._db = database
        self._namespaces = namespaces

    async def create(self, job: IndexingJob, message: str = "Queued") -> None:
        """Insert the row of a custom resource, pending. Nothing happens when it is there already."""
        spec, meta = job.spec, job.metadata
        async with self._db.connection() as connection:
            await connection.execute(
                SQL["create"], UUID(meta.uid), meta.namespace, meta.name, spec.target, str(spec.source),
                spec.ref, spec.name, meta.creation_timestamp, message, meta.labels.get(LABEL_CALLER),
            )  # fmt: skip

    async def get(self, job_id: UUID) -> JobRow:
        """Return one job. Raises JobNotFound."""
        async with self._db.connection() as connection:
            record = await connection.fetchrow(SQL["get"], job_id, self._namespaces)
        if record is None:
            raise JobNotFound(job_id)
        return JobRow.of(record)

    async def get_many(self, job_ids: Sequence[UUID]) -> dict[UUID, JobRow]:
        """Return those of the jobs that exist, by id."""
        return {row.id: row for row in await self._rows("get_many", list(job_ids), self._namespaces)}

    async def unfinished(self) -> list[JobRow]:
        """Return every job that is not final."""
        return await self._rows("unfinished", self._namespaces)

    async def runs(self, target: str, automatic: str, limit: int) -> tuple[datetime, list[Run]]:
        """Return the time, and a target's last jobs, newest first; marked are those of the caller `automatic`."""
        async with self._db.connection() as connection:
            records = await connection.fetch(SQL["runs"], self._namespaces, target, automatic, limit)
        return records[0]["now"], [Run.of(record) for record in records if record["id"] is not None]

    async def unfinished_of(self, caller: str) -> int:
        """Count the jobs of a caller that are not final. `caller` is as in the label that `create` reads."""
        async with self._db.connection() as connection:
            count: int = await connection.fetchval(SQL["unfinished_of"], self._namespaces, caller)
        return count

    async def queue_length(self, caller: str) -> QueueLength:
        """Count the jobs that wait for a slot. `caller` is as in the label that `create` reads."""
        async with self._db.connection() as connection:
            found = await connection.fetchrow(SQL["queue_length"], self._namespaces, caller, SUSPENDED)
        return QueueLength(found["total"], found["own"])

    async def check(self) -> None:
        """Check that jobs can be started, watched and cancelled. Raises the StoreError that says why not."""
        async with self._db.connection() as connection:
            found = await connection.fetchrow(SQL["check"])
            if found["read_only"]:
                raise StoreReadOnly(READ_ONLY, retried=True)
            if not found["may_use"]:
                raise StoreMisconfigured(MISSING_PRIVILEGES, retried=True)

    async def list_active(self, namespace: str, job_ids: Sequence[UUID]) -> tuple[datetime, dict[UUID, JobRow]]:
        """Return the database's time, and of a namespace the given jobs and all that are active or have a slot.

        Raises StoreReadOnly for a database that answers, but on which no step could be carried out.
        """
        async with self._db.connection() as connection:
            # The time first: a heartbeat may then lie after it, never falsely long before.
            clock = await connection.fetchrow(SQL["clock"])
            if clock["read_only"]:
                raise StoreReadOnly(READ_ONLY, retried=True)
            records = await connection.fetch(SQL["list_active"], namespace, list(job_ids))
        rows = [JobRow.of(record) for record in records]
        return clock["now"], {row.id: row for row in rows}

    async def page(
        self, *, state: JobState | None, source_part: str | None, created_after: datetime | None,
        limit: int, offset: int,
    ) -> tuple[list[JobRow], int]:  # fmt: skip
        """Return a page of jobs, newest first, and the count of all that match."""
        matching = (state.value if state else None, source_part, created_after, self._namespaces)
        async with self._db.connection() as connection:
            records = await connection.fetch(SQL["page"], *matching, limit, offset)
            total = records[0]["total_count"] if records else await connection.fetchval(SQL["count"], *matching)
        return [JobRow.of(record) for record in records], total

    async def admit(self, job_id: UUID, attempt: int, limit: int) -> bool:
        """Grant a pending job a slot, and raise its fencing token to `attempt`. Safe to repeat.

        Return False when `limit` other jobs of its namespace have slots, when one for the same source and ref
        has one, or when it is not pending any more, or its token is elsewhere: then start no pod. The database
        counts, so this holds whatever several operators believe.
        """
        async with self._db.transaction() as connection:
            await connection.execute(SQL["lock_slots"])
            return await connection.fetchval(SQL["admit"], job_id, attempt, limit) is not None

    async def release_slot(self, job_id: UUID) -> bool:
        """Free the slot of a final or suspended job. Only for one that has no pod left. False: it had none."""
        async with self._db.connection() as connection:
            return await connection.fetchval(SQL["release_slot"], job_id) is not None

    async def fence(self, job_id: UUID, attempt: int, *, failed: bool, message: str) -> bool:
        """Raise the fencing token to `attempt`; `failed` counts the one before against the backoff limit.

        Safe to repeat. Return False when the job is final or the token is elsewhere: then start no pod.
        """
        return await self._update_breaking_locks(job_id, ("fence", attempt, failed, message)) is not None

    async def claim(self, job_id: UUID, attempt: int, pod: str, target: str | None = None) -> JobRow:
        """Take the job for this pod and make it running. Raises FenceLost, or AnotherJobRuns.

        `target` is that of the job's spec as this version knows it; an earlier one may have made the row.
        """
        return JobRow.of(await self._fenced("claim", job_id, attempt, pod, target))

    async def heartbeat(self, job_id: UUID, attempt: int, progress: Progress) -> None:
        """Record a heartbeat with progress. Raises FenceLost: the job was cancelled, suspended or reassigned."""
        await self._fenced(
            "heartbeat", job_id, attempt, progress.phase.value, progress.percent, progress.message,
            progress.eta_seconds,
        )  # fmt: skip

    async def set_commit(
        self, job_id: UUID, attempt: int, commit: str | None, source_mark: str | None = None
    ) -> None:
        """Record which commit is being indexed, None outside of git or where it is not known. Raises FenceLost.

        `source_mark` tells a later attempt whether the source is still the one that was listed; None: it lists
        again what is there then.
        """
        await self._fenced("set_commit", job_id, attempt, commit, source_mark)

    async def block(self, job_id: UUID, attempt: int, message: str) -> None:
        """Say that the job waits for a service. Raises FenceLost."""
        await self._fenced("block", job_id, attempt, message)

    async def unblock(self, job_id: UUID, attempt: int) -> None:
        """Say that the service is back. Raises FenceLost."""
        await self._fenced("unblock", job_id, attempt)

    async def count_vectors(self, job_id: UUID, attempt: int, *, made: int, reused: int, cut: int) -> None:
        """Count what a slow model did. Not safe to repeat, so it may miss some. Raises FenceLost."""
        await self._fenced("count_vectors", job_id, attempt, made, reused, cut)

    async def fail(self, job_id: UUID, attempt: int, error_type: str, message: str) -> None:
        """End the job as failed; `message` says what happened and what to do. Raises FenceLost."""
        await self._fenced("fail", job_id, attempt, error_type, message[:4096])

    async def cancel(self, job_id: UUID) -> JobRow:
        """Fence the job and make it cancelled: when this returns, no pod can write for it any more.

        Raises JobNotFound, and IllegalTransition when the job is final already.
        """
        message = "Cancelled; what was indexed stays searchable"
        record = await self._update_breaking_locks(job_id, ("cancel", message, self._namespaces))
        if record is None:
            job = await self.get(job_id)
            raise IllegalTransition(cannot_cancel(job_id, job.state))
        return JobRow.of(record)

    async def suspend(self, job_id: UUID) -> bool:
        """Fence a running or blocked job, and put it back to pending; all that is committed stays.

        Return False when it was neither.
        """
        return (
            await self._update_breaking_locks(job_id, ("unblock_to_suspend",), ("suspend", SUSPENDED)) is not None
        )

    async def set_queue(self, places: Sequence[tuple[UUID, int | None, str]]) -> None:
        """Write (job, place from 1 or None, message) for jobs that are pending; equal ones cost nothing."""
        if not places:
            return
        ids, positions, messages = zip(*places, strict=True)
        async with self._db.connection() as connection:
            await connection.execute(SQL["set_queue"], list(ids), list(positions), list(messages))

    async def orphans(
        self, namespace: str, existing: Sequence[UUID], ended_before: timedelta, limit: int
    ) -> dict[UUID, JobRow]:
        """Return final jobs of a namespace without a custom resource, `existing` being all that have one.

        Only those that ended longer ago than `ended_before`, the oldest first, at most `limit`.
        """
        rows = await self._rows("orphans", namespace, list(existing), ended_before, limit)
        return {row.id: row for row in rows}

    async def delete(self, job_id: UUID) -> bool:
        """Remove a final job's row with its work list. False when it is not final, has a slot, or is not there."""
        async with self._db.connection() as connection:
            return await connection.fetchval(SQL["delete"], job_id) is not None

    async def _rows(self, query: str, *arguments: object) -> list[JobRow]:
        async with self._db.connection() as connection:
            return [JobRow.of(record) for record in await connection.fetch(SQL[query], *arguments)]

    async def _update_breaking_locks(self, job_id: UUID, *steps: tuple[Any, ...]) -> Mapping[str, Any] | None:
        """Update the job's row, even if a stuck or lost pod holds its lock: then that pod's connections are
        terminated.

        Each step is a query name with its further arguments; all run in one transaction. Return the last one's
        row.
        """
        try:
            return await self._change(job_id, ("set_lock_timeout",), steps)
        except RowLocked:
            async with self._db.connection() as connection:
                await connection.execute(SQL["end_connections_of_job"], job_id)
            return await self._change(job_id, (), steps)

    async def _change(
        self, job_id: UUID, before: Sequence[str], steps: Sequence[tuple[Any, ...]]
    ) -> Mapping[str, Any] | None:
        record: Mapping[str, Any] | None = None
        async with self._db.transaction() as connection:
            for name in before:
                await connection.execute(SQL[name])
            for name, *arguments in steps:
                record = await connection.fetchrow(SQL[name], job_id, *arguments)
        return record

    async def _fenced(self, query: str, job_id: UUID, attempt: int, *arguments: object) -> Mapping[str, Any]:
        async with self._db.connection() as connection:
            record: Mapping[str, Any] | None = await connection.fetchrow(SQL[query], job_id, attempt, *arguments)
        if record is None:
            raise FenceLost(job_id, attempt)
        return record
