"""The answers of the tools that start, follow, list and cancel jobs."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, ClassVar, Final, Literal, Self, TypeVar

from pydantic import Field, create_model

from codebase_index.api.counters import WORDING, Counters
from codebase_index.api.job import JobState
from codebase_index.api.resource import IndexingJob, Progress
from codebase_index.store.jobs.rows import JobRow
from codebase_mcp.answer import Answer, Reply

T = TypeVar("T", bound="Answer")

MAX_LISTED_MESSAGE_CHARACTERS: Final = 160

MAX_LIST_CHARACTERS: Final = 10_000
"""Of a list of jobs: some 25 of them, 3,000 tokens."""


def with_counters(model: type[T]) -> type[T]:
    """Make the counters of an answer required fields with descriptions."""
    described: dict[str, Any] = {
        name: (int, Field(description=wording.answer)) for name, wording in WORDING.items()
    }
    return create_model(
        model.__name__, __base__=model, __doc__=model.__doc__, __module__=model.__module__, **described
    )


class StartResult(Reply):
    """The answer of start_indexing_background."""

    job_id: str
    status: Annotated[JobState, Field(description="pending or running; blocked only for a job that existed")]
    message: str
    created: Annotated[bool, Field(description="false: this repository and ref was being indexed already")]
    estimated_duration_seconds: Annotated[int | None, Field(description="from its last run, if there was one")]
    poll_after_seconds: int


class SkippedFile(Answer):
    """A file that was left out."""

    path: str
    reason: str


class JobStage(Answer):
    """A job's identity and progress, without its counters."""

    job_id: str
    name: str | None
    repo_path: str
    ref: str | None
    commit: str | None
    status: JobState
    phase: str | None
    progress_percentage: Annotated[int, Field(ge=0, le=100)]
    progress_message: str
    files_total: Annotated[int | None, Field(description="known when the scan has ended")]


@with_counters
class JobSummary(Counters, JobStage):
    """The state of a job."""

    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    cancelled_at: datetime | None
    estimated_time_remaining_seconds: int | None
    queue_position: int | None
    attempt: int
    error_type: str | None
    error_message: str | None

    @classmethod
    def from_row(cls, row: JobRow, **more: object) -> Self:
        """Describe a job by its row, the source of truth."""
        return cls.model_validate(
            {
                "job_id": str(row.id),
                "name": row.name,
                "repo_path": row.source,
                "ref": row.ref,
                "commit": row.commit,
                "status": row.state,
                "phase": row.phase,
                "progress_percentage": int(row.percent),
                "progress_message": row.message,
                "files_total": row.files_total,
                **row.counts(),
                "created_at": row.created_at,
                "started_at": row.started_at,
                "completed_at": row.completed_at,
                "cancelled_at": row.cancelled_at,
                "estimated_time_remaining_seconds": row.eta_seconds,
                "queue_position": row.queue_position,
                "attempt": row.last_attempt,
                "error_type": row.error_type,
                "error_message": row.error_message,
                **more,
            }
        )

    @classmethod
    def from_resource(cls, job: IndexingJob, **more: object) -> Self:
        """Describe a job by the mirror in its custom resource, which may lag some seconds behind."""
        status, progress = job.status, job.status.progress or Progress()
        state = job.state
        failed = state is JobState.FAILED
        return cls.model_validate(
            {
                "job_id": job.metadata.uid,
                "name": job.spec.name,
                "repo_path": str(job.spec.source),
                "ref": job.spec.ref,
                "commit": status.commit,
                "status": state,
                "phase": progress.phase,
                "progress_percentage": progress.percent,
                "progress_message": status.message or progress.message or "Queued",
                "files_total": progress.files_total,
                **progress.counts(),
                "created_at": job.metadata.creation_timestamp,
                "started_at": status.started_at,
                "completed_at": status.completed_at,
                "cancelled_at": status.cancelled_at,
                "estimated_time_remaining_seconds": progress.estimated_remaining_seconds,
                "queue_position": status.queue_position,
                "attempt": status.attempt,
                "error_type": status.reason if failed else None,
                "error_message": status.message if failed else None,
                **more,
            }
        )


class JobStatus(JobSummary, Reply):
    """The answer of get_indexing_status."""

    skipped: Annotated[
        list[SkippedFile], Field(description="files left out, from offset; files_skipped counts all")
    ]
    next_offset: Annotated[int | None, Field(description="offset of the next page of skipped")] = None
    stale: Annotated[bool, Field(description="true: the database is away, and this is the last known state")]

    omitted_when_null = Reply.omitted_when_null | {"next_offset"}

    def with_skipped(self, page: Sequence[SkippedFile], offset: int) -> "JobStatus":
        """Return it with a page of the files left out, or as much of that as fits an answer."""
        room, fitting = MAX_LIST_CHARACTERS, list[SkippedFile]()
        for file in page:
            room -= len(file.as_text())
            if fitting and room < 0:
                break
            fitting.append(file)
        end = offset + len(fitting)
        following = end if fitting and end < self.files_skipped else None
        return self.model_copy(update={"skipped": fitting, "next_offset": following})

    def no_less_than(self, told: "JobStatus | None") -> "JobStatus":
        """Return it with the progress that was told of the job before, where it has less."""
        names = ("progress_percentage", *WORDING)
        most = {name: max(getattr(self, name), getattr(told, name)) for name in names} if told else {}
        return self.model_copy(update=most)


class CancelResult(Reply):
    """The answer of cancel_indexing_background."""

    job_id: str
    status: Literal["cancelled"]
    message: str
    files_indexed: int
    chunks_created: int
    cancelled_at: datetime


class ListedJob(JobStage):
    """A job in a list, in short: get_indexing_status has the rest, and the messages whole."""

    files_indexed: int
    chunks_created: int
    created_at: datetime
    completed_at: datetime | None
    cancelled_at: datetime | None
    queue_position: int | None
    error_type: str | None
    error_message: str | None

    omitted_when_null: ClassVar[frozenset[str]] = frozenset(
        ["name", "ref", "commit", "phase", "files_total", "completed_at", "cancelled_at", "queue_position"]
    ) | {"error_type", "error_message"}

    @classmethod
    def of(cls, job: JobSummary) -> Self:
        """Return a job in short."""
        error = job.error_message and job.error_message[:MAX_LISTED_MESSAGE_CHARACTERS]
        message = "" if job.error_message else job.progress_message[:MAX_LISTED_MESSAGE_CHARACTERS]
        values = {**job.model_dump(), "error_message": error, "progress_message": message}
        return cls.model_validate({name: values[name] for name in cls.model_fields})


class JobList(Reply):
    """The answer of list_indexing_jobs."""

    jobs: list[ListedJob]
    total_count: Annotated[int, Field(description="how many match, on all pages")]
    limit: int
    offset: int

    def within_budget(self) -> "JobList":
        """Return as many of its jobs as fit an answer, with a note about the others."""
        room, fitting = MAX_LIST_CHARACTERS, 0
        for job in self.jobs:
            room -= len(job.as_text())
            fitting += room >= 0
        if fitting == len(self.jobs):
            return self
        left_out = (
            f"{len(self.jobs) - fitting} more jobs of this page were left out, as the answer would be too long; "
            f"go on with offset={self.offset + fitting}"
        )
        return self.model_copy(update={"jobs": self.jobs[:fitting]}).with_notes([left_out])
