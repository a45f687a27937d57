"""Who runs when: the limit at every instant, the order of the queue, duplicates, and the hard ceiling."""

import asyncio
import json
import uuid
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest

from hack.deployment.chart import NAMESPACE, deploy
from hack.deployment.commands import kubectl, kubectl_json
from hack.deployment.mcp_client import Tools, connect, finished
from tests.support.kube import apply_job, facts, hold_slots, job_status, pod_watch
from tests.support.waiting import PATIENCE, wait_for

pytestmark = pytest.mark.cluster

QUOTA = "codebase-mcp-indexer"


async def test_never_more_than_three_at_any_instant_and_each_in_its_turn(
    server_url: str, new_repository: Callable[[int], str]
) -> None:
    """Also those that come within one second, which is all that the creation times of Kubernetes tell."""
    turns = [2, 3, 4, 5, 6, 7, 1]
    with pod_watch() as history:
        holders = hold_slots(*(new_repository(5) for _ in range(3)))
        async with connect(server_url) as tools:
            waiting = []
            for priority, repository in [(0, new_repository(5)) for _ in range(6)] + [(10, new_repository(5))]:
                job = await tools.call("start_indexing_background", repo_path=repository, priority=priority)
                waiting.append(job["job_id"])
            await asyncio.to_thread(wait_for, lambda: in_the_queue(waiting) == turns, "everyone's place is told")
            places = [await place_of(tools, job_id) for job_id in waiting]
            for holder in holders:
                await tools.call("cancel_indexing_background", job_id=holder)
            ends = [await finished(tools, job_id, timeout=PATIENCE) for job_id in waiting]
        told = history()
    assert places == turns
    assert [status["status"] for status in ends] == ["completed"] * 7
    assert told.most_jobs_at_once() == 3
    assert told.first_starts()[3:] == [waiting[6], *waiting[:6]]


async def test_twenty_starts_at_once_give_one_job(
    server_url: str, small_repository: str, new_repository: Callable[[int], str]
) -> None:
    """The job has to wait, or it may be over before the last of them."""
    holders = hold_slots(*(new_repository(5) for _ in range(3)))

    async def four_starts() -> list[tuple[str, bool]]:
        async with connect(server_url) as tools:
            calls = [tools.call("start_indexing_background", repo_path=small_repository) for _ in range(4)]
            return [(answer["job_id"], answer["created"]) for answer in await asyncio.gather(*calls)]

    answers = [answer for some in await asyncio.gather(*(four_starts() for _ in range(5))) for answer in some]
    async with connect(server_url) as tools:
        for holder in holders:
            await tools.call("cancel_indexing_background", job_id=holder)
    assert len({job_id for job_id, _ in answers}) == 1
    assert sorted(created for _, created in answers) == [False] * 19 + [True]
    jobs = kubectl_json("get", "indexingjobs", "-n", NAMESPACE)["items"]
    assert [job["metadata"]["uid"] for job in jobs if job["spec"]["source"]["path"] == small_repository] == [
        answers[0][0]
    ]


async def test_a_job_made_by_hand_waits_for_the_one_with_the_same_repository(
    server_url: str, small_repository: str
) -> None:
    [first] = hold_slots(small_repository)
    name = f"by-hand-{uuid.uuid4().hex[:8]}"
    second = apply_job(name, small_repository)
    wait_for(lambda: job_status(name).get("reason") == "WaitingForSameRepository", "the reason is shown")
    assert job_status(name)["phase"] == "Pending"
    async with connect(server_url) as tools:
        status = await tools.call("get_indexing_status", job_id=second)
        assert status["status"] == "pending" and "same repository" in status["progress_message"]
        await tools.call("cancel_indexing_background", job_id=first)
        assert (await finished(tools, second, timeout=PATIENCE))["status"] == "completed"


async def test_the_limit_is_changed_while_jobs_run(
    server_url: str, repositories: Path, repository: str, new_repository: Callable[[int], str]
) -> None:
    holders = hold_slots(new_repository(5), new_repository(5))
    async with connect(server_url) as tools:
        job = await tools.call("start_indexing_background", repo_path=repository)
        wait_for(lambda: facts(job["job_id"])["claimed_at"], "the third job runs")
        try:
            deploy([repositories], settings={"limits": {"maxConcurrentJobs": 1}})
            queued = (await tools.call("start_indexing_background", repo_path=new_repository(5)))["job_id"]
            assert (await finished(tools, job["job_id"], timeout=PATIENCE))["status"] == "completed"
            assert [facts(one)["attempt"] for one in (job["job_id"], *holders)] == [1, 1, 1]

            await tools.call("cancel_indexing_background", job_id=holders[0])
            wait_for(lambda: not facts(holders[0])["slot"], "one of the two slots is free")
            assert await place_of(tools, queued) == 1
            cancelled = await tools.call("cancel_indexing_background", job_id=holders[1])
            final = await finished(tools, queued, timeout=PATIENCE)
        finally:
            deploy([repositories])
    assert final["status"] == "completed"
    assert datetime.fromisoformat(final["started_at"]) > datetime.fromisoformat(cancelled["cancelled_at"])


async def test_the_quota_holds_a_job_back_with_the_reason(server_url: str, small_repository: str) -> None:
    pods = kubectl_json("get", "resourcequota", "-n", NAMESPACE, QUOTA)["spec"]["hard"]["pods"]
    set_quota("0")
    try:
        name = f"poor-{uuid.uuid4().hex[:8]}"
        job_id = apply_job(name, small_repository)
        wait_for(lambda: job_status(name).get("reason") == "QuotaExceeded", "the reason is shown")
        assert job_status(name)["phase"] == "Pending"
        async with connect(server_url) as tools:
            status = await tools.call("get_indexing_status", job_id=job_id)
            assert status["status"] == "pending" and "quota" in status["progress_message"]
            set_quota(pods)
            assert (await finished(tools, job_id, timeout=PATIENCE))["status"] == "completed"
    finally:
        set_quota(pods)


# --- helpers ---------------------------------------------------------------------------------------


def in_the_queue(job_ids: list[str]) -> list[int | None]:
    """The places of jobs, as far as they are told."""
    return [facts(job_id)["queue_position"] for job_id in job_ids]


async def place_of(tools: Tools, job_id: str) -> int | None:
    """The job's place in the queue, as soon as it is told."""
    async with asyncio.timeout(PATIENCE):
        while True:
            status = await tools.call("get_indexing_status", job_id=job_id)
            assert status["status"] == "pending"
            if status["queue_position"]:
                return int(status["queue_position"])
            await asyncio.sleep(0.2)


def set_quota(pods: str) -> None:
    """Set how many indexer pods there may be, whatever the operator does."""
    change = json.dumps({"spec": {"hard": {"pods": pods}}})
    kubectl("patch", "resourcequota", "-n", NAMESPACE, QUOTA, "--type=merge", "-p", change)
