"""Faults of nodes, of the control plane, and of the whole cluster. They need the built-in one."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

from hack.deployment.chart import NAMESPACE
from hack.deployment.commands import kubectl
from tests.chaos.faults.cancellations import Cancellation, by_mcp
from tests.chaos.faults.faults import Fault
from tests.chaos.faults.service_faults import renew
from tests.chaos.harness import machines
from tests.chaos.harness.cluster import JOBS, PODS, Cluster, Victim
from tests.chaos.harness.machines import CRITICAL, LOST_NODE, NODES, until

_NODE = f"node{LOST_NODE}"
_OUTAGE_SECONDS = 60.0
_ACTS_WITHIN_SECONDS = 10.0
"""How soon after the API server's return the operator has told it what happened meanwhile."""

_OLD_POD_LIVES_SECONDS = 25.0
"""A cut ends when every job has a successor at work, or after so long."""

_CONTROLLERS = ("kube-controller-manager", "kube-scheduler")

_KUBELET_AWAY_SECONDS = 8.0

_PREEMPTORS = "/api/v1/namespaces/default/pods"
_PRIORITIES = "/apis/scheduling.k8s.io/v1/priorityclasses"
_URGENT = "chaos-urgent"


# --- a node ----------------------------------------------------------------------------------------


async def cut_node_off(cluster: Cluster, victims: Sequence[Victim]) -> datetime:
    """Cut the victims' node off. Their pods live on and hold on to their work until the network returns."""
    await require_placement(cluster, victims)
    moment = datetime.now(UTC)
    await machines.cut_off()
    _later.append(asyncio.create_task(_reconnect_when_replaced(cluster, victims)))
    return moment


_later: list[asyncio.Task[None]] = []
"""What ends a fault in the midst of the jobs that it struck."""


async def _reconnect_when_replaced(cluster: Cluster, victims: Sequence[Victim]) -> None:
    """End the cut as soon as successors work: then the old pods meet them in the database."""
    try:
        with contextlib.suppress(TimeoutError):
            await until(partial(_replaced, cluster, victims), "all jobs have successors", _OLD_POD_LIVES_SECONDS)
    finally:
        await machines.reconnect()


async def _replaced(cluster: Cluster, victims: Sequence[Victim]) -> bool:
    connection = await cluster.connect()
    try:
        for victim in victims:
            job = await connection.fetchrow("SELECT attempt, pod FROM jobs WHERE id = $1", victim.job_id)
            if job["attempt"] <= victim.attempt or job["pod"] is None:
                return False
        return True
    finally:
        connection.terminate()


async def reconnected(cluster: Cluster) -> None:
    """Wait for the cut's end, and until nothing of the old pods is left on the node."""
    while _later:
        await _later.pop()
    await machines.repaired(cluster)


async def power_node_off(cluster: Cluster, victims: Sequence[Victim]) -> datetime:
    """End every process of the victims' node behind a cut, so that nothing says goodbye."""
    await require_placement(cluster, victims)
    moment = datetime.now(UTC)
    await machines.power_off_node()
    return moment


async def drain(cluster: Cluster, victims: Sequence[Victim]) -> datetime:
    """Drain the victims' node, as an administrator does before maintenance."""
    await require_placement(cluster, victims)
    moment = datetime.now(UTC)
    options = ("--ignore-daemonsets", "--delete-emptydir-data", "--force", "--timeout=60s")
    await asyncio.to_thread(kubectl, "drain", _NODE, *options)
    return moment


async def uncordon(_: Cluster) -> None:
    """Let pods onto the drained node again."""
    await asyncio.to_thread(kubectl, "uncordon", _NODE)


async def restart_kubelets(cluster: Cluster, victims: Sequence[Victim]) -> datetime:
    """SIGKILL the kubelets of the victims' nodes for a while. Raises AssertionError when a job notices it."""
    moment = datetime.now(UTC)
    kubelets = {f"{victim.pod.node}-kubelet" for victim in victims}
    for kubelet in kubelets:
        machines.signalled(kubelet, signal.SIGKILL)
    try:
        await asyncio.sleep(_KUBELET_AWAY_SECONDS)
    finally:
        for kubelet in kubelets:
            await machines.start_again(kubelet)
    assert not await _disturbed(cluster, victims), "a kubelet's restart made a job start again"
    return moment


async def _disturbed(cluster: Cluster, victims: Sequence[Victim]) -> list[str]:
    """The victims whose job has another attempt than at the moment of the fault."""
    connection = await cluster.connect()
    try:
        attempts = await connection.fetch(
            "SELECT id, attempt FROM jobs WHERE id = ANY ($1::uuid[])", [victim.job_id for victim in victims]
        )
    finally:
        connection.terminate()
    before = {victim.job_id: victim.attempt for victim in victims}
    return [str(row["id"]) for row in attempts if row["attempt"] != before[row["id"]]]


