"""The job service over a custom resource API in memory: races and failures that a real one shows too rarely.

The database is real, or away. The real API is in tests/mcp/transport/test_start.py.
"""

import asyncio
import itertools
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codebase_index.api.job import FINAL, LABEL_CALLER, JobState, job_name
from codebase_index.api.resource import IndexingJob, IndexingJobSpec, Source
from codebase_index.api.source_policy import Root, SourcePolicy
from codebase_index.store.database import Database
from codebase_index.store.errors import IllegalTransition, JobNotFound, StoreMisconfigured, StoreUnavailable
from codebase_index.store.ingest.work import Work
from codebase_index.store.jobs.jobs import Jobs
from codebase_mcp.errors import UserError
from codebase_mcp.jobs.cluster import ClusterUnavailable, NameConflict
from codebase_mcp.jobs.service import JobService, ListRequest, StartRequest


class MemoryCluster:
    """Custom resources in a dict, with the API server's rule that a name is taken once."""

    def __init__(self) -> None:
        self.jobs: dict[str, IndexingJob] = {}
        self.away = False
        self.listings = 0
        self.before_create = asyncio.Event()
        self.before_create.set()
        self._creators = asyncio.Semaphore(0)
        self._seconds = itertools.count()

    def add(self, name: str, spec: IndexingJobSpec, **status: Any) -> IndexingJob:
        created = datetime.now(UTC) + timedelta(seconds=next(self._seconds))
        job = IndexingJob.parse(
            {
                "metadata": {
                    "name": name,
                    "namespace": "default",
                    "uid": str(uuid4()),
                    "creationTimestamp": created,
                },
                "spec": spec.model_dump(),
                "status": status,
            }
        )  # fmt: skip
        self.jobs[name] = job
        return job

    async def list_for_target(self, spec: IndexingJobSpec) -> list[IndexingJob]:
        self._answer()
        return [job for job in self.jobs.values() if job.spec.target == spec.target]

    async def list_all(self) -> list[IndexingJob]:
        self._answer()
        self.listings += 1
        return list(self.jobs.values())

    async def create(self, name: str, spec: IndexingJobSpec, caller: str | None = None) -> IndexingJob:
        self._answer()
        self._creators.release()
        await self.before_create.wait()
        if name in self.jobs:
            raise NameConflict(name)
        job = self.add(name, spec)
        labels = {LABEL_CALLER: caller} if caller else {}
        self.jobs[name] = job.model_copy(update={"metadata": job.metadata.model_copy(update={"labels": labels})})
        return self.jobs[name]

    async def creators(self, count: int) -> None:
        """Return when so many have come to create a job, and wait for `before_create`."""
        async with asyncio.timeout(30):
            for _ in range(count):
                await self._creators.acquire()

    async def cancel(self, name: str, uid: str) -> bool:
        self._answer()
        job = self.jobs.get(name)
        if job is None or job.metadata.uid != uid:
            return False
        self.jobs[name] = job.model_copy(update={"spec": job.spec.model_copy(update={"cancel": True})})
        return True

    async def ping(self) -> None:
        self._answer()

    def _answer(self) -> None:
        if self.away:
            raise ClusterUnavailable("the Kubernetes API does not answer")


@pytest.fixture
def cluster() -> MemoryCluster:
    return MemoryCluster()


@pytest.fixture
def repository(tmp_path: Path) -> str:
    (tmp_path / "shop").mkdir()
    return str(tmp_path / "shop")


@pytest.fixture
def service_on(cluster: MemoryCluster, tmp_path: Path) -> Callable[[Database], JobService]:
    def service_on(database: Database) -> JobService:
        policy = SourcePolicy((Root(PurePosixPath(tmp_path), tmp_path),), frozenset({"git.example.org"}))
        return JobService(policy, cluster, Jobs(database), Work(database))

    return service_on


