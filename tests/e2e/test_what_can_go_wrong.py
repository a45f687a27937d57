"""Each test breaks something on the real cluster, and asks for a clear state, a clear message, and no hang."""

import json
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from demo.connection import ToolFailed, connect, finished, follow
from demo.deploy import NAMESPACE
from demo.tools import CommandFailed, kubectl, kubectl_json
from tests.fixtures.generate_test_repo import generate

pytestmark = pytest.mark.cluster

PATIENCE = 90  # seconds until a hang is a hang


@pytest.fixture
def repository(repositories: Path) -> Iterator[Path]:
    """A repository large enough to be interrupted: 400 files, some 12 MB."""
    folder = repositories / f"breakable-{uuid.uuid4().hex[:8]}"
    generate(folder, file_count=400, avg_lines=200)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def folder(repositories: Path) -> Iterator[Path]:
    """An empty folder under the repository root."""
    path = repositories / f"odd-{uuid.uuid4().hex[:8]}"
    path.mkdir()
    yield path
    path.chmod(0o755)
    shutil.rmtree(path)


async def test_a_deleted_pod_is_replaced_and_the_job_completes(server_url: str, repository: Path) -> None:
    async with connect(server_url) as tools:
        job = await tools.call("start_indexing_background", repo_path=str(repository))
        pod = ""
        async for status in follow(tools, job["job_id"], every=0.1, timeout=PATIENCE):
            if not pod and status["files_indexed"] > 20:
                pod = indexer_pods(job["job_id"])[0]
                kubectl("delete", "pod", "-n", NAMESPACE, pod, "--wait=false")
        assert pod, "the job was done before its pod could be deleted"
        assert status["status"] == "completed", status["error_message"]
        assert status["attempt"] == 2
        assert status["files_indexed"] + status["files_skipped"] == status["files_total"]


async def test_a_deleted_job_leaves_no_pod_and_is_cancelled(server_url: str, repository: Path) -> None:
    async with connect(server_url) as tools:
        job = await tools.call("start_indexing_background", repo_path=str(repository), force_reindex=True)
        async for status in follow(tools, job["job_id"], every=0.1, timeout=PATIENCE):
            if status["files_indexed"] > 0:
                break
        kubectl("delete", "indexingjob", "-n", NAMESPACE, name_of(job["job_id"]), "--timeout=20s")
        wait_for(lambda: not indexer_pods(job["job_id"]), "the pod is gone")
        status = await finished(tools, job["job_id"], timeout=PATIENCE)
        assert status["status"] == "cancelled"


async def test_an_empty_repository_is_a_failed_job_and_no_empty_success(server_url: str, folder: Path) -> None:
    async with connect(server_url) as tools:
        job = await tools.call("start_indexing_background", repo_path=str(folder))
        status = await finished(tools, job["job_id"], timeout=PATIENCE)
    assert (status["status"], status["error_type"]) == ("failed", "EmptyRepository")
    described = kubectl("describe", "indexingjob", "-n", NAMESPACE, name_of(job["job_id"]))
    assert "EmptyRepository" in described
    wait_for(lambda: column(job["job_id"], "phase") == "Failed", "kubectl shows the failure")


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
    kubectl("delete", "indexingjob", "-n", NAMESPACE, name, "--timeout=20s")


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


# --- helpers ---------------------------------------------------------------------------------------


def apply_job(name: str, path: str, **source: Any) -> None:
    """Create a job as a user of kubectl does."""
    manifest = {
        "apiVersion": "indexing.codebase-mcp.io/v1alpha1",
        "kind": "IndexingJob",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"source": {"path": path, **source}},
    }
    kubectl("create", "-f", "-", stdin=json.dumps(manifest))


def indexer_pods(job_id: str) -> list[str]:
    """Names of the pods of a job that exist now."""
    selector = f"indexing.codebase-mcp.io/job-id={job_id}"
    pods = kubectl_json("get", "pods", "-n", NAMESPACE, "-l", selector)["items"]
    return [pod["metadata"]["name"] for pod in pods]


def name_of(job_id: str) -> str:
    """The name of the custom resource with this uid."""
    jobs = kubectl_json("get", "indexingjobs", "-n", NAMESPACE)["items"]
    return str(next(job["metadata"]["name"] for job in jobs if job["metadata"]["uid"] == job_id))


def job_status(name: str) -> dict[str, Any]:
    """The status of a job's custom resource."""
    return dict(kubectl_json("get", "indexingjob", "-n", NAMESPACE, name).get("status") or {})


def column(job_id: str, field: str) -> Any:
    """A field of the status, by job id."""
    return job_status(name_of(job_id)).get(field)


def wait_for(condition: Callable[[], bool], claim: str, patience: float = PATIENCE) -> None:
    """Wait until a claim holds; fail with the claim when it does not within `patience` seconds."""
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, f"after {patience} s it does not hold that {claim}"
        time.sleep(0.5)
