"""The bounds of the queue as callers of the MCP server meet them, with the database and without."""

import asyncio
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from uuid import UUID

import pytest

from codebase_index.api.job import LABEL_CALLER, SUSPENDED, caller_label
from codebase_index.api.resource import IndexingJobSpec, Source
from codebase_index.api.source_policy import Root, SourcePolicy
from codebase_index.store.database import Database
from codebase_index.store.errors import StoreUnavailable
from codebase_index.store.ingest.work import Work
from codebase_index.store.jobs.jobs import Jobs
from codebase_mcp.errors import UserError
from codebase_mcp.jobs.service import JobService, StartRequest
from codebase_mcp.limits.queue_quota import QueueLimits
from tests.unit.server.jobs.memory_cluster import MemoryCluster

Starter = Callable[..., StartRequest]


@pytest.fixture
def request_for(tmp_path: Path) -> Starter:
    def request_for(name: str, caller: str = "192.0.2.1") -> StartRequest:
        (tmp_path / name).mkdir(exist_ok=True)
        return StartRequest(str(tmp_path / name), caller=caller)

    return request_for


def service(
    cluster: MemoryCluster, database: Database, tmp_path: Path, total: int | None, per_caller: int | None
) -> JobService:
    policy = SourcePolicy((Root(PurePosixPath(tmp_path), tmp_path),), frozenset())
    return JobService(policy, cluster, Jobs(database), Work(database), QueueLimits(total, per_caller))


@pytest.fixture(params=["with the database", "without it"])
async def anywhere(request: pytest.FixtureRequest, database: Database) -> Database:
    if request.param == "with the database":
        return database
    return await Database.open("postgresql://nobody@127.0.0.1:1/none", name="test", timeout=1)


async def test_a_start_beyond_the_bound_is_refused_and_creates_nothing(
    anywhere: Database, tmp_path: Path, request_for: Starter
) -> None:
    cluster = MemoryCluster()
    jobs = service(cluster, anywhere, tmp_path, total=3, per_caller=None)
    for number in range(3):
        await jobs.start(request_for(f"shop-{number}", f"192.0.2.{number}"))
    with pytest.raises(UserError, match=r"^queue is full: 3 jobs wait, .*; nothing was started; try again"):
        await jobs.start(request_for("another", "192.0.2.9"))
    assert len(cluster.jobs) == 3


async def test_one_caller_leaves_room_for_the_others(
    anywhere: Database, tmp_path: Path, request_for: Starter
) -> None:
    jobs = service(MemoryCluster(), anywhere, tmp_path, total=10, per_caller=2)
    for number in range(2):
        await jobs.start(request_for(f"shop-{number}"))
    with pytest.raises(UserError, match=r"^queue is full: 2 of your jobs wait, .* or cancel some"):
        await jobs.start(request_for("a-third"))
    assert (await jobs.start(request_for("a-third", "192.0.2.2"))).created


async def test_a_full_queue_keeps_nobody_from_a_job_that_is_there(
    anywhere: Database, tmp_path: Path, request_for: Starter
) -> None:
    jobs = service(MemoryCluster(), anywhere, tmp_path, total=1, per_caller=1)
    first = await jobs.start(request_for("shop"))
    again = await jobs.start(request_for("shop", "192.0.2.2"))
    assert (again.created, again.job_id) == (False, first.job_id)


async def test_a_job_that_has_started_makes_room(database: Database, tmp_path: Path, request_for: Starter) -> None:
    jobs = service(MemoryCluster(), database, tmp_path, total=1, per_caller=1)
    first = await jobs.start(request_for("shop"))
    assert await Jobs(database).admit(UUID(first.job_id), 1, 3)
    assert (await jobs.start(request_for("another"))).created


@pytest.mark.parametrize("suspended", [True, False])
async def test_a_suspended_job_waits_for_no_slot_and_holds_no_place(
    suspended: bool, anywhere: Database, tmp_path: Path, request_for: Starter
) -> None:
    cluster = MemoryCluster()
    jobs = service(cluster, anywhere, tmp_path, total=1, per_caller=None)
    spec = IndexingJobSpec(source=Source(path=str(tmp_path / "paused")), suspend=suspended)
    paused = cluster.add("paused", spec)
    try:
        await Jobs(anywhere).create(paused)
        if suspended:  # which the operator notes in its next pass
            await Jobs(anywhere).set_queue([(UUID(paused.metadata.uid), None, SUSPENDED)])
    except StoreUnavailable:
        pass  # then its mirror says it
    if suspended:
        assert (await jobs.start(request_for("shop"))).created
    with pytest.raises(UserError, match=r"^queue is full: 1 jobs wait"):
        await jobs.start(request_for("another"))


async def test_starts_at_once_do_not_pass_the_bound_together(
    anywhere: Database, tmp_path: Path, request_for: Starter
) -> None:
    cluster = MemoryCluster()
    jobs = service(cluster, anywhere, tmp_path, total=100, per_caller=3)
    cluster.before_create.clear()  # all twelve have counted before any has created
    starts = [asyncio.create_task(jobs.start(request_for(f"shop-{number}"))) for number in range(12)]
    waiting = set(starts)
    async with asyncio.timeout(30):
        while len(waiting) > 3:
            _, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    await cluster.creators(3)
    cluster.before_create.set()
    answers = await asyncio.gather(*starts, return_exceptions=True)
    assert sum(isinstance(answer, UserError) for answer in answers) == 9
    assert len(cluster.jobs) == 3


async def test_who_started_a_job_is_known_by_a_digest(
    database: Database, tmp_path: Path, request_for: Starter
) -> None:
    cluster = MemoryCluster()
    await service(cluster, database, tmp_path, None, None).start(request_for("shop", "2001:db8::/64"))
    (job,) = cluster.jobs.values()
    assert job.metadata.labels[LABEL_CALLER] == caller_label("2001:db8::/64")
    assert (await Jobs(database).queue_length(caller_label("2001:db8::/64"))).own == 1


async def test_a_queue_without_bounds_takes_all(database: Database, tmp_path: Path, request_for: Starter) -> None:
    jobs = service(MemoryCluster(), database, tmp_path, None, None)
    for number in range(5):
        assert (await jobs.start(request_for(f"shop-{number}"))).created


async def test_finished_and_cancelled_jobs_do_not_wait(tmp_path: Path, request_for: Starter) -> None:
    """As far as mirrors say, which is all that there is while the database is away."""
    cluster = MemoryCluster()
    nowhere = await Database.open("postgresql://nobody@127.0.0.1:1/none", name="test", timeout=1)
    for number, phase in enumerate(("Completed", "Failed", "Cancelled", "Running", "Blocked")):
        cluster.add(f"j-{number}", IndexingJobSpec(source=Source(path=f"/srv/{number}")), phase=phase)
    cluster.add("cancelling", IndexingJobSpec(source=Source(path="/srv/c"), cancel=True))
    jobs = service(cluster, nowhere, tmp_path, total=1, per_caller=None)
    assert (await jobs.start(request_for("shop"))).created
    with pytest.raises(UserError, match=r"^queue is full"):
        await jobs.start(request_for("another"))
