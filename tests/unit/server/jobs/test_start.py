"""Starting a job: one for each source, ref and filters, however many ask, with the database or without."""

import asyncio
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codebase_index.api.job import FINAL, JobState, job_name
from codebase_index.api.resource import IndexingJobSpec, Source
from codebase_index.api.source_policy import SourcePolicy
from codebase_index.store.database import Database
from codebase_index.store.jobs.jobs import Jobs
from codebase_mcp.errors import UserError
from codebase_mcp.jobs.service import JobService, StartRequest
from tests.unit.server.jobs.memory_cluster import MemoryCluster


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
