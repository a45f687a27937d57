"""What a job needs is taken away: it says so, and goes on by itself, or fails with what to do."""

import uuid

import pytest

from hack.deployment.chart import NAMESPACE
from hack.deployment.commands import kubectl
from hack.deployment.mcp_client import ToolFailed, connect, finished
from tests.support.kube import (
    POSTGRES,
    apply_job,
    assert_consistent,
    facts,
    job_status,
    name_of,
    scaled_to_zero,
    under_way,
)
from tests.support.waiting import PATIENCE, wait_for

pytestmark = pytest.mark.cluster


async def test_a_database_outage_blocks_the_job_and_loses_nothing(
    server_url: str, large_repository: str, small_repository: str
) -> None:
    async with connect(server_url) as tools:
        job_id, _ = await under_way(tools, large_repository)
        name = name_of(job_id)
        with scaled_to_zero(POSTGRES):
            wait_for(lambda: job_status(name).get("phase") == "Blocked", "the custom resource says blocked")
            mirror = job_status(name)
            assert mirror["reason"] == "DatabaseUnavailable" and "since" in mirror["message"]
            shown = kubectl("get", "ij", "-n", NAMESPACE, name)
            assert "Blocked" in shown and "DatabaseUnavailable" in shown
            status = await tools.call("get_indexing_status", job_id=job_id)
            assert (status["status"], status["stale"]) == ("blocked", True)
            assert "database" in status["progress_message"] and "since" in status["progress_message"]
            meanwhile = await tools.call("start_indexing_background", repo_path=small_repository)
            assert (meanwhile["created"], meanwhile["status"]) == (True, "pending")
            with pytest.raises(ToolFailed, match=r"unavailable: .*database"):
                await tools.call("search_code", query="class")
        final = await finished(tools, job_id, timeout=PATIENCE)
        assert (await finished(tools, meanwhile["job_id"], timeout=PATIENCE))["status"] == "completed"
    row = facts(job_id)
    assert final["status"] == "completed", final["error_message"]
    assert row["files_indexed"] + row["files_skipped"] == row["files_total"]
    assert row["files_repeated"] < 0.01 * row["files_total"]
    assert row["failures"] == 0  # an outage is no failure of the job's own
    assert_consistent(large_repository)


async def test_too_little_memory_fails_the_job_and_names_the_limit(server_url: str, small_repository: str) -> None:
    name = f"starved-{uuid.uuid4().hex[:8]}"
    job_id = apply_job(name, small_repository, resources={"memory": "48Mi"}, backoffLimit=0)
    wait_for(lambda: job_status(name).get("phase") == "Failed", "the job has failed")
    mirror = job_status(name)
    assert mirror["reason"] == "OOMKilled"
    assert "limit of 48Mi" in mirror["message"] and "raise spec.resources.memory" in mirror["message"]
    async with connect(server_url) as tools:
        status = await tools.call("get_indexing_status", job_id=job_id)
        assert (status["status"], status["error_type"]) == ("failed", "OOMKilled")
        with pytest.raises(ToolFailed, match=f"cannot cancel: job {job_id} is failed"):
            await tools.call("cancel_indexing_background", job_id=job_id)
