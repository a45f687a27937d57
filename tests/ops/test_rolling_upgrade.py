"""`helm upgrade` under three running jobs and twenty calls a second: no call and no job is lost."""

import asyncio
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hack.deployment.chart import NAMESPACE, deploy
from hack.deployment.commands import kubectl_json
from hack.deployment.mcp_client import Tools, finished
from tests.ops.client_pod import Calls, calling
from tests.support.cluster import ClusterRuntime
from tests.support.kube import facts, under_way

pytestmark = [pytest.mark.cluster, pytest.mark.large]  # minutes each: make test-ops runs them

CALLS_A_SECOND = 20
FILES = 1200
"""Of each job: so many that all three still run when the last pod has been replaced."""
TIMEOUT = 900


@pytest.fixture
def as_before(cluster_runtime: ClusterRuntime, repositories: Path) -> Iterator[None]:
    """The release as the other tests know it, when this one is over."""
    yield
    cluster_runtime.settle()
    deploy([repositories])


@pytest.fixture
def three_repositories(new_repository: Callable[[int], str]) -> list[str]:
    return [new_repository(FILES) for _ in range(3)]


def rolled(*components: str) -> dict[str, Any]:
    """Values by which each of these parts gets new pods, as from a release with other images."""
    return {part: {"podAnnotations": {"tests/rolled": uuid.uuid4().hex}} for part in components}


def pods_of(component: str) -> set[str]:
    selector = f"app.kubernetes.io/component={component}"
    return {
        pod["metadata"]["uid"] for pod in kubectl_json("get", "pods", "-n", NAMESPACE, "-l", selector)["items"]
    }


async def upgraded(
    runtime: ClusterRuntime, root: Path, repositories: list[str], *components: str
) -> tuple[list[str], dict[str, int]]:
    """Upgrade under load; return the jobs, ended, and what became of the calls."""
    before = {component: pods_of(component) for component in components}
    async with runtime.connect() as tools:
        jobs = [(await under_way(tools, repository))[0] for repository in repositories]
    calls: Calls = [
        ("get_indexing_status", {"job_id": jobs[0]}),
        ("search_code", {"query": "read the settings", "repo": repositories[0]}),
        ("list_indexing_jobs", {}),
    ]
    with calling(calls, CALLS_A_SECOND) as stop:
        await asyncio.to_thread(deploy, [root], settings=rolled(*components))
        outcomes = await asyncio.to_thread(stop)
    for component in components:
        assert not before[component] & pods_of(component), f"{component} was not replaced"
    async with runtime.connect() as tools:
        await all_completed(tools, jobs)
    return jobs, outcomes


async def all_completed(tools: Tools, jobs: list[str]) -> None:
    ends = {job: await finished(tools, job, timeout=TIMEOUT) for job in jobs}
    assert {job: end["error_message"] for job, end in ends.items() if end["status"] != "completed"} == {}


def repeated_share(jobs: list[str]) -> float:
    """How much of the jobs' work was done more than once."""
    rows = [facts(job) for job in jobs]
    return float(sum(row["files_repeated"] for row in rows) / sum(row["files_total"] for row in rows))


async def test_new_servers_and_operators_cost_no_call_and_no_job(
    cluster_runtime: ClusterRuntime, repositories: Path, three_repositories: list[str], as_before: None
) -> None:
    jobs, outcomes = await upgraded(cluster_runtime, repositories, three_repositories, "server", "operator")
    print(f"\n{sum(outcomes.values())} calls, {repeated_share(jobs):.2%} repeated")
    assert outcomes.pop("ok") > 10 * CALLS_A_SECOND
    assert outcomes == {}
    assert repeated_share(jobs) < 0.01


async def test_a_new_postgres_beside_them_costs_no_job_and_says_that_it_is_away(
    cluster_runtime: ClusterRuntime, repositories: Path, three_repositories: list[str], as_before: None
) -> None:
    """It is one pod: while it is replaced, a call that needs it is refused in words."""
    parts = ("server", "operator", "postgres")
    jobs, outcomes = await upgraded(cluster_runtime, repositories, three_repositories, *parts)
    print(f"\n{outcomes}, {repeated_share(jobs):.2%} repeated")
    assert outcomes.pop("ok") > 10 * CALLS_A_SECOND
    assert [outcome for outcome in outcomes if "unavailable: " not in outcome] == []
    assert repeated_share(jobs) < 0.01
