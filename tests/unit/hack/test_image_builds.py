"""An image is built when an input changed, and loaded where a node lacks it."""

import stat
from pathlib import Path

import pytest

from hack.images import build, builders, catalog, load
from hack.images.catalog import IMAGES, Image
from hack.local_cluster import kind
from hack.local_cluster.errors import ClusterError


class FakeBuilder:
    """Builds by writing the reference into the archive."""

    def __init__(self) -> None:
        self.built: list[str] = []

    def prepare(self) -> str:
        return "base"

    def build(self, image: Image, reference: str, secrets: dict[str, Path], log: Path) -> None:
        assert all(
            stat.S_IMODE(file.parent.stat().st_mode) == 0o700 for file in secrets.values() if file.name != "ca"
        )
        self.built.append(image.name)

    def save(self, reference: str, archive: Path) -> None:
        archive.write_text(reference)


@pytest.fixture
def builder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeBuilder:
    fake = FakeBuilder()
    monkeypatch.setattr(builders, "choose", lambda _: fake)
    monkeypatch.setattr(build, "OUTPUT", tmp_path / "out")
    monkeypatch.setattr(build, "_VALUES", tmp_path / "out" / "values.yaml")
    monkeypatch.setattr(build, "cache_root", lambda: tmp_path / "cache")
    monkeypatch.setattr(Image, "tag", lambda image, base: f"{image.name}-1")
    for variable in ("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"):
        monkeypatch.delenv(variable, raising=False)
    return fake


def test_a_second_build_builds_nothing(builder: FakeBuilder) -> None:
    build.run()
    build.run()
    assert sorted(builder.built) == sorted(image.name for image in IMAGES)


def test_one_changed_image_is_built_alone_and_its_old_archive_goes(
    builder: FakeBuilder, monkeypatch: pytest.MonkeyPatch
) -> None:
    build.run()
    builder.built.clear()
    monkeypatch.setattr(Image, "tag", lambda image, base: f"{image.name}-{2 if image.name == 'server' else 1}")
    build.run()
    assert builder.built == ["server"]
    assert not build.archive_of(Image("server", "mcp_server"), "server-1").exists()
    reference, archive = build.built()["server"]
    assert reference == archive.read_text() == f"{catalog.REGISTRY}/server:server-2"


def test_files_that_change_during_a_build_lead_to_another(
    builder: FakeBuilder, monkeypatch: pytest.MonkeyPatch
) -> None:
    edited_once = {"indexer": ["a", "b", "b", "b"]}
    monkeypatch.setattr(Image, "tag", lambda image, base: (edited_once.get(image.name) or ["x"] * 4).pop(0))
    build.run()
    assert builder.built.count("indexer") == 2
    assert build.built()["indexer"][0].endswith(":b")


def test_an_interrupted_build_leaves_no_archive_that_looks_whole(
    builder: FakeBuilder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(reference: str, archive: Path) -> None:
        archive.write_text("half")
        raise KeyboardInterrupt

    monkeypatch.setattr(builder, "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        build.run()
    assert not list(build.OUTPUT.glob("*.tar"))
    with pytest.raises(ClusterError, match="not built yet"):
        build.built()


def test_a_full_disk_is_said_before_anything_is_built(
    builder: FakeBuilder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "_DISK_NEEDED_GIB", 10**9)
    with pytest.raises(ClusterError, match="XDG_CACHE_HOME"):
        build.run()
    assert not builder.built


def test_only_what_a_node_lacks_is_loaded(builder: FakeBuilder, monkeypatch: pytest.MonkeyPatch) -> None:
    build.run()
    built = {name: reference for name, (reference, _) in build.built().items()}
    nodes = {1: list(built.values()), 2: [ref for name, ref in built.items() if name != "indexer"]}
    loaded: list[str] = []
    monkeypatch.setattr(load, "own_state", lambda: type("State", (), {"recorded_nodes": lambda self: 2})())
    monkeypatch.setattr(kind, "is_ours", lambda _: False)
    monkeypatch.setattr(load, "_images_of", nodes.__getitem__)
    monkeypatch.setattr(load, "_load", lambda archive: loaded.append(archive.read_text()))
    load.run()
    assert loaded == [built["indexer"]]


def test_loading_without_a_build_says_what_to_run(builder: FakeBuilder) -> None:
    with pytest.raises(ClusterError, match=r"python3 -m hack\.images build"):
        load.run()
