"""`make publish` with a small image in place of the four: a real builder, a real registry, a client that pulls."""

import hashlib
import json
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest

from hack.images import build, publish
from hack.images.catalog import Image
from hack.local_cluster.errors import ClusterError

# No name of ours, whose layers the builder would forget for it.
SMALL = Image("greeting", "tests/publish/image")
_MANIFEST = "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"


@pytest.fixture(autouse=True)
def small_catalog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One small image is all that there is to build, and the checkout's own archives stay as they are."""
    monkeypatch.setattr(build, "IMAGES", (SMALL,))
    monkeypatch.setattr(build, "OUTPUT", tmp_path / ".images")
    monkeypatch.setattr(build, "_VALUES", tmp_path / ".images" / "values.yaml")


def published() -> dict[str, str]:
    """What the chart is told about the image."""
    names = json.loads((build.OUTPUT / "published.yaml").read_text())["images"]
    entry: dict[str, str] = names[SMALL.name]
    return entry


def pull(registry: str, path: str) -> bytes:
    """Get one thing below /v2/search/greeting/, as a node does."""
    answer = httpx.get(f"http://{registry}/v2/search/{SMALL.name}/{path}", headers={"Accept": _MANIFEST})
    answer.raise_for_status()
    return answer.content


def digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def test_what_is_pulled_is_what_was_built(registry: str, capfd: pytest.CaptureFixture[str]) -> None:
    publish.run(f"{registry}/search", "1.2.0")

    names = published()
    assert names["repository"] == f"{registry}/search/{SMALL.name}"
    manifest = pull(registry, f"manifests/{names['tag']}")
    assert names["tag"] == "1.2.0"
    assert digest(manifest) == names["digest"]
    assert digest(pull(registry, f"manifests/{names['digest']}")) == names["digest"]
    parts: dict[str, Any] = json.loads(manifest)
    for part in (parts["config"], *parts["layers"]):
        assert digest(pull(registry, f"blobs/{part['digest']}")) == part["digest"]
    assert parts["config"]["digest"] == digest(built_configuration()), "the image that was built, and no other"
    assert f"--values {build.OUTPUT}/published.yaml" in capfd.readouterr().out


def built_configuration() -> bytes:
    """What names an image wherever it goes: its configuration, with the digests of its unpacked layers."""
    _, archive = build.built()[SMALL.name]
    command = ["skopeo", "inspect", "--config", "--raw", f"{publish.transport(archive)}:{archive}"]
    return subprocess.run(command, capture_output=True, check=True).stdout


def test_an_archive_as_docker_writes_it_is_pushed_too(registry: str, tmp_path: Path) -> None:
    build.run()
    reference, archive = build.built()[SMALL.name]
    unpacked = json.loads(built_configuration())["rootfs"]
    # Docker's archives hold plain layers, so they are unpacked on the way.
    copy(f"{publish.transport(archive)}:{archive}", f"dir:{tmp_path}/plain", "--dest-decompress")
    archive.unlink()
    copy(f"dir:{tmp_path}/plain", f"docker-archive:{archive}:{reference}")

    publish.run(f"{registry}/search", "1.2.0")

    assert publish.transport(archive) == "docker-archive"
    manifest = pull(registry, "manifests/1.2.0")
    assert digest(manifest) == published()["digest"]
    pulled = pull(registry, f"blobs/{json.loads(manifest)['config']['digest']}")
    assert json.loads(pulled)["rootfs"] == unpacked


def copy(source: str, target: str, *options: str) -> None:
    subprocess.run(["skopeo", "--insecure-policy", "copy", "--quiet", *options, source, target], check=True)


def test_without_a_version_the_tag_follows_from_the_content(registry: str) -> None:
    publish.run(f"{registry}/search")
    reference, _ = build.built()[SMALL.name]
    assert published()["tag"] == reference.rpartition(":")[2]
    assert digest(pull(registry, f"manifests/{published()['tag']}")) == published()["digest"]


def test_a_registry_that_does_not_answer_is_named_with_what_to_do(registry: str) -> None:
    nobody = "127.0.0.1:1"
    with pytest.raises(ClusterError, match=rf"skopeo .*{nobody}.* refused.*Does {nobody} answer.*skopeo login"):
        publish.run(f"{nobody}/search")
    assert not (build.OUTPUT / "published.yaml").exists()