@pytest.fixture
def service(service_on: Callable[[Database], JobService], database: Database) -> JobService:
    return service_on(database)


@pytest.fixture
async def without_database(service_on: Callable[[Database], JobService]) -> AsyncIterator[JobService]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    database = await Database.open(f"postgresql://u:p@127.0.0.1:{port}/x", name="test", timeout=2)
    yield service_on(database)
    await database.close()


# --- start -------------------------------------------------------------------------------------------


async def test_start_creates_a_resource_and_a_row(
    service: JobService, cluster: MemoryCluster, repository: str, database: Database
) -> None:
    started = await service.start(StartRequest(repository, name="the shop", ref="main", priority=7))
    (job,) = cluster.jobs.values()
    row = await Jobs(database).get(UUID(started.job_id))
    assert started.created and started.status is JobState.PENDING and started.job_id == job.metadata.uid
    assert job.metadata.name == job_name(repository, job.spec.target, 1)
    assert (job.spec.name, job.spec.ref, job.spec.priority) == ("the shop", "main", 7)
    assert (row.state, row.source, row.target, row.cr_name) == (
        JobState.PENDING, repository, job.spec.target, job.metadata.name,
    )  # fmt: skip


async def test_start_again_returns_the_active_job(service: JobService, repository: str) -> None:
    first = await service.start(StartRequest(repository))
    for spelling in (repository, repository + "/", repository.replace("/shop", "//shop/.")):
        again = await service.start(StartRequest(spelling))
        assert (again.job_id, again.created) == (first.job_id, False)


async def test_a_force_that_is_lost_is_told(service: JobService, repository: str) -> None:
    first = await service.start(StartRequest(repository))
    again = await service.start(StartRequest(repository, force_reindex=True))
    assert again.job_id == first.job_id and "start again when it has ended" in again.message


async def test_another_ref_is_another_job(service: JobService, repository: str) -> None:
    ids = {(await service.start(StartRequest(repository, ref=ref))).job_id for ref in (None, "main", "v1")}
    assert len(ids) == 3


async def test_ten_starts_at_once_make_one_job(
    service: JobService, cluster: MemoryCluster, repository: str
) -> None:
    cluster.before_create.clear()  # all ten see an empty listing before any creates
    starts = [asyncio.create_task(service.start(StartRequest(repository))) for _ in range(10)]
    await cluster.creators(10)
    cluster.before_create.set()
    answers = await asyncio.gather(*starts)
    assert len({answer.job_id for answer in answers}) == 1
    assert [answer.created for answer in answers].count(True) == 1


@pytest.mark.parametrize("state", sorted(FINAL))
async def test_a_job_that_the_mirror_shows_final_is_followed_by_the_next_run(
    state: JobState, service: JobService, cluster: MemoryCluster, repository: str
) -> None:
    spec = IndexingJobSpec(source=Source(path=repository))
    cluster.add(job_name(repository, spec.target, 3), spec, phase=state.value.capitalize())
    started = await service.start(StartRequest(repository))
    assert started.created
    assert job_name(repository, spec.target, 4) in cluster.jobs


async def test_the_row_is_believed_before_the_mirror(
    service: JobService, cluster: MemoryCluster, repository: str, database: Database
) -> None:
    first = await service.start(StartRequest(repository))
    await Jobs(database).cancel(UUID(first.job_id))  # the mirror still shows nothing
    assert (await service.start(StartRequest(repository))).created


async def test_a_job_that_is_to_be_cancelled_is_not_returned(
    service: JobService, cluster: MemoryCluster, repository: str
) -> None:
    first = await service.start(StartRequest(repository))
    (name,) = cluster.jobs
    await cluster.cancel(name, first.job_id)
    assert (await service.start(StartRequest(repository))).job_id != first.job_id


