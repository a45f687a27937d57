"""The OCI archives that local_cluster writes: valid, complete, and the same for the same input."""

import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from hack.local_cluster import images
from hack.local_cluster.errors import ClusterError


def read(archive: Path) -> dict[str, bytes]:
    with tarfile.open(archive) as tar:
        return {entry.name: tar.extractfile(entry).read() for entry in tar}  # type: ignore[union-attr]


@pytest.fixture
def binary(tmp_path: Path) -> Path:
    path = tmp_path / "program"
    path.write_bytes(b"\x7fELF" + bytes(range(256)) * 500)
    return path


def blob(files: dict[str, bytes], descriptor: dict[str, Any]) -> bytes:
    algorithm, _, digest = descriptor["digest"].partition(":")
    data = files[f"blobs/{algorithm}/{digest}"]
    assert len(data) == descriptor["size"]
    return data


def test_every_descriptor_leads_to_the_bytes_it_describes(binary: Path, tmp_path: Path) -> None:
    images.write_archive(tmp_path / "a.tar", name="example.local/program:1", binary=binary)
    files = read(tmp_path / "a.tar")
    (entry,) = json.loads(files["index.json"])["manifests"]
    assert entry["annotations"]["io.containerd.image.name"] == "example.local/program:1"
    manifest = json.loads(blob(files, entry))
    config = json.loads(blob(files, manifest["config"]))
    layer = blob(files, manifest["layers"][0])
    assert config["rootfs"]["diff_ids"] == [f"sha256:{hashlib.sha256(layer).hexdigest()}"]
    for path, data in files.items():
        if path.startswith("blobs/sha256/"):
            assert path.removeprefix("blobs/sha256/") == hashlib.sha256(data).hexdigest()


def test_the_layer_holds_the_binary_as_an_executable_and_the_config_starts_it_as_nobody(
    binary: Path, tmp_path: Path
) -> None:
    images.write_archive(tmp_path / "a.tar", name="example.local/program:1", binary=binary)
    files = read(tmp_path / "a.tar")
    manifest = json.loads(blob(files, json.loads(files["index.json"])["manifests"][0]))
    config = json.loads(blob(files, manifest["config"]))["config"]
    with tarfile.open(fileobj=io.BytesIO(blob(files, manifest["layers"][0]))) as layer:
        (entry,) = layer.getmembers()
        content = layer.extractfile(entry)
        assert content is not None
        assert content.read() == binary.read_bytes()
    assert (entry.name, entry.mode) == ("program", 0o755)
    assert config == {"Entrypoint": ["/program"], "User": "65534:65534"}


def test_the_same_binary_gives_the_same_bytes_at_any_time(binary: Path, tmp_path: Path) -> None:
    images.write_archive(tmp_path / "a.tar", name="example.local/program:1", binary=binary)
    binary.touch()
    images.write_archive(tmp_path / "b.tar", name="example.local/program:1", binary=binary)
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()


def test_loading_a_file_that_is_not_there_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="make images"):
        images.load(tmp_path / "missing.tar", [1])