async def require_placement(cluster: Cluster, victims: Sequence[Victim]) -> None:
    """Raise AssertionError unless the node's loss hits all victims, and only them."""
    elsewhere = [victim.pod.name for victim in victims if victim.pod.node != _NODE]
    lost = [name for name in CRITICAL for pod in await cluster.components(name) if pod.node == _NODE]
    assert not (elsewhere or lost), (
        f"on {_NODE} should run {elsewhere} and not {lost}; deploy the chart with machines.placement()"
    )


# --- the API server --------------------------------------------------------------------------------


async def freeze_api(cluster: Cluster, victims: Sequence[Victim]) -> datetime:
    """SIGSTOP the API server for a minute: connections stay open, and nothing is answered."""

    async def thaw() -> None:
        machines.signalled("kube-apiserver", signal.SIGCONT)

    return await _without_api(cluster, victims, signal.SIGSTOP, thaw)


async def restart_api(cluster: Cluster, victims: Sequence[Victim]) -> datetime:
    """SIGKILL the API server, and start it again a minute later."""
    return await _without_api(cluster, victims, signal.SIGKILL, partial(machines.start_again, "kube-apiserver"))


async def _without_api(
    cluster: Cluster, victims: Sequence[Victim], end: signal.Signals, begin: Callable[[], Awaitable[None]]
) -> datetime:
    """Take the API server away; the moment is the outage's begin, for the jobs must not notice it.

    Controllers and scheduler end with it, as in production, where they lose their leases: ones that lived on would
    take every node for lost, having heard of none for a minute. Raises AssertionError when a job was disturbed, or
    the operator was restarted, and TimeoutError when it did not act soon after the outage.
    """
    operator = await _restarts_of(cluster, "operator")
    moment = datetime.now(UTC)
    machines.signalled("kube-apiserver", end)
    for controller in _CONTROLLERS:
        machines.signalled(controller, signal.SIGKILL)
    try:
        await asyncio.sleep(_OUTAGE_SECONDS)
        disturbed = await _disturbed(cluster, victims)
    finally:
        await begin()
    await machines.api_answers(cluster)
    for controller in _CONTROLLERS:
        await machines.start_again(controller)
    assert not disturbed, f"jobs {disturbed} started again while the API server was away"
    await until(partial(_told, cluster, victims), "every job's end is told", _ACTS_WITHIN_SECONDS)
    assert await _restarts_of(cluster, "operator") == operator, "the operator was restarted"
    return moment


@contextlib.asynccontextmanager
async def api_away(cluster: Cluster, _: Sequence[Victim]) -> AsyncIterator[None]:
    """The API server hangs: neither the operator nor the kubelet can be told anything."""
    machines.signalled("kube-apiserver", signal.SIGSTOP)
    try:
        yield
    finally:
        machines.signalled("kube-apiserver", signal.SIGCONT)
        await machines.api_answers(cluster)


async def _told(cluster: Cluster, victims: Sequence[Victim]) -> bool:
    """Whether the custom resources say what the database says."""
    connection = await cluster.connect()
    try:
        rows = await connection.fetch(
            "SELECT id, cr_name, state::text FROM jobs WHERE id = ANY ($1::uuid[])", [v.job_id for v in victims]
        )
    finally:
        connection.terminate()
    for row in rows:
        status = (await cluster.api.get(f"{JOBS}/{row['cr_name']}")).get("status") or {}
        if status.get("phase", "").lower() != row["state"]:
            return False
    return True


async def _restarts_of(cluster: Cluster, component: str) -> tuple[str, int]:
    pod = await cluster.component(component)
    status = (await cluster.api.get(f"{PODS}/{pod.name}"))["status"]
    return pod.uid, sum(container["restartCount"] for container in status["containerStatuses"])


# --- the scheduler ---------------------------------------------------------------------------------


async def preempt(cluster: Cluster, victims: Sequence[Victim]) -> datetime:
    """Let a more urgent pod take the indexers' room on their nodes, and then give it back."""
    nodes = {victim.pod.node for victim in victims}
    await cluster.api.delete(f"{_PRIORITIES}/{_URGENT}")
    urgent = {"metadata": {"name": _URGENT}, "value": 1_000_000, "description": "Takes the indexers' room."}
    await cluster.api.create(_PRIORITIES, urgent)
    for node in sorted(nodes):
        await cluster.api.create(_PREEMPTORS, _preemptor(node, await room_without_indexers(cluster, node)))
    try:
        await until(partial(_all_going, cluster, victims), "the indexers are preempted", 30)
    finally:
        await no_preemptors(cluster)
    return datetime.now(UTC)


