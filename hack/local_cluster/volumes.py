"""PersistentVolumes on demand: a folder of the state for every claim of the StorageClass `standard`.

Run as a program of its own: `python3 -m hack.local_cluster.volumes KUBECONFIG FOLDER`. Kubernetes itself binds
what is created here; this only makes folders and volume objects, and removes both after their claim.
"""

import http.client
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .api import Api

STORAGE_CLASS = "standard"
PROVISIONER = "codebase-mcp.io/local"
_PROVISIONED_BY = "pv.kubernetes.io/provisioned-by"
_PAUSE_SECONDS = 1.0

Object = dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """Volumes to create (whole objects) and volumes to remove (names)."""

    create: list[Object]
    remove: list[str]


def plan(claims: list[Object], volumes: list[Object], folder: Path) -> Plan:
    """What is missing and what is left over, from full lists of claims and volumes."""
    existing = {volume["metadata"]["name"] for volume in volumes}
    wanted = [volume_for(claim, folder) for claim in claims if _waits_for_us(claim)]
    return Plan(
        create=[volume for volume in wanted if volume["metadata"]["name"] not in existing],
        remove=[volume["metadata"]["name"] for volume in volumes if _is_left_over(volume)],
    )


def _waits_for_us(claim: Object) -> bool:
    spec, phase = claim["spec"], claim.get("status", {}).get("phase")
    ours = spec.get("storageClassName") == STORAGE_CLASS and not spec.get("volumeName")
    return bool(ours and phase != "Bound" and "deletionTimestamp" not in claim["metadata"])


def _is_left_over(volume: Object) -> bool:
    ours = volume["metadata"].get("annotations", {}).get(_PROVISIONED_BY) == PROVISIONER
    delete = volume["spec"].get("persistentVolumeReclaimPolicy") == "Delete"
    return bool(ours and delete and volume.get("status", {}).get("phase") == "Released")


def volume_for(claim: Object, folder: Path) -> Object:
    """The volume object for a claim. Its name holds the claim's uid: a second pass makes no second volume."""
    meta, spec = claim["metadata"], claim["spec"]
    name = f"pvc-{meta['uid']}"
    reference = {key: meta[key] for key in ("namespace", "name", "uid")}
    # All nodes are one machine and see the same folders, so a volume follows its pod to any node.
    # `local` and not `hostPath`, because the kubelet then gives the folder to the pod's fsGroup.
    any_node = {"key": "kubernetes.io/os", "operator": "In", "values": ["linux"]}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name, "annotations": {_PROVISIONED_BY: PROVISIONER}},
        "spec": {
            "capacity": {"storage": spec["resources"]["requests"]["storage"]},
            "accessModes": spec["accessModes"],
            "volumeMode": "Filesystem",
            "persistentVolumeReclaimPolicy": "Delete",
            "storageClassName": STORAGE_CLASS,
            "claimRef": {"apiVersion": "v1", "kind": "PersistentVolumeClaim", **reference},
            "local": {"path": str(folder / name)},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [any_node]}]}},
        },
    }


def carry_out(todo: Plan, api: Api, folder: Path) -> None:
    """Folders exist before their volume and go before it, so an interrupted pass is repeated whole."""
    for volume in todo.create:
        path = folder / volume["metadata"]["name"]
        path.mkdir(parents=True, exist_ok=True)
        path.chmod(0o777)  # pods run as users of their own; nobody else is on this path
        _report("create", volume["metadata"]["name"], api.request("POST", _VOLUMES, volume)[0])
    for name in todo.remove:
        shutil.rmtree(folder / name, ignore_errors=True)
        _report("remove", name, api.request("DELETE", f"{_VOLUMES}/{name}")[0])


_VOLUMES = "/api/v1/persistentvolumes"
_CLAIMS = "/api/v1/persistentvolumeclaims"


def _report(verb: str, name: str, status: int) -> None:
    print(time.strftime("%H:%M:%S"), verb, name, status, flush=True)


def main() -> None:
    """Repeat plan and carry_out until the process is ended."""
    kubeconfig, folder = map(Path, sys.argv[1:])
    api = Api(kubeconfig)
    while True:
        try:
            carry_out(plan(api.items(_CLAIMS), api.items(_VOLUMES), folder), api, folder)
        except (OSError, http.client.HTTPException) as error:
            print(time.strftime("%H:%M:%S"), "the API server does not answer:", error, flush=True)
        time.sleep(_PAUSE_SECONDS)


if __name__ == "__main__":
    main()
