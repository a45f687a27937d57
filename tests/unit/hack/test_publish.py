"""`make publish`: what names an image, how skopeo is asked, and that the chart takes what is written."""

import io
import json
import tarfile
from pathlib import Path

import pytest

from hack.images import build, publish
from hack.images.catalog import IMAGES
from hack.local_cluster import host
from hack.local_cluster.errors import ClusterError
from tests.unit.chart.rendering import call

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("registry", "host"),
    [
        ("registry.example.org/search", "registry.example.org"),
        ("registry.example.org:5000/a/b-c/d.e__f", "registry.example.org:5000"),
        ("docker.io/account", "docker.io"),
        ("registry.example.org", "registry.example.org"),
        ("localhost/search", "localhost"),
        ("registry:5000/search", "registry:5000"),
        ("[::1]:5000/search", "[::1]:5000"),
    ],
)
def test_images_are_named_below_a_registry(registry: str, host: str) -> None:
    assert publish.check(registry, "1.2.0") == host


@pytest.mark.parametrize(
    "registry",
    ["", "account", "account/search", "https://registry.example.org/search", "registry.example.org/Search",
     "registry.example.org/", "registry.example.org/search:1.0", "registry.example.org/a b", "-o/x", "a.b/--c"],
)  # fmt: skip
def test_what_names_no_registry_is_refused_with_an_example(registry: str) -> None:
    with pytest.raises(ClusterError, match="make publish REGISTRY=registry"):
        publish.check(registry, "")


@pytest.mark.parametrize("version", ["latest", "1 2", "-1", "a/b", "ü", "x" * 129])
def test_what_cannot_be_a_tag_is_refused(version: str) -> None:
    with pytest.raises(ClusterError, match="cannot be the tag"):
        publish.check("registry.example.org/search", version)


def test_a_password_in_the_address_is_refused_and_not_repeated() -> None:
    with pytest.raises(ClusterError) as refused:
        publish.check("me:hunter2@registry.example.org/search", "")
    assert "hunter2" not in str(refused.value)


class Skopeo:
    """Stands for skopeo: remembers how it was asked, and writes a digest."""

    def __init__(self) -> None:
        self.commands: list[list[str]] = []

    def __call__(self, command: list[object], **_: object) -> str:
        words = [str(word) for word in command]
        self.commands.append(words)
        (file,) = (word.partition("=")[2] for word in words if word.startswith("--digestfile="))
        Path(file).write_text(DIGEST)
        return ""


@pytest.fixture
def skopeo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Skopeo:
    """A build of four images is there: indexer's by Docker, the others by buildah."""
    output = tmp_path / ".images"
    output.mkdir()
    monkeypatch.setattr(build, "OUTPUT", output)
    monkeypatch.setattr(build, "_VALUES", output / "values.yaml")
    monkeypatch.setattr(build, "run", lambda: None)
    names = {image.name: {"repository": image.repository, "tag": "c0ffee"} for image in IMAGES}
    (output / "values.yaml").write_text(json.dumps({"images": names}))
    for image in IMAGES:
        members = ["index.json", "oci-layout", *(["manifest.json"] if image.name == "indexer" else [])]
        archive(build.archive_of(image, "c0ffee"), members)
    stand_in = Skopeo()
    monkeypatch.setattr(publish, "run_command", stand_in)
    monkeypatch.setattr(host, "ensure_packages", lambda packages: None)
    return stand_in


def archive(path: Path, members: list[str]) -> None:
    with tarfile.open(path, "w") as tar:
        for member in members:
            tar.addfile(tarfile.TarInfo(member), io.BytesIO())


def test_each_archive_is_copied_in_its_own_form(skopeo: Skopeo) -> None:
    publish.run("registry.example.org/search")
    sources = [command[-2].partition(":")[0] for command in skopeo.commands]
    assert sources == ["docker-archive", "oci-archive", "oci-archive", "oci-archive"]
    targets = [command[-1] for command in skopeo.commands]
    assert targets == [f"docker://registry.example.org/search/{image.name}:c0ffee" for image in IMAGES]


@pytest.mark.parametrize(
    ("registry", "verify"),
    [("registry.example.org/a", "true"), ("registry:5000", "true"), ("127.0.0.1.example.org/a", "true"),
     ("localhost:5000/a", "false"), ("127.0.0.1:5000/a", "false"), ("[::1]:5000/a", "false")],
)  # fmt: skip
def test_certificates_are_asked_for_except_on_loopback(skopeo: Skopeo, registry: str, verify: str) -> None:
    publish.run(registry)
    assert all(f"--dest-tls-verify={verify}" in command for command in skopeo.commands)


def test_the_chart_runs_what_was_pushed_by_digest(skopeo: Skopeo) -> None:
    publish.run("registry.example.org/search", "1.2.0")
    rendered = call("template", "rel", values=json.loads((build.OUTPUT / "published.yaml").read_text())).stdout
    for image in IMAGES:
        assert f"registry.example.org/search/{image.name}@{DIGEST}" in rendered
    assert "codebase-mcp.local" not in rendered
