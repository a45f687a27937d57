"""Faults of pods, done through the API as an administrator or the cluster itself does them."""

from collections.abc import Sequence
from datetime import UTC, datetime

from hack.deployment.chart import NAMESPACE
from tests.chaos.faults.faults import Fault
from tests.chaos.harness.cluster import PODS, Cluster, Victim


async def delete(cluster: Cluster, victims: Sequence[Victim]) -> datetime:
    """Delete the pod, with its own grace period."""
    moment = datetime.now(UTC)
    for victim in victims:
        await cluster.api.delete(f"{PODS}/{victim.pod.name}")
    return moment


async def evict(cluster: Cluster, victims: Sequence[Victim]) -> datetime:
    """Evict the pod, as `kubectl drain` does."""
    moment = datetime.now(UTC)
    for victim in victims:
        eviction = {
            "apiVersion": "policy/v1", "kind": "Eviction",
            "metadata": {"name": victim.pod.name, "namespace": NAMESPACE},
        }  # fmt: skip
        await cluster.api.create(f"{PODS}/{victim.pod.name}/eviction", eviction)
    return moment


async def delete_by_force(cluster: Cluster, victims: Sequence[Victim]) -> datetime:
    """Remove the pod from the API at once: its processes live on until the kubelet notices."""
    moment = datetime.now(UTC)
    for victim in victims:
        await cluster.api.delete(f"{PODS}/{victim.pod.name}", gracePeriodSeconds="0")
    return moment


FAULTS = (
    Fault("pod-deleted", "pod deleted", delete),
    Fault("pod-evicted", "pod evicted", evict),
    Fault("pod-force-deleted", "pod deleted by force", delete_by_force),
)