async def _all_going(cluster: Cluster, victims: Sequence[Victim]) -> bool:
    for victim in victims:
        pods = await cluster.pods_of(victim.job_id)
        if any(p["metadata"]["uid"] == victim.pod.uid and "deletionTimestamp" not in p["metadata"] for p in pods):
            return False
    return True


async def no_preemptors(cluster: Cluster) -> None:
    """Give the room back."""
    await cluster.api.delete(_PREEMPTORS, labelSelector=f"app={_URGENT}", gracePeriodSeconds="0")
    await cluster.api.delete(f"{_PRIORITIES}/{_URGENT}")


async def room_without_indexers(cluster: Cluster, node: str) -> int:
    """Millicores of a node that are free, once its indexers have gone."""
    allocatable = (await cluster.api.get(f"{NODES}/{node}"))["status"]["allocatable"]["cpu"]
    query = f"spec.nodeName={node},status.phase!=Succeeded,status.phase!=Failed"
    pods = (await cluster.api.get("/api/v1/pods", fieldSelector=query))["items"]
    others = [pod for pod in pods if not _is_indexer(pod)]
    return _millicores(allocatable) - sum(_requested(pod) for pod in others)


def _is_indexer(pod: dict[str, Any]) -> bool:
    labels = pod["metadata"].get("labels", {})
    return bool(
        pod["metadata"]["namespace"] == NAMESPACE and labels.get("app.kubernetes.io/component") == "indexer"
    )


def _requested(pod: dict[str, Any]) -> int:
    containers = pod["spec"]["containers"]
    return sum(_millicores((c.get("resources", {}).get("requests") or {}).get("cpu", "0")) for c in containers)


def _millicores(quantity: str) -> int:
    return int(quantity[:-1]) if quantity.endswith("m") else round(float(quantity) * 1000)


def _preemptor(node: str, millicores: int) -> dict[str, Any]:
    resources = {"requests": {"cpu": f"{millicores}m"}}
    return {
        "metadata": {"name": f"{_URGENT}-{node}", "labels": {"app": _URGENT}},
        "spec": {
            "priorityClassName": _URGENT,
            "nodeSelector": {"kubernetes.io/hostname": node},
            "terminationGracePeriodSeconds": 0,
            "containers": [{"name": "pause", "image": "codebase-mcp.local/pause:1", "resources": resources}],
        },
    }


# --- everything ------------------------------------------------------------------------------------


async def stop_everything(cluster: Cluster, _: Sequence[Victim]) -> datetime:
    """End every process of the cluster at once and start it again; return when Postgres answers."""
    await machines.power_off()
    begun = asyncio.create_task(machines.repaired(cluster))
    await cluster.database_answers()
    moment = datetime.now(UTC)
    await begun
    return moment


async def renew_all(cluster: Cluster) -> None:
    """Replace the pods that started again: else the kubelet waits longer before the next time."""
    for component in ("postgres", "operator", "server"):
        await renew(component, cluster)


async def undo_all(cluster: Cluster) -> None:
    """Undo whatever any of these faults may have left, because it was interrupted."""
    await reconnected(cluster)
    if cluster.nodes >= LOST_NODE:
        await uncordon(cluster)
    await no_preemptors(cluster)


CANCELLATIONS = (Cancellation("cancel-api-away", "cancel while the API server hangs", by_mcp, True, api_away),)

FAULTS = (
    Fault(
        "node-cut-off", "node lost (network cut; comes back)", cut_node_off, reconnected, nodes=2, hits_all=True
    ),
    Fault(
        "node-powered-off", "node lost (power loss)", power_node_off, machines.repaired, nodes=2, hits_all=True
    ),
    Fault("node-drained", "node drained", drain, uncordon, nodes=2, hits_all=True),
    Fault("kubelet-killed", "kubelet SIGKILLed, away 8 s", restart_kubelets, kills_worker=False, hits_all=True),
    Fault(
        "api-frozen", "API server hangs for 60 s (SIGSTOP)", freeze_api, machines.repaired,
        kills_worker=False, hits_all=True, counted_from="the outage's begin",
    ),
    Fault(
        "api-killed", "API server SIGKILLed, away for 60 s", restart_api, machines.repaired,
        kills_worker=False, hits_all=True, counted_from="the outage's begin",
    ),
    Fault(
        "preempted", "preempted by a more urgent pod", preempt, no_preemptors,
        hits_all=True, counted_from="room is free again",
    ),
    Fault(
        "cluster-stopped", "whole cluster stopped and started", stop_everything, renew_all,
        hits_all=True, counted_from="Postgres answers",
    ),
)  # fmt: skip