async def test_a_name_taken_by_a_stranger_is_passed_over(
    service: JobService, cluster: MemoryCluster, repository: str
) -> None:
    target = IndexingJobSpec(source=Source(path=repository)).target
    cluster.add(job_name(repository, target, 1), IndexingJobSpec(source=Source(path="/elsewhere")))
    assert (await service.start(StartRequest(repository))).created
    assert job_name(repository, target, 2) in cluster.jobs


async def test_start_gives_up_politely_when_every_name_is_taken(
    service: JobService, cluster: MemoryCluster, repository: str
) -> None:
    target = IndexingJobSpec(source=Source(path=repository)).target
    for run in range(1, 10):
        cluster.add(job_name(repository, target, run), IndexingJobSpec(source=Source(path="/elsewhere")))
    with pytest.raises(UserError, match=r"^conflict: .* call start_indexing_background again$"):
        await service.start(StartRequest(repository))


async def test_start_goes_on_without_the_database(
    without_database: JobService, cluster: MemoryCluster, repository: str
) -> None:
    started = await without_database.start(StartRequest(repository))
    again = await without_database.start(StartRequest(repository))
    assert started.created and not again.created and again.job_id == started.job_id
    assert [job.metadata.uid for job in cluster.jobs.values()] == [started.job_id]


async def test_a_client_that_hangs_up_leaves_a_whole_job(
    service: JobService, cluster: MemoryCluster, repository: str, database: Database
) -> None:
    cluster.before_create.clear()
    start = asyncio.create_task(service.start(StartRequest(repository)))
    await cluster.creators(1)
    start.cancel()
    with pytest.raises(asyncio.CancelledError):
        await start
    cluster.before_create.set()
    await service.close()
    (job,) = cluster.jobs.values()
    assert (await Jobs(database).get(UUID(job.metadata.uid))).state is JobState.PENDING


async def test_start_tells_how_long_the_last_run_took(
    service: JobService, cluster: MemoryCluster, repository: str, database: Database
) -> None:
    first = await service.start(StartRequest(repository))
    assert first.estimated_duration_seconds is None and first.poll_after_seconds == 5
    async with database.connection() as connection:
        await connection.execute("UPDATE jobs SET state = 'running', attempt = 1, started_at = now()")
        await connection.execute(
            "UPDATE jobs SET state = 'completed', completed_at = started_at + interval '30 seconds'"
        )
    second = await service.start(StartRequest(repository))
    assert (second.created, second.estimated_duration_seconds, second.poll_after_seconds) == (True, 30, 3)


async def test_a_git_url_becomes_a_git_source(service: JobService, cluster: MemoryCluster) -> None:
    await service.start(StartRequest("https://git.example.org/x/shop.git"))
    (job,) = cluster.jobs.values()
    assert job.spec.source.git is not None and job.spec.source.git.url == "https://git.example.org/x/shop.git"
    assert job.metadata.name.startswith("shop-")


@given(st.text(min_size=1, max_size=200))
def test_whatever_is_given_as_a_path_is_answered_in_words(text: str) -> None:
    service = JobService(SourcePolicy(), MemoryCluster(), None, None)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"^validation: "):
        asyncio.run(service.start(StartRequest(text)))


# --- status ------------------------------------------------------------------------------------------


def kubectl_job(cluster: MemoryCluster, **status: Any) -> IndexingJob:
    return cluster.add("by-hand", IndexingJobSpec(source=Source(path="/work/shop"), name="by hand"), **status)


async def test_status_of_a_job_that_has_no_row_yet(service: JobService, cluster: MemoryCluster) -> None:
    job = kubectl_job(cluster)
    status = await service.status(job.metadata.uid)
    assert (status.status, status.stale, status.name) == (JobState.PENDING, False, "by hand")
    assert (status.progress_percentage, status.progress_message) == (0, "Queued")


