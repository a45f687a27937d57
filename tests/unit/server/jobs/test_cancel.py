"""Cancelling a job: the fence first, then the intent, whatever is away."""

from contextlib import suppress
from uuid import UUID

import pytest

from codebase_index.api.job import JobState
from codebase_index.store.database import Database
from codebase_index.store.errors import IllegalTransition, JobNotFound, StoreUnavailable
from codebase_index.store.jobs.jobs import Jobs
from codebase_mcp.errors import UserError
from codebase_mcp.jobs.service import JobService, ListRequest, StartRequest
from tests.unit.server.jobs.memory_cluster import MemoryCluster, kubectl_job


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
