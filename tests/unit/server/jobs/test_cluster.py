"""Finding jobs on an API server that knows no selectable fields of custom resources, as those before 1.31."""

from collections.abc import AsyncIterator
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from aiohttp.test_utils import TestServer
from kubernetes.aio import client

from codebase_index.api.job import LABEL_TARGET, target_of
from codebase_index.api.resource import GitSource, IndexingJobSpec, Source
from codebase_index.api.source_policy import Root, SourcePolicy
from codebase_index.store.database import Database
from codebase_index.store.errors import StoreUnavailable
from codebase_index.store.ingest.work import Work
from codebase_index.store.jobs.jobs import Jobs
from codebase_mcp.errors import UserError
from codebase_mcp.jobs.cluster import ClusterUnavailable
from codebase_mcp.jobs.kubernetes_cluster import KubernetesCluster
from codebase_mcp.jobs.service import JobService, StartRequest
from tests.operator.fake_api import FakeApi, Fault


@pytest.fixture
def api() -> FakeApi:
    return FakeApi()


@pytest.fixture
async def cluster(api: FakeApi) -> AsyncIterator[KubernetesCluster]:
    async with TestServer(api.application()) as http:
        configuration = client.Configuration(host=str(http.make_url("")).rstrip("/"))
        async with client.ApiClient(configuration) as connection:
            yield KubernetesCluster(connection, "ns")


@pytest.fixture
def service(cluster: KubernetesCluster, database: Database, tmp_path: Path) -> JobService:
    (tmp_path / "shop").mkdir()
    policy = SourcePolicy((Root(PurePosixPath(tmp_path), tmp_path),), frozenset())
    return JobService(policy, cluster, Jobs(database), Work(database))


async def test_a_repository_that_is_being_indexed_is_joined(service: JobService, tmp_path: Path) -> None:
    first = await service.start(StartRequest(str(tmp_path / "shop")))
    again = await service.start(StartRequest(str(tmp_path / "shop")))
    assert (first.created, again.created, again.job_id) == (True, False, first.job_id)


async def test_so_is_one_whose_job_was_made_with_kubectl(
    service: JobService, api: FakeApi, tmp_path: Path
) -> None:
    by_hand = api.create_job("by-hand", source={"path": str(tmp_path / "shop")})
    assert LABEL_TARGET not in by_hand["metadata"].get("labels", {})
    joined = await service.start(StartRequest(str(tmp_path / "shop")))
    assert (joined.created, joined.job_id) == (False, by_hand["metadata"]["uid"])


async def test_finished_jobs_of_other_repositories_are_not_listed_for_a_start(
    cluster: KubernetesCluster, api: FakeApi
) -> None:
    specs = [IndexingJobSpec(source=Source(path=f"/srv/{name}")) for name in "abc"]
    for number, spec in enumerate(specs):
        await cluster.create(f"job-{number}", spec)
    answers: list[dict[str, Any]] = []
    answer = api.answer
    api.answer = lambda *asked: answers.append(answer(*asked)) or answers[-1]  # type: ignore[method-assign,func-returns-value]
    (found,) = await cluster.list_for_target(specs[1])
    assert found.spec == specs[1]
    assert sum(len(listed["items"]) for listed in answers) == 1


OLDER = {
    "as it is written now": ("https://git.example.org/a/shop", "https://git.example.org/a/shop"),
    "with .git, now without": ("https://git.example.org/a/shop.git", "https://git.example.org/a/shop"),
    "without .git, now with": ("https://git.example.org/a/shop", "https://git.example.org/a/shop.git"),
    "both, and now in capitals": ("https://git.example.org/a/shop.git", "https://GIT.example.org/a/shop/"),
    "by ssh": ("ssh://git@git.example.org/a/shop.git", "ssh://git@git.example.org/a/shop"),
}


@pytest.mark.parametrize("ref", [None, "main"])
@pytest.mark.parametrize("how", OLDER)
async def test_a_job_that_version_0_1_0_labelled_is_found(
    how: str, ref: str | None, cluster: KubernetesCluster, api: FakeApi
) -> None:
    """It made the label from the address as it was written."""
    then, now = OLDER[how]
    body = api.create_job("older", source={"git": {"url": then}}, **({"ref": ref} if ref else {}))
    body["metadata"]["labels"] = {LABEL_TARGET: target_of(then, ref)}
    other = api.create_job("other", source={"git": {"url": then}}, ref="another")
    other["metadata"]["labels"] = {LABEL_TARGET: target_of(then, "another")}
    found = await cluster.list_for_target(IndexingJobSpec(source=Source(git=GitSource(url=now)), ref=ref))
    assert [job.metadata.name for job in found] == ["older"]


STORED = {
    "a query": "https://git.example.org/shop?x=1", "a fragment": "https://git.example.org/shop#main",
    "an underscore": "https://git_host.example.org/shop", "a user with an escape": "ssh://a%40b@git.example.org/shop",
}  # fmt: skip


@pytest.mark.parametrize("phase", ["Completed", "Running", ""])
@pytest.mark.parametrize("what", STORED)
async def test_a_stored_job_that_no_new_one_may_be_like_is_shown_all_the_same(
    what: str,
    phase: str,
    service: JobService,
    cluster: KubernetesCluster,
    api: FakeApi,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    body = api.create_job("older", source={"git": {"url": STORED[what]}}, ref="main", name="Shop")
    body["status"] = {"phase": phase} if phase else {}
    api.create_job("broken", source="nothing of the kind", name=7)
    api.create_job("good")

    async def away(*_: object) -> None:
        raise StoreUnavailable("the database is away")

    monkeypatch.setattr(Jobs, "get", away)
    shown = await service.status(body["metadata"]["uid"])
    assert (shown.repo_path, shown.ref, shown.name, shown.stale) == (STORED[what], "main", "Shop", True)
    assert shown.status.value == (phase or "Pending").lower()
    assert len(await cluster.list_all()) == 3


async def test_nobody_joins_a_job_that_is_about_to_fail_for_its_spec(
    service: JobService, api: FakeApi, tmp_path: Path
) -> None:
    api.create_job("older", source={"path": str(tmp_path / "shop")}, name="two\nlines")
    started = await service.start(StartRequest(str(tmp_path / "shop")))
    assert started.created


@pytest.mark.parametrize(
    "message",
    [
        "indexingjobs \"x\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'p' denied request: "
        "spec.priority is more than 10",
        'admission webhook "w.example.org" denied the request: spec.priority is more than 10',
    ],
)
async def test_a_start_that_a_policy_of_the_cluster_refuses_says_what_the_policy_says(
    service: JobService, api: FakeApi, tmp_path: Path, message: str
) -> None:
    api.faults.append(Fault("POST .*/indexingjobs", 422, message))
    with pytest.raises(UserError, match=r"^validation: .* spec.priority is more than 10; nothing was started"):
        await service.start(StartRequest(str(tmp_path / "shop")))


async def test_one_that_is_refused_for_want_of_rights_is_no_fault_of_the_caller(
    service: JobService, api: FakeApi, tmp_path: Path
) -> None:
    api.faults.append(Fault("POST .*/indexingjobs", 403, "cannot create resource"))
    with pytest.raises(ClusterUnavailable, match="its Role must allow"):
        await service.start(StartRequest(str(tmp_path / "shop")))
