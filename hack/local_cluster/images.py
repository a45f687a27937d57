"""Container images without a registry: write minimal OCI archives, import archives into the nodes."""

import hashlib
import io
import json
import os
import platform
import tarfile
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from .console import run
from .errors import ClusterError
from .paths import containerd_socket

# Never `latest`: Kubernetes would then try to pull them.
PAUSE_IMAGE = "codebase-mcp.local/pause:1"
COREDNS_IMAGE = "codebase-mcp.local/coredns:1.12.4"

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_OCI = "application/vnd.oci.image"


def architecture() -> str:
    """This machine's architecture, as Go and OCI call it."""
    machine = platform.machine()
    return _ARCHITECTURES.get(machine, machine)


def write_archive(target: Path, *, name: str, binary: Path, user: str = "65534:65534") -> None:
    """Write an OCI archive of an image that holds one static binary and nothing else.

    The same binary gives the same bytes: times and owners are fixed. The layer passes through a
    temporary file beside `target`, so binaries of any size need little memory.
    """
    unfinished = target.with_name(target.name + ".unfinished")
    with tempfile.TemporaryFile(dir=target.parent) as layer:
        with tarfile.open(fileobj=layer, mode="w", format=tarfile.PAX_FORMAT) as tar, binary.open("rb") as file:
            tar.addfile(_entry(f"{binary.name}", binary.stat().st_size, 0o755), file)
        layer.seek(0)
        digest = hashlib.file_digest(layer, "sha256").hexdigest()
        size = layer.seek(0, os.SEEK_END)
        layer.seek(0)
        with tarfile.open(unfinished, mode="w") as archive:
            archive.addfile(_entry(f"blobs/sha256/{digest}", size), layer)
            for path, data in _metadata(name, binary.name, user, digest, size):
                archive.addfile(_entry(path, len(data)), io.BytesIO(data))
    unfinished.replace(target)


def _metadata(name: str, program: str, user: str, layer: str, size: int) -> Iterable[tuple[str, bytes]]:
    """The JSON files of the archive, as (path, content)."""
    config = _json(
        {
            "architecture": architecture(),
            "os": "linux",
            "config": {"Entrypoint": [f"/{program}"], "User": user},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer}"]},
        }
    )
    yield _blob(config)
    manifest = _json(
        {
            "schemaVersion": 2,
            "mediaType": f"{_OCI}.manifest.v1+json",
            "config": _descriptor("config.v1+json", config),
            "layers": [
                {"mediaType": f"{_OCI}.layer.v1.tar", "digest": f"sha256:{layer}", "size": size},
            ],
        }
    )
    yield _blob(manifest)
    # The first annotation is containerd's, which takes it as the whole name of the image.
    naming = {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name}
    entry = {**_descriptor("manifest.v1+json", manifest), "annotations": naming}
    yield "index.json", _json({"schemaVersion": 2, "manifests": [entry]})
    yield "oci-layout", _json({"imageLayoutVersion": "1.0.0"})


def _entry(path: str, size: int, mode: int = 0o644) -> tarfile.TarInfo:
    info = tarfile.TarInfo(path)
    info.size, info.mode = size, mode
    return info


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True).encode()


def _blob(data: bytes) -> tuple[str, bytes]:
    return f"blobs/sha256/{hashlib.sha256(data).hexdigest()}", data


def _descriptor(kind: str, data: bytes) -> dict[str, object]:
    digest = hashlib.sha256(data).hexdigest()
    return {"mediaType": f"{_OCI}.{kind}", "digest": f"sha256:{digest}", "size": len(data)}


def load(archive: Path, nodes: Sequence[int]) -> list[str]:
    """Import an OCI or Docker archive into containerd on every node; returns what containerd said.

    Raises ClusterError when the file is missing or is not an image archive.
    """
    if not archive.is_file():
        raise ClusterError(f"There is no file {archive}. Build the images first (make images).")
    said = []
    for number in nodes:
        ctr = ["ctr", f"--address={containerd_socket(number)}", "--namespace=k8s.io"]
        hint = f"Is {archive} an image archive (buildah push IMAGE oci-archive:FILE:NAME)?"
        said += run([*ctr, "images", "import", archive.resolve()], hint=hint).splitlines()
    return said
