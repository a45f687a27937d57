"""The recorded life of jobs: every change of their rows, in the order in which they happened, by the database."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from uuid import UUID

from codebase_index.api.job import JobState
from tests.chaos.harness.facts import Facts

_WITNESS = Path(__file__).with_name("trace.sql").read_text()
_REMOVE = "DROP SCHEMA IF EXISTS chaos CASCADE"  # the triggers go with their functions


@dataclass(frozen=True)
class Change:
    """A job's row after one change. `writer` is the connection's name, `at` the database's clock."""

    n: int
    at: datetime
    xid: int
    writer: str
    job_id: UUID
    state: JobState
    attempt: int
    pod: str | None
    slot: bool
    claimed_at: datetime | None
    percent: float
    files_indexed: int
    files_skipped: int
    chunks_created: int
    message: str

    @property
    def counters(self) -> tuple[float, ...]:
        """What never falls."""
        return (self.attempt, self.percent, self.files_indexed, self.files_skipped, self.chunks_created)

    @property
    def done(self) -> int:
        """Files that are finished."""
        return self.files_indexed + self.files_skipped


@asynccontextmanager
async def witness(facts: Facts) -> AsyncIterator[None]:
    """Note every change while the block runs. Notes of an earlier run that was killed are removed."""
    await facts.script(f"{_REMOVE}; {_WITNESS}")
    try:
        yield
    finally:
        await facts.script(_REMOVE)


async def changes(facts: Facts, job_ids: Sequence[UUID]) -> dict[UUID, list[Change]]:
    """Return the life of each job so far."""
    histories: dict[UUID, list[Change]] = {job_id: [] for job_id in job_ids}
    columns = ", ".join(Change.__dataclass_fields__)
    query = f"SELECT {columns} FROM chaos.changes WHERE job_id = ANY ($1::uuid[]) ORDER BY n"
    for row in await facts.fetch(query, list(job_ids)):
        histories[row["job_id"]].append(Change(**{**row, "state": JobState(row["state"])}))
    return histories


def claimed_after(history: Sequence[Change], moment: datetime) -> datetime | None:
    """Return when a worker first took the job after the moment."""
    claims = (change.claimed_at for change in history)
    return next((claim for claim in claims if claim is not None and claim > moment), None)


def advanced_after(history: Sequence[Change], moment: datetime) -> datetime | None:
    """Return when the first file was finished after the moment, or the job completed."""
    done = 0
    for change in history:
        if change.at > moment and (change.done > done or change.state is JobState.COMPLETED):
            return change.at
        done = change.done
    return None
