"""Starting and cancelling against a real API server: field selectors, conflicts, preconditions, permissions."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from kubernetes.aio import client, config

from codebase_index.api.job import LABEL_CALLER, LABEL_TARGET, job_name
from codebase_index.api.resource import GitSource, IndexingJobSpec, Source
from codebase_index.store.database import Database
from codebase_index.store.jobs.jobs import Jobs
from codebase_mcp.jobs.cluster import ClusterUnavailable, NameConflict
from codebase_mcp.jobs.kubernetes_cluster import KubernetesCluster
from tests.support.crd import install_crd

pytestmark = pytest.mark.cluster

ROOT = Path(__file__).resolve().parents[3]
KUBECONFIG = Path(os.environ.get("KUBECONFIG") or ROOT / ".cluster" / "kubeconfig")


@pytest.fixture
async def api() -> AsyncIterator[client.ApiClient]:
    assert KUBECONFIG.exists(), f"no cluster: {KUBECONFIG} is missing; run `make up`"
    configuration = client.Configuration()
    await config.load_kube_config(  # type: ignore[no-untyped-call]
        str(KUBECONFIG), client_configuration=configuration
    )
    async with client.ApiClient(configuration) as api:
        yield api


@pytest.fixture
async def cluster(api: client.ApiClient) -> AsyncIterator[KubernetesCluster]:
    """The real API, in a namespace of this test's own, in which no operator works."""
    await install_crd(api)
    core, namespace = client.CoreV1Api(api), f"mcp-{uuid4().hex[:8]}"
    await core.create_namespace(client.V1Namespace(metadata=client.V1ObjectMeta(name=namespace)))
    try:
        yield KubernetesCluster(api, namespace)
    finally:
        await core.delete_namespace(namespace)


@pytest.fixture
def repository(roots: Path) -> str:
    return str(roots / "shop")


# --- the tools ---------------------------------------------------------------------------------------


async def test_start_creates_a_job_that_both_sides_know(
    call: Any, answered: Any, cluster: KubernetesCluster, database: Database, repository: str
) -> None:
    started = answered(
        await call("start_indexing_background", repo_path=repository, name="the shop", ref="main", priority=5)
    )
    (job,) = await cluster.list_all()
    row = await Jobs(database).get(UUID(started["job_id"]))
    assert (started["status"], started["created"]) == ("pending", True)
    assert 2 <= started["poll_after_seconds"] <= 5
    assert job.metadata.uid == started["job_id"] and job.metadata.name == row.cr_name
    assert job.metadata.labels[LABEL_TARGET] == row.target == job.spec.target
    assert set(job.metadata.labels) == {LABEL_TARGET, LABEL_CALLER}
    assert (job.spec.name, job.spec.ref, job.spec.priority) == ("the shop", "main", 5)
    status = answered(await call("get_indexing_status", job_id=started["job_id"]))
    assert (status["status"], status["repo_path"], status["stale"]) == ("pending", repository, False)


async def test_start_of_the_same_returns_the_same(call: Any, answered: Any, repository: str) -> None:
    first = answered(await call("start_indexing_background", repo_path=repository))
    again = answered(await call("start_indexing_background", repo_path=repository + "/"))
    other = answered(await call("start_indexing_background", repo_path=repository, ref="v1"))
    assert (again["job_id"], again["created"]) == (first["job_id"], False)
    assert other["created"] and other["job_id"] != first["job_id"]


async def test_starts_at_once_make_one_job(
    call: Any, answered: Any, cluster: KubernetesCluster, repository: str
) -> None:
    answers = await asyncio.gather(*(call("start_indexing_background", repo_path=repository) for _ in range(8)))
    assert len({answered(answer)["job_id"] for answer in answers}) == 1
    assert [answered(answer)["created"] for answer in answers].count(True) == 1
    assert len(await cluster.list_all()) == 1


async def test_after_a_cancel_the_next_run_starts(
    call: Any, answered: Any, refused: Any, cluster: KubernetesCluster, repository: str
) -> None:
    first = answered(await call("start_indexing_background", repo_path=repository))
    cancelled = answered(await call("cancel_indexing_background", job_id=first["job_id"]))
    (job,) = await cluster.list_all()
    assert cancelled["status"] == "cancelled" and job.spec.cancel
    again = refused(await call("cancel_indexing_background", job_id=first["job_id"]))
    assert again == f"cannot cancel: job {first['job_id']} is already cancelled"
    second = answered(await call("start_indexing_background", repo_path=repository))
    names = {job.metadata.name for job in await cluster.list_all()}
    assert second["created"]
    assert names == {job_name(repository, job.spec.target, run) for run in (1, 2)}


async def test_a_job_made_with_kubectl_is_seen_and_can_be_cancelled(
    call: Any, answered: Any, cluster: KubernetesCluster, repository: str
) -> None:
    job = await cluster.create("by-hand", IndexingJobSpec(source=Source(path=repository)))
    joined = answered(await call("start_indexing_background", repo_path=repository))
    status = answered(await call("get_indexing_status", job_id=job.metadata.uid))
    assert (joined["job_id"], joined["created"]) == (job.metadata.uid, False)
    assert (status["job_id"], status["status"], status["stale"]) == (job.metadata.uid, "pending", False)
    assert answered(await call("cancel_indexing_background", job_id=job.metadata.uid))["status"] == "cancelled"


# --- the edge ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/srv/a,b=c", "/srv/back\\slash", "/srv/white space", "/srv/größe"])
async def test_a_source_is_found_whatever_characters_it_holds(path: str, cluster: KubernetesCluster) -> None:
    spec = IndexingJobSpec(source=Source(path=path))
    job = await cluster.create(job_name(path, "0" * 16, 1), spec)
    await cluster.create("other", IndexingJobSpec(source=Source(path="/srv/a")))
    assert [found.metadata.uid for found in await cluster.list_for_target(spec)] == [job.metadata.uid]


async def test_a_git_source_is_found(cluster: KubernetesCluster) -> None:
    spec = IndexingJobSpec(source=Source(git=GitSource(url="https://git.example.org/x/shop.git")))
    job = await cluster.create("git", spec)
    assert [found.metadata.uid for found in await cluster.list_for_target(spec)] == [job.metadata.uid]


async def test_a_name_is_taken_once(cluster: KubernetesCluster) -> None:
    await cluster.create("twin", IndexingJobSpec(source=Source(path="/srv/a")))
    with pytest.raises(NameConflict):
        await cluster.create("twin", IndexingJobSpec(source=Source(path="/srv/a")))


async def test_a_cancel_means_one_job_and_not_its_name(cluster: KubernetesCluster) -> None:
    job = await cluster.create("shop", IndexingJobSpec(source=Source(path="/srv/a")))
    assert not await cluster.cancel("shop", str(uuid4()))
    assert not await cluster.cancel("gone", job.metadata.uid)
    assert not (await cluster.list_all())[0].spec.cancel
    assert await cluster.cancel("shop", job.metadata.uid)
    assert (await cluster.list_all())[0].spec.cancel


async def test_a_refusal_says_what_is_missing(cluster: KubernetesCluster, api: client.ApiClient) -> None:
    nobody = client.Configuration(host=api.configuration.host)
    nobody.ssl_ca_cert, nobody.ca_cert_data = api.configuration.ssl_ca_cert, api.configuration.ca_cert_data
    nobody.api_key["BearerToken"] = "bearer wrong"
    async with client.ApiClient(nobody) as anonymous:
        with pytest.raises(ClusterUnavailable, match=r"does not accept this server's credentials \(HTTP 401\)"):
            await KubernetesCluster(anonymous, "default").ping()