async def test_without_the_database_the_mirror_answers_and_says_so(
    without_database: JobService, cluster: MemoryCluster
) -> None:
    job = kubectl_job(
        cluster, phase="Running", attempt=2, commit="c0ffee",
        progress={"percent": 37, "phase": "embedding", "message": "Embedding", "filesTotal": 100,
                  "filesIndexed": 30, "filesSkipped": 1, "chunksCreated": 200, "estimatedRemainingSeconds": 60,
                  "filesTranscoded": 3, "secretsRedacted": 4},
    )  # fmt: skip
    status = await without_database.status(job.metadata.uid)
    assert status.stale and status.status is JobState.RUNNING
    assert (status.progress_percentage, status.phase, status.progress_message) == (37, "embedding", "Embedding")
    assert (status.files_total, status.files_indexed, status.files_skipped) == (100, 30, 1)
    assert (status.chunks_created, status.estimated_time_remaining_seconds) == (200, 60)
    assert (status.files_transcoded, status.secrets_redacted) == (3, 4)
    assert (status.attempt, status.commit) == (2, "c0ffee")


async def test_without_the_database_the_mirror_tells_why_a_job_is_blocked(
    without_database: JobService, cluster: MemoryCluster
) -> None:
    away = "the database does not answer since 10:00:00 UTC"
    job = kubectl_job(cluster, phase="Blocked", message=away, progress={"percent": 37, "message": "Embedding"})
    status = await without_database.status(job.metadata.uid)
    assert (status.status, status.progress_percentage, status.progress_message) == (JobState.BLOCKED, 37, away)


async def test_without_the_database_a_failure_is_told_from_the_mirror(
    without_database: JobService, cluster: MemoryCluster
) -> None:
    job = kubectl_job(cluster, phase="Failed", reason="CloneFailed", message="check the URL")
    status = await without_database.status(job.metadata.uid)
    assert (status.error_type, status.error_message) == ("CloneFailed", "check the URL")


async def test_fifty_clients_cost_one_listing(without_database: JobService, cluster: MemoryCluster) -> None:
    job = kubectl_job(cluster)
    await asyncio.gather(*(without_database.status(job.metadata.uid) for _ in range(50)))
    assert cluster.listings <= 2  # one for whoever came first, one for those that came while it ran


async def test_an_unknown_job_is_not_found_though_the_api_is_away(
    service: JobService, cluster: MemoryCluster
) -> None:
    cluster.away = True
    with pytest.raises(UserError, match=r"^job not found: "):
        await service.status(str(uuid4()))


async def test_a_job_created_after_the_last_listing_is_found(
    without_database: JobService, cluster: MemoryCluster
) -> None:
    with pytest.raises(UserError, match=r"^job not found: "):
        await without_database.status(str(uuid4()))
    assert (await without_database.status(kubectl_job(cluster).metadata.uid)).stale


# --- cancel ------------------------------------------------------------------------------------------


async def test_cancel_sets_the_intent_and_the_fence(
    service: JobService, cluster: MemoryCluster, repository: str, database: Database
) -> None:
    started = await service.start(StartRequest(repository))
    cancelled = await service.cancel(started.job_id)
    (job,) = cluster.jobs.values()
    row = await Jobs(database).get(UUID(started.job_id))
    assert cancelled.status == "cancelled" and cancelled.cancelled_at == row.cancelled_at
    assert job.spec.cancel and row.state is JobState.CANCELLED and row.attempt == 1


