"""The rows of the store as values: importable without a database driver, so that pure code can reason on them."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any
from uuid import UUID

from codebase_index.api.counters import Counters
from codebase_index.api.job import JobState


@dataclass(frozen=True)
class Run:
    """One of a target's jobs, in short. `automatic` says that nobody asked for it."""

    id: UUID
    state: JobState
    automatic: bool
    started_at: datetime | None = None
    ended_at: datetime | None = None
    message: str = ""

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> "Run":
        """Read a database record."""
        values = {field.name: record[field.name] for field in fields(cls)}
        return cls(**{**values, "state": JobState(values["state"])})


class JobRow(Counters):
    """A row of `jobs`. Times are UTC; `percent` is 0 to 100; counters and `percent` never fall.

    `arrival` orders the jobs of one second, since a resource's `created_at` has no fractions.
    `starting_since` counts while `pod` is None; `disruptions` are those in a row that no file was done between.
    `files_unchanged` are those of `files_indexed` that the scan found in the index as they are, unread.
    `source_mark` is what was listed, in words of the indexer's own.
    """

    id: UUID
    namespace: str
    cr_name: str
    target: str
    source: str
    ref: str | None
    name: str | None
    state: JobState
    attempt: int
    failures: int
    slot: bool
    pod: str | None
    claimed_at: datetime | None
    done_at_claim: int
    phase: str | None
    percent: float
    message: str
    queue_position: int | None
    commit: str | None
    files_total: int | None
    files_repeated: int
    eta_seconds: int | None
    error_type: str | None
    error_message: str | None
    blocked_since: datetime | None
    created_at: datetime
    started_at: datetime | None
    heartbeat_at: datetime | None
    completed_at: datetime | None
    cancelled_at: datetime | None
    arrival: int
    starting_since: datetime | None = None
    disruptions: int = 0
    files_unchanged: int = 0
    vectors_made: int = 0
    vectors_reused: int = 0
    texts_cut: int = 0
    source_mark: str | None = None

    @property
    def has_progressed(self) -> bool:
        """Whether the pod that holds the job has done a file since it took it. False where none holds it."""
        return self.pod is not None and self.files_indexed + self.files_skipped > self.done_at_claim

    @property
    def last_attempt(self) -> int:
        """The number of the last attempt, 0 before the first: a cancel raises the token beyond it, as a fence."""
        return self.attempt - 1 if self.state is JobState.CANCELLED else self.attempt

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> "JobRow":
        """Read a database record."""
        return cls.model_validate({name: record[name] for name in cls.model_fields})
