"""Installs or updates the chart, with folders of this machine as repository roots.

The namespace enforces Pod Security `restricted`, which forbids hostPath volumes in pods; so each root becomes a
read-only PersistentVolume and a claim, as an administrator would offer it.
"""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from hack.deployment.commands import CHECKOUT, CommandFailed, helm, kubectl

NAMESPACE = "codebase-mcp"
RELEASE = "codebase-mcp"
_STATE = CHECKOUT / ".demo"
_IMAGES = CHECKOUT / ".images" / "values.yaml"


def deploy(
    roots: Iterable[Path], *, git_hosts: Iterable[str] = (), settings: dict[str, Any] | None = None
) -> None:
    """Install the chart, or bring it up to date, and wait until it serves.

    `roots` are folders of this machine that may be indexed; those of earlier calls are kept while they exist.
    `settings` are further chart values. Safe to repeat. Raises CommandFailed.
    """
    asked = {str(path.resolve()) for path in roots}
    for path in asked:
        # A volume on a folder that is not there would keep every pod waiting for it.
        if not Path(path).is_dir():
            raise CommandFailed(f"{path} is not a directory of this machine; name the repository's top folder")
    _namespace()
    all_roots = sorted(asked | {root for root in _known_roots() if Path(root).is_dir()})
    for root in all_roots:
        _volume(root)
    values = {
        "repositories": {
            "roots": [{"path": root, "existingClaim": volume_name(root)} for root in all_roots],
            "gitHosts": sorted(git_hosts),
        },
        # Git servers of tests are on this machine.
        "networkPolicy": {"privateNetworks": ["0.0.0.0/0", "::/0"]},
        **(settings or {}),
    }
    _STATE.mkdir(exist_ok=True)
    values_file = _STATE / "values.json"
    values_file.write_text(json.dumps(values, indent=2))
    helm(
        "upgrade", "--install", RELEASE, str(CHECKOUT / "charts" / "codebase-mcp"),
        "--namespace", NAMESPACE, "--values", str(_IMAGES), "--values", str(values_file),
        # The operator's wiring tests apply the CRD by themselves; the release takes it over.
        "--take-ownership", "--wait", "--timeout", "5m",
    )  # fmt: skip


def root_above(path: Path) -> Path:
    """Return the known root that a path lies under, or the path itself, to be made a root."""
    path = path.resolve()
    for root in _known_roots():
        if path.is_relative_to(root):
            return Path(root)
    return path


def volume_name(root: str) -> str:
    """Name of the volume and claim of a root."""
    return f"repositories-{hashlib.sha256(root.encode()).hexdigest()[:10]}"


def _known_roots() -> list[str]:
    """The roots of the release that is installed now."""
    try:
        values = json.loads(helm("get", "values", RELEASE, "--namespace", NAMESPACE, "-o", "json"))
    except CommandFailed:
        return []
    return [root["path"] for root in ((values or {}).get("repositories") or {}).get("roots", [])]


def _namespace() -> None:
    _apply(
        {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {
                "name": NAMESPACE,
                "labels": {"pod-security.kubernetes.io/enforce": "restricted"},
            },
        }
    )


def _volume(root: str) -> None:
    name = volume_name(root)
    shared = {"accessModes": ["ReadOnlyMany"], "storageClassName": "", "volumeName": name}
    claimed = {"namespace": NAMESPACE, "name": name}
    _apply(
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": name},
            "spec": {
                "capacity": {"storage": "1Gi"},
                "accessModes": shared["accessModes"],
                "storageClassName": "",
                "persistentVolumeReclaimPolicy": "Retain",
                "claimRef": claimed,
                "hostPath": {"path": root, "type": "Directory"},
            },
        }
    )
    _apply(
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": claimed,
            "spec": {**shared, "resources": {"requests": {"storage": "1Gi"}}},
        }
    )


def _apply(manifest: dict[str, Any]) -> None:
    kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=json.dumps(manifest))
