"""Cancel, suspend and resume, by every way there is, and with parts of the product away or hanging."""

import signal
from collections.abc import Callable
from typing import Any

import pytest

from hack.deployment.mcp_client import ToolFailed, connect, finished
from tests.chaos.harness.containers import worker
from tests.support.kube import (
    OPERATOR,
    assert_consistent,
    delete_job,
    facts,
    hold_slots,
    indexer_pods,
    job_status,
    name_of,
    patch_job,
    pod_phases,
    scaled_to_zero,
    uid_of,
    under_way,
)
from tests.support.waiting import PATIENCE, wait_for

pytestmark = pytest.mark.cluster

STOPPED_WITHIN = 5.0  # seconds, of the contract: from the cancel until the pod is gone


@pytest.mark.parametrize(
    "cancel", [lambda name: patch_job(name, cancel=True), delete_job], ids=["patch", "delete"]
)
async def test_a_cancel_by_kubectl_keeps_the_partial_index(
    server_url: str, repository: str, cancel: Callable[[str], None]
) -> None:
    async with connect(server_url) as tools:
        job_id, before = await under_way(tools, repository)
        cancel(name_of(job_id))
        wait_for(lambda: not indexer_pods(job_id), "the pod is gone", STOPPED_WITHIN)
        status = await tools.call("get_indexing_status", job_id=job_id)
        assert status["status"] == "cancelled"
        assert status["cancelled_at"] is not None and status["completed_at"] is None
        assert status["files_indexed"] >= before["files_indexed"]

        found = await tools.call("search_code", query="class", repo=repository)
        assert found["results"] and found["index_state"] == "partial"
        assert 0 < found["index_percent_complete"] < 100
        with pytest.raises(ToolFailed, match=f"cannot cancel: job {job_id} is already cancelled"):
            await tools.call("cancel_indexing_background", job_id=job_id)
    assert_consistent(repository)


async def test_a_hanging_worker_is_gone_in_time_after_a_cancel(server_url: str, repository: str) -> None:
    async with connect(server_url) as tools:
        job_id, _ = await under_way(tools, repository)
        worker(uid_of(indexer_pods(job_id)[0])).signal(signal.SIGSTOP)
        answer = await tools.call("cancel_indexing_background", job_id=job_id)
        wait_for(lambda: not indexer_pods(job_id), "the pod is gone", STOPPED_WITHIN)
    assert answer["status"] == "cancelled"
    assert facts(job_id)["chunks_created"] == answer["chunks_created"]


async def test_a_cancel_holds_while_the_operator_is_away(server_url: str, large_repository: str) -> None:
    """The worker sees the fence in its heartbeat; the custom resource catches up when the operator is back."""
    async with connect(server_url) as tools:
        job_id, _ = await under_way(tools, large_repository)
        name = name_of(job_id)
        with scaled_to_zero(OPERATOR):
            mirrored = job_status(name)  # Running, or still Pending: the operator looks once a second
            answer = await tools.call("cancel_indexing_background", job_id=job_id)
            assert answer["status"] == "cancelled"
            wait_for(lambda: pod_phases(job_id) == ["Succeeded"], "the worker has ended by itself", STOPPED_WITHIN)
            assert job_status(name) == mirrored  # nobody has mirrored the cancel yet
        wait_for(lambda: job_status(name).get("phase") == "Cancelled", "the custom resource has caught up")
        wait_for(lambda: not facts(job_id)["slot"], "the slot is free")


async def test_a_suspended_job_frees_its_slot_and_goes_on_where_it_stopped(
    server_url: str, repository: str, new_repository: Callable[[int], str]
) -> None:
    holders = hold_slots(new_repository(5), new_repository(5))
    async with connect(server_url) as tools:
        job_id, before = await under_way(tools, repository)
        queued = await tools.call("start_indexing_background", repo_path=new_repository(5))
        name = name_of(job_id)
        patch_job(name, suspend=True)
        wait_for(
            lambda: job_status(name).get("phase") == "Suspended" and not indexer_pods(job_id), "it is suspended"
        )
        suspended = facts(job_id)
        assert (suspended["state"], suspended["slot"]) == ("pending", False)
        assert suspended["files_indexed"] >= before["files_indexed"]
        assert (await finished(tools, queued["job_id"], timeout=PATIENCE))["status"] == "completed"
        assert all(facts(holder)["slot"] for holder in holders)

        assert counters(facts(job_id)) == counters(suspended)
        patch_job(name, suspend=False)
        final = await finished(tools, job_id, timeout=PATIENCE)
    row = facts(job_id)
    assert final["status"] == "completed", final["error_message"]
    assert row["files_indexed"] + row["files_skipped"] == row["files_total"]
    assert row["files_repeated"] < 0.01 * row["files_total"]  # what was in flight, at most
    assert_consistent(repository)


async def test_a_job_without_its_embedding_service_is_blocked_and_can_be_suspended(
    server_url: str, small_repository: str
) -> None:
    [job_id] = hold_slots(small_repository)
    name = name_of(job_id)
    mirror = job_status(name)
    assert mirror["reason"] == "WaitingForService"
    assert "Ollama" in mirror["message"] and "since" in mirror["message"]
    async with connect(server_url) as tools:
        status = await tools.call("get_indexing_status", job_id=job_id)
        assert status["status"] == "blocked"
        assert "Ollama" in status["progress_message"] and "since" in status["progress_message"]

        patch_job(name, suspend=True)
        wait_for(
            lambda: job_status(name).get("phase") == "Suspended" and not indexer_pods(job_id), "it is suspended"
        )
        row = facts(job_id)
        assert (row["state"], row["slot"], row["blocked_since"]) == ("pending", False, None)
        patch_job(name, suspend=False)
        wait_for(lambda: job_status(name).get("phase") == "Blocked", "it waits for its service again")
        answer = await tools.call("cancel_indexing_background", job_id=job_id)
    assert answer["status"] == "cancelled"


# --- helpers ---------------------------------------------------------------------------------------


def counters(row: dict[str, Any]) -> tuple[int, ...]:
    """What must neither fall nor rise while a job is suspended."""
    return row["files_indexed"], row["files_skipped"], row["chunks_created"], row["percent"]
