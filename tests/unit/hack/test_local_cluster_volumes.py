"""Which volumes are made for which claims, and when they go."""

from pathlib import Path
from typing import Any

import pytest

from hack.local_cluster import volumes

FOLDER = Path("/state/volumes")


def claim(uid: str = "u1", **changes: Any) -> dict[str, Any]:
    value: dict[str, Any] = {
        "metadata": {"name": "data", "namespace": "app", "uid": uid},
        "spec": {
            "storageClassName": "standard",
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "10Gi"}},
        },
        "status": {"phase": "Pending"},
    }
    for path, change in changes.items():
        value[path].update(change)
    return value


def volume(phase: str, **changes: Any) -> dict[str, Any]:
    value = volumes.volume_for(claim(), FOLDER)
    value["status"] = {"phase": phase}
    for path, change in changes.items():
        value[path].update(change)
    return value


def test_a_waiting_claim_gets_one_volume_that_only_it_can_bind() -> None:
    (made,) = volumes.plan([claim()], [], FOLDER).create
    assert made["spec"]["claimRef"]["uid"] == "u1"
    assert made["spec"]["capacity"] == {"storage": "10Gi"}
    assert made["spec"]["local"]["path"] == "/state/volumes/pvc-u1"
    assert volumes.plan([claim()], [made], FOLDER).create == []


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"spec": {"storageClassName": ""}}, id="it asks for no class"),
        pytest.param({"spec": {"storageClassName": "other"}}, id="it asks for another class"),
        pytest.param({"spec": {"volumeName": "mine"}}, id="it names its volume"),
        pytest.param({"status": {"phase": "Bound"}}, id="it is bound"),
        pytest.param({"metadata": {"deletionTimestamp": "now"}}, id="it is being deleted"),
    ],
)
def test_a_claim_gets_no_volume_when(changes: dict[str, Any]) -> None:
    assert volumes.plan([claim(**changes)], [], FOLDER).create == []


def test_a_released_volume_goes_and_a_new_claim_of_the_same_name_gets_its_own() -> None:
    plan = volumes.plan([claim("u2")], [volume("Released")], FOLDER)
    assert plan.remove == ["pvc-u1"]
    assert [made["metadata"]["name"] for made in plan.create] == ["pvc-u2"]


@pytest.mark.parametrize(
    "kept",
    [
        pytest.param(volume("Bound"), id="it is bound"),
        pytest.param(volume("Available"), id="its claim has not bound it yet"),
        pytest.param(volume("Released", spec={"persistentVolumeReclaimPolicy": "Retain"}), id="it is retained"),
        pytest.param(volume("Released", metadata={"annotations": {}}), id="somebody else made it"),
    ],
)
def test_a_volume_stays_when(kept: dict[str, Any]) -> None:
    assert volumes.plan([], [kept], FOLDER).remove == []
