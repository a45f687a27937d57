"""The parts of the machine faults that need no machine: the room of a node, and who is where."""

from typing import Any
from uuid import UUID

import httpx
import pytest

from hack.deployment.chart import NAMESPACE
from tests.chaos.faults import machine_faults
from tests.chaos.harness.cluster import Pod, Victim
from tests.chaos.harness.machines import placement, until


class Lists:
    """An API server with one node and some pods."""

    def __init__(self, *pods: dict[str, Any]) -> None:
        self.pods = pods

    async def get(self, path: str, **_: str) -> dict[str, Any]:
        return {"status": {"allocatable": {"cpu": "2"}}} if "/nodes/" in path else {"items": self.pods}


class Reached:
    """As much of a Cluster as the room of a node needs."""

    def __init__(self, api: Lists) -> None:
        self.api = api


def pod(component: str, *requests: str, namespace: str = NAMESPACE) -> dict[str, Any]:
    containers: list[dict[str, Any]] = [{"resources": {"requests": {"cpu": cpu}}} for cpu in requests] or [{}]
    labels = {"app.kubernetes.io/component": component}
    return {"metadata": {"namespace": namespace, "labels": labels}, "spec": {"containers": containers}}


async def test_the_preemptor_takes_what_everybody_but_the_indexers_leaves() -> None:
    api = Lists(
        pod("postgres", "250m"), pod("server", "0.5", "50m"), pod("operator"),
        pod("indexer", "100m"), pod("indexer", "200m", namespace="another"),
    )  # fmt: skip
    assert await machine_faults.room_without_indexers(Reached(api), "node1") == 2000 - 250 - 500 - 50 - 200  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("victims", "operator", "says"),
    [("node2", "node1", None), ("node1", "node1", "job-a1"), ("node2", "node2", "operator")],
)
async def test_node_faults_refuse_a_placement_in_which_they_prove_nothing(
    victims: str, operator: str, says: str | None
) -> None:
    class Placed:
        async def components(self, name: str) -> list[Pod]:
            return [Pod(name, "uid", operator if name == "operator" else "node1")]

    victim = Victim(UUID(int=1), "job", 1, Pod("job-a1", "uid", victims))
    check = machine_faults.require_placement(Placed(), [victim])  # type: ignore[arg-type]
    if says is None:
        await check
    else:
        with pytest.raises(AssertionError, match=f"{says}.*placement"):
            await check


def test_only_a_cluster_that_can_lose_a_node_needs_a_placement() -> None:
    assert placement(1) == {}
    assert set(placement(2)) == {"postgres", "operator", "server", "indexer"}


async def test_waiting_outlives_an_api_server_that_is_away() -> None:
    answers: list[Exception | bool] = [httpx.ConnectError("refused"), False, True]

    async def holds() -> bool:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    await until(holds, "it holds", 5)
    assert not answers


async def test_waiting_in_vain_says_for_what() -> None:
    async def never() -> bool:
        return False

    with pytest.raises(TimeoutError, match="not so that pigs fly"):
        await until(never, "pigs fly", 0.3)
