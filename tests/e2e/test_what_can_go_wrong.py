"""Each test breaks something on the real cluster, and asks for a clear state, a clear message, and no hang."""

import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from hack.deployment.chart import NAMESPACE
from hack.deployment.commands import CommandFailed, kubectl
from hack.deployment.mcp_client import ToolFailed, connect, finished, follow
from tests.support.kube import apply_job, delete_job, indexer_pods, job_status, name_of
from tests.support.waiting import PATIENCE, wait_for

pytestmark = pytest.mark.cluster


@pytest.fixture
def folder(repositories: Path) -> Iterator[Path]:
    """An empty folder under the repository root."""
    path = repositories / f"odd-{uuid.uuid4().hex[:8]}"
    path.mkdir()
    yield path
    path.chmod(0o755)
    shutil.rmtree(path)


async def test_a_deleted_pod_is_replaced_and_the_job_completes(server_url: str, repository: str) -> None:
    async with connect(server_url) as tools:
        job = await tools.call("start_indexing_background", repo_path=repository)
        pod = ""
        async for status in follow(tools, job["job_id"], every=0.1, timeout=PATIENCE):
            if not pod and status["files_indexed"] > 20:
                pod = indexer_pods(job["job_id"])[0]
                kubectl("delete", "pod", "-n", NAMESPACE, pod, "--wait=false")
        assert pod, "the job was done before its pod could be deleted"
        assert status["status"] == "completed", status["error_message"]
        assert status["attempt"] == 2
        assert status["files_indexed"] + status["files_skipped"] == status["files_total"]


async def test_an_empty_repository_is_a_failed_job_and_no_empty_success(server_url: str, folder: Path) -> None:
    async with connect(server_url) as tools:
        job = await tools.call("start_indexing_background", repo_path=str(folder))
        status = await finished(tools, job["job_id"], timeout=PATIENCE)
    assert (status["status"], status["error_type"]) == ("failed", "EmptyRepository")
    wait_for(lambda: job_status(name_of(job["job_id"])).get("phase") == "Failed", "kubectl shows the failure")
    described = kubectl("describe", "indexingjob", "-n", NAMESPACE, name_of(job["job_id"]))
    assert "EmptyRepository" in described


async def test_an_unreadable_repository_is_refused_by_the_tool(server_url: str, folder: Path) -> None:
    folder.chmod(0o700)
    async with connect(server_url) as tools:
        with pytest.raises(ToolFailed, match=r"validation: .* not readable .*chmod -R"):
            await tools.call("start_indexing_background", repo_path=str(folder))


async def test_an_unreadable_repository_fails_a_job_made_with_kubectl(server_url: str, folder: Path) -> None:
    folder.chmod(0o700)
    name = f"by-hand-{uuid.uuid4().hex[:8]}"
    apply_job(name, str(folder))
    wait_for(lambda: job_status(name).get("phase") == "Failed", "the job has failed")
    assert job_status(name)["reason"] == "SourceUnreadable"
    assert "chmod" in job_status(name)["message"]
    delete_job(name)


async def test_unreadable_files_are_skipped_with_a_reason(server_url: str, folder: Path) -> None:
    (folder / "good.py").write_text("def good():\n    return 1\n")
    (folder / "secret.py").write_text("def secret():\n    return 2\n")
    (folder / "secret.py").chmod(0o600)
    async with connect(server_url) as tools:
        job = await tools.call("start_indexing_background", repo_path=str(folder))
        status = await finished(tools, job["job_id"], timeout=PATIENCE)
    assert status["status"] == "completed"
    assert (status["files_indexed"], status["files_skipped"]) == (1, 1)
    assert status["skipped"][0]["path"] == "secret.py"


def test_an_invalid_job_is_refused_by_the_api_server(server_url: str) -> None:
    with pytest.raises(CommandFailed, match="exactly one"):
        apply_job("two-sources", "/somewhere", git={"url": "https://example.org/x.git"})
