"""The status of a job: from its row, or from the mirror in its custom resource."""

import asyncio
from uuid import UUID, uuid4

import pytest

from codebase_index.api.job import JobState, Phase
from codebase_index.store.database import Database
from codebase_index.store.errors import StoreUnavailable
from codebase_index.store.jobs.jobs import Jobs, Progress
from codebase_index.store.jobs.rows import JobRow
from codebase_mcp.errors import UserError
from codebase_mcp.jobs.service import JobService
from tests.unit.server.jobs.memory_cluster import MemoryCluster, kubectl_job


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


async def test_what_was_told_of_progress_does_not_fall_when_the_mirror_answers(
    service: JobService, cluster: MemoryCluster, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    lagging = {"percent": 78, "phase": "embedding", "message": "Embedding", "filesTotal": 100, "filesIndexed": 78}
    job = kubectl_job(cluster, phase="Running", attempt=1, progress=lagging)
    jobs, job_id = Jobs(database), UUID(job.metadata.uid)
    await jobs.create(job)
    await jobs.fence(job_id, 1, failed=False, message="Starting")
    await jobs.claim(job_id, 1, "p1")
    await jobs.heartbeat(job_id, 1, Progress(Phase.EMBEDDING, 80, "Embedding"))
    assert (await service.status(str(job_id))).progress_percentage == 80

    async def slow(_: object, job_id: UUID) -> JobRow:
        raise StoreUnavailable("the database did not answer within 2 s")

    monkeypatch.setattr(Jobs, "get", slow)
    status = await service.status(str(job_id))
    assert (status.stale, status.progress_percentage, status.files_indexed) == (True, 80, 78)


async def test_a_cancel_is_no_further_attempt(
    service: JobService, cluster: MemoryCluster, database: Database
) -> None:
    jobs = Jobs(database)
    for claimed in (False, True):
        job = kubectl_job(cluster)
        job_id = UUID(job.metadata.uid)
        await jobs.create(job)
        if claimed:
            await jobs.fence(job_id, 1, failed=False, message="Starting")
            await jobs.claim(job_id, 1, "p1")
        await service.cancel(str(job_id))
        assert (await service.status(str(job_id))).attempt == int(claimed)


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
