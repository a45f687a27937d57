"""How docker and buildah are called, and the base that all images begin with."""

import os
import time
from pathlib import Path

import pytest

from hack.images import base, builders, process
from hack.images.catalog import CHECKOUT, IMAGES
from hack.local_cluster.errors import ClusterError


class Recorder:
    """Stands for `follow` and `run`: remembers the commands instead of running them."""

    def __init__(self) -> None:
        self.commands: list[list[str]] = []
        self.answers: dict[str, str] = {}

    def __call__(self, command: list[object], **_: object) -> str:
        words = [str(word) for word in command]
        self.commands.append(words)
        return next((answer for word, answer in self.answers.items() if word in words), "")


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    recorder = Recorder()
    monkeypatch.setattr(builders, "follow", recorder)
    monkeypatch.setattr(builders, "run", recorder)
    monkeypatch.setattr(builders, "succeeds", recorder)
    return recorder


def test_docker_builds_with_the_secrets_and_saves_under_the_reference(recorder: Recorder, tmp_path: Path) -> None:
    docker = builders.Docker()
    docker.build(IMAGES[0], "name:tag", {"pip": tmp_path / "pip.conf"}, tmp_path / "log")
    docker.save("name:tag", tmp_path / "a.tar")
    built, saved = recorder.commands
    assert built[:2] == ["docker", "build"]
    assert f"--secret=id=pip,src={tmp_path}/pip.conf" in built
    assert built[-2:] == ["--tag=name:tag", str(CHECKOUT)]
    assert saved == ["docker", "save", f"--output={tmp_path}/a.tar", "name:tag"]


def test_buildah_never_pulls_and_forgets_the_tags_before(recorder: Recorder, tmp_path: Path) -> None:
    image = IMAGES[0]
    recorder.answers["images"] = f"{image.repository}:old\n{image.repository}:new\nother/{image.name}:old\n"
    builders.Buildah(tmp_path).build(image, f"{image.repository}:new", {}, tmp_path / "log")
    built, _, removed, pruned = recorder.commands
    assert {"--pull-never", "--layers"} <= set(built)
    assert removed[-2:] == ["rmi", f"{image.repository}:old"]
    assert pruned[-2:] == ["rmi", "--prune"]


def test_buildah_names_the_image_inside_its_archive(recorder: Recorder, tmp_path: Path) -> None:
    builders.Buildah(tmp_path).save("name:tag", tmp_path / "a.tar")
    assert recorder.commands[0][-2:] == ["name:tag", f"oci-archive:{tmp_path}/a.tar:name:tag"]


def test_a_failing_build_shows_its_last_lines_and_where_the_rest_is(tmp_path: Path) -> None:
    log = tmp_path / "build.log"
    with pytest.raises(ClusterError, match=r"(?s)failed \(3\).*no such package.*Look there.*build\.log"):
        process.follow(["sh", "-c", "echo no such package; exit 3"], log=log, hint="Look there.")
    assert log.read_text() == "no such package\n"


def test_a_step_is_shown_without_its_mounts_on_one_line() -> None:
    step = (
        "RUN --mount=type=secret,id=apt,target=/run/secrets/apt.conf     apt-get update     && apt-get install x"
    )
    assert process.shorten(step) == "RUN apt-get update && apt-get install x"
    assert len(process.shorten("RUN " + "x" * 500)) == 100


def test_a_young_base_is_used_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tar = _base(tmp_path, age_days=1)
    monkeypatch.setattr(base, "follow", _fails)
    assert base.ensure(tmp_path, "") == tar


def test_an_old_base_stays_in_use_when_no_new_one_can_be_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tar = _base(tmp_path, age_days=31)
    monkeypatch.setattr(base, "follow", _fails)
    assert base.ensure(tmp_path, "") == tar
    assert "no network" in capsys.readouterr().out


def test_no_base_and_no_network_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "follow", _fails)
    with pytest.raises(ClusterError, match="no network"):
        base.ensure(tmp_path, "")


def test_a_new_base_replaces_the_old_one_and_keeps_no_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = _base(tmp_path, age_days=31)
    seen: list[str] = []

    def make(command: list[object], **_: object) -> None:
        seen.extend(str(word) for word in command)
        Path(str(command[-1])).write_text("new")

    monkeypatch.setattr(base, "follow", make)
    new = base.ensure(tmp_path, 'Acquire::Retries "3";\n')
    assert new != old
    assert new.read_text() == "new"
    assert not old.exists()
    assert '--aptopt=Acquire::Retries "3"' in seen
    assert any(word.startswith("--customize-hook=rm ") for word in seen)


def _base(folder: Path, *, age_days: int) -> Path:
    tar = folder / f"{base.prefix()}20000101.tar"
    tar.write_text("old")
    made = time.time() - age_days * 86400
    os.utime(tar, (made, made))
    return tar


def _fails(*_: object, **__: object) -> None:
    raise ClusterError("no network")