async def test_an_operator_that_is_quick_does_not_make_a_cancel_come_too_late(
    service: JobService,
    cluster: MemoryCluster,
    repository: str,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It hears of spec.cancel and cancels the row by itself, before the server does anything more."""
    started = await service.start(StartRequest(repository))
    recorded = cluster.cancel

    async def heard(name: str, uid: str) -> bool:
        done = await recorded(name, uid)
        with suppress(IllegalTransition):
            await Jobs(database).cancel(UUID(uid))
        return done

    monkeypatch.setattr(cluster, "cancel", heard)
    assert (await service.cancel(started.job_id)).status == "cancelled"


async def test_cancel_of_a_job_whose_resource_is_gone(
    service: JobService, cluster: MemoryCluster, repository: str
) -> None:
    started = await service.start(StartRequest(repository))
    cluster.jobs.clear()
    assert (await service.cancel(started.job_id)).status == "cancelled"


async def test_cancel_of_a_job_that_has_no_row_yet(
    service: JobService, cluster: MemoryCluster, database: Database
) -> None:
    job = kubectl_job(cluster)
    assert (await service.cancel(job.metadata.uid)).status == "cancelled"
    assert (await Jobs(database).get(UUID(job.metadata.uid))).state is JobState.CANCELLED


async def test_cancel_does_not_bring_back_a_row_that_was_removed(
    service: JobService, cluster: MemoryCluster, database: Database
) -> None:
    job = kubectl_job(cluster, phase="Completed")
    with pytest.raises(UserError, match=f"^cannot cancel: job {job.metadata.uid} is completed$"):
        await service.cancel(job.metadata.uid)
    with pytest.raises(JobNotFound):
        await Jobs(database).get(UUID(job.metadata.uid))


async def test_cancel_of_a_final_job_leaves_its_resource_alone(
    service: JobService, cluster: MemoryCluster, repository: str, database: Database
) -> None:
    started = await service.start(StartRequest(repository))
    await Jobs(database).fence(UUID(started.job_id), 1, failed=False, message="Starting")
    await Jobs(database).fail(UUID(started.job_id), 1, "CloneFailed", "check the URL")
    with pytest.raises(UserError, match=r"is failed$"):
        await service.cancel(started.job_id)
    assert [job.spec.cancel for job in cluster.jobs.values()] == [False]


async def test_without_the_database_a_cancel_is_recorded_but_not_acknowledged(
    without_database: JobService, cluster: MemoryCluster
) -> None:
    job = kubectl_job(cluster, phase="Running")
    with pytest.raises(UserError, match=r"^unavailable: .* takes effect by itself"):
        await without_database.cancel(job.metadata.uid)
    assert cluster.jobs["by-hand"].spec.cancel


async def test_without_the_database_a_final_job_is_still_not_cancelled(
    without_database: JobService, cluster: MemoryCluster
) -> None:
    job = kubectl_job(cluster, phase="Cancelled")
    with pytest.raises(UserError, match=r"is already cancelled$"):
        await without_database.cancel(job.metadata.uid)


async def test_without_the_database_a_listing_is_not_possible(without_database: JobService) -> None:
    with pytest.raises(StoreUnavailable):
        await without_database.list(ListRequest())


# --- a database that answers and refuses ---------------------------------------------------------------


@pytest.fixture
async def refusing(service_on: Any, database: Database) -> AsyncIterator[JobService]:
    """A service whose database has another schema."""
    async with database.connection() as connection:
        await connection.execute("ALTER TABLE jobs RENAME TO elsewhere")
    yield service_on(database)


async def test_a_database_that_refuses_keeps_nobody_from_starting_and_watching(
    refusing: JobService, repository: str
) -> None:
    started = await refusing.start(StartRequest(repository))
    status = await refusing.status(started.job_id)
    assert started.created and (status.status, status.stale) == (JobState.PENDING, True)


async def test_a_cancel_that_it_refuses_is_recorded_and_says_why(
    refusing: JobService, cluster: MemoryCluster
) -> None:
    job = kubectl_job(cluster, phase="Running")
    with pytest.raises(UserError, match=r"^unavailable: .* its schema is missing .* takes effect by itself"):
        await refusing.cancel(job.metadata.uid)
    assert cluster.jobs["by-hand"].spec.cancel


async def test_a_listing_says_what_has_to_be_mended(refusing: JobService) -> None:
    with pytest.raises(StoreMisconfigured, match="look at the operator's log"):
        await refusing.list(ListRequest())
