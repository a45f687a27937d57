"""A database that answers and refuses keeps nobody from starting, watching and cancelling."""

import pytest

from codebase_index.api.job import JobState
from codebase_index.store.errors import StoreMisconfigured
from codebase_mcp.errors import UserError
from codebase_mcp.jobs.service import JobService, ListRequest, StartRequest
from tests.unit.server.jobs.memory_cluster import MemoryCluster, kubectl_job


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
