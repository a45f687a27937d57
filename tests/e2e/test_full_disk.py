"""A second release whose Postgres has a small disk: the job fails with what to do, and nothing hangs."""

import json
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hack.deployment.chart import volume_name
from hack.deployment.commands import CHECKOUT, helm, kubectl, kubectl_json
from tests.support.waiting import wait_for

pytestmark = pytest.mark.cluster

NAMESPACE = "full-disk"
DISK = Path("/run/codebase-mcp-test-disk")
POSTGRES_UID = 999


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system of 144 MiB, of which an empty Postgres takes a third; the index needs some 120."""
    DISK.mkdir(exist_ok=True)
    options = f"size=144m,uid={POSTGRES_UID},gid={POSTGRES_UID},mode=700"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", DISK], check=True)
    yield DISK
    subprocess.run(["umount", "--lazy", DISK], check=True)
    DISK.rmdir()


@pytest.fixture
def release(server_url: str, repositories: Path, small_disk: Path) -> Iterator[None]:
    """The chart in a namespace of its own, on the small disk. (`server_url`: the CRD is installed by then.)"""
    root = str(repositories)
    volume, claim = f"small-{uuid.uuid4().hex[:8]}", volume_name(root)
    values = {
        "crds": {"enabled": False},
        "repositories": {"roots": [{"path": root, "existingClaim": claim}]},
        "postgres": {
            "storage": {"size": "100Mi", "storageClassName": "small-disk"},
            "settings": {"shared_buffers": "32MB", "min_wal_size": "32MB", "max_wal_size": "64MB"},
            "resources": {"requests": {"cpu": "50m", "memory": "128Mi"}},
        },
    }
    kubectl("create", "namespace", NAMESPACE)
    for name, size, path, scope in (
        (volume, "100Mi", str(small_disk), "small-disk"),
        (f"{claim}-{NAMESPACE}", "1Gi", root, ""),
    ):
        kubectl("create", "-f", "-", stdin=json.dumps(persistent_volume(name, size, path, scope)))
    kubectl("create", "-f", "-", stdin=json.dumps(claim_of(claim, f"{claim}-{NAMESPACE}")))
    values_file = small_disk.with_suffix(".json")
    values_file.write_text(json.dumps(values))
    images = str(CHECKOUT / ".images" / "values.yaml")
    try:
        helm(
            "install", NAMESPACE, str(CHECKOUT / "charts" / "codebase-mcp"), "--namespace", NAMESPACE,
            "--values", images, "--values", str(values_file), "--wait", "--timeout", "4m",
        )  # fmt: skip
        yield
    finally:
        values_file.unlink()
        kubectl("delete", "indexingjobs", "--all", "-n", NAMESPACE, "--timeout=30s")
        helm("uninstall", NAMESPACE, "--namespace", NAMESPACE, "--wait")
        kubectl("delete", "namespace", NAMESPACE, "--timeout=60s")
        kubectl("delete", "persistentvolume", volume, f"{claim}-{NAMESPACE}", "--timeout=30s")


def test_a_full_disk_fails_the_job_and_says_what_to_do(release: None, large_repository: str) -> None:
    manifest = {
        "apiVersion": "indexing.codebase-mcp.io/v1alpha1",
        "kind": "IndexingJob",
        "metadata": {"name": "too-large", "namespace": NAMESPACE},
        "spec": {"source": {"path": large_repository}},
    }
    kubectl("create", "-f", "-", stdin=json.dumps(manifest))
    wait_for(lambda: status().get("phase") in ("Failed", "Completed"), "the job is over", patience=240)
    assert (status()["phase"], status()["reason"]) == ("Failed", "InsufficientStorage")
    assert "insufficient storage" in status()["message"] and "enlarge" in status()["message"]


def status() -> dict[str, Any]:
    """The job's status."""
    return dict(kubectl_json("get", "indexingjob", "-n", NAMESPACE, "too-large").get("status") or {})


def persistent_volume(name: str, size: str, path: str, scope: str) -> dict[str, Any]:
    """A volume that is a folder of this machine."""
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {
            "capacity": {"storage": size},
            "accessModes": ["ReadWriteOnce", "ReadOnlyMany"],
            "storageClassName": scope,
            "persistentVolumeReclaimPolicy": "Retain",
            "hostPath": {"path": path, "type": "Directory"},
        },
    }


def claim_of(name: str, volume: str) -> dict[str, Any]:
    """A claim on one volume."""
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "accessModes": ["ReadOnlyMany"],
            "storageClassName": "",
            "volumeName": volume,
            "resources": {"requests": {"storage": "1Gi"}},
        },
    }
