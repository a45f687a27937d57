"""The machines below the built-in cluster: what can be broken there, what repairs it, and who runs where."""

import asyncio
import signal
from collections.abc import Callable
from typing import Any

import httpx

from hack.local_cluster import cleanup, cluster, network, processes
from hack.local_cluster.paths import own_state
from tests.chaos.harness.api import ApiRefused
from tests.chaos.harness.cluster import Cluster

NODES = "/api/v1/nodes"
LOST_NODE = 2
"""The node that is lost; node 1 shares its network with the control plane."""

CRITICAL = ("postgres", "operator", "server")
"""Components without which nothing recovers."""

PATIENCE_SECONDS = 90.0


def placement(nodes: int) -> dict[str, Any]:
    """Chart values for a cluster of so many nodes: what a lost node must not take stands on node 1, and indexers
    prefer the node that is going to be lost. They do not insist: their successors go elsewhere."""
    if nodes < 2:
        return {}
    beside_control_plane = {"nodeSelector": {"kubernetes.io/hostname": "node1"}}
    where = [{"key": "kubernetes.io/hostname", "operator": "In", "values": [f"node{LOST_NODE}"]}]
    term = {"weight": 50, "preference": {"matchExpressions": where}}
    affinity = {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [term]}}
    return {
        **dict.fromkeys(CRITICAL, beside_control_plane),
        "indexer": {"affinity": affinity},
    }


async def until(holds: Callable[[], Any], what: str, seconds: float = PATIENCE_SECONDS) -> None:
    """Ask `holds`, a coroutine function, several times a second until it says yes, through outages of the API.

    Raises TimeoutError with `what` after so many seconds.
    """
    try:
        async with asyncio.timeout(seconds):
            while True:
                try:
                    if await holds():
                        return
                except (httpx.TransportError, ApiRefused):
                    pass  # away, or not yet ready again
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise TimeoutError(f"after {seconds:.0f} s it is not so that {what}") from None


async def api_answers(reached: Cluster) -> None:
    """Wait until the API server says that it is ready. Raises TimeoutError."""

    async def ready() -> bool:
        await reached.api.get(NODES)
        return True

    await until(ready, "the API server answers")


async def repaired(reached: Cluster) -> None:
    """Start whatever is missing, and wait until every node and every component is well again.

    Raises ClusterError or TimeoutError.
    """
    await asyncio.to_thread(cluster.up, own_state(), reached.nodes)

    async def nodes_free() -> bool:
        nodes = (await reached.api.get(NODES))["items"]
        # A node that was lost for long keeps its taints for some seconds after it is Ready.
        return all(_is_ready(node) and not node["spec"].get("taints") for node in nodes)

    await until(nodes_free, "all nodes are ready, and none is tainted")
    for component in CRITICAL:
        await reached.ready(component)
    await reached.database_answers()


def _is_ready(node: dict[str, Any]) -> bool:
    conditions = node["status"].get("conditions", [])
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


async def cut_off() -> None:
    """Lose every packet from and to the node, in silence."""
    await asyncio.to_thread(network.cut_off, LOST_NODE)


async def reconnect() -> None:
    """End the cut."""
    await asyncio.to_thread(network.reconnect, LOST_NODE)


async def power_off_node() -> None:
    """End every process of the node without a word to anybody."""
    await asyncio.to_thread(cleanup.power_off_node, own_state(), LOST_NODE)


async def power_off() -> None:
    """End every process of the cluster at once."""
    await asyncio.to_thread(cleanup.power_off, own_state())


def signalled(program: str, number: signal.Signals) -> None:
    """Signal one of the cluster's programs. Raises LookupError when it does not run."""
    if not processes.signalled(program, number):
        raise LookupError(f"{program} does not run; see `make status`")


async def start_again(program: str) -> None:
    """Start one program that was killed."""
    await asyncio.to_thread(cluster.start_again, own_state(), program)
