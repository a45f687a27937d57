"""Finding jobs on an API server that knows no selectable fields of custom resources, as those before 1.31."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestServer
from kubernetes.aio import client

from codebase_index.job import LABEL_TARGET
from codebase_index.resource import IndexingJobSpec, Source
from codebase_index.source import Root, SourcePolicy
from codebase_index.store.database import Database
from codebase_index.store.jobs import Jobs
from codebase_index.store.work import Work
from codebase_mcp.cluster import KubernetesCluster
from codebase_mcp.jobs import JobService, StartRequest
from tests.operator.fake_api import FakeApi


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
    return JobService(
        SourcePolicy((Root(tmp_path, tmp_path),), frozenset()), cluster, Jobs(database), Work(database)
    )


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
    answer = api._answer
    api._answer = lambda *asked: answers.append(answer(*asked)) or answers[-1]  # type: ignore[method-assign,func-returns-value]
    (found,) = await cluster.of_target(specs[1].target)
    assert found.spec == specs[1]
    assert sum(len(listed["items"]) for listed in answers) == 1
