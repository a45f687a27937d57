"""Which Go is good enough, and which cached binaries belong to which source."""

import shutil
from pathlib import Path

import pytest

from hack.local_cluster import build, paths
from hack.local_cluster.errors import ClusterError


@pytest.fixture
def module(tmp_path: Path) -> Path:
    folder = tmp_path / "go"
    (folder / "pause").mkdir(parents=True)
    (folder / "go.mod").write_text("module example\n\ngo 1.24.0\n")
    (folder / "pause" / "main.go").write_text("package main\n")
    return folder


def test_the_key_is_the_same_for_a_copy_elsewhere(module: Path, tmp_path: Path) -> None:
    assert build.module_hash(module) == build.module_hash(shutil.copytree(module, tmp_path / "copy"))


@pytest.mark.parametrize("change", ["content", "name", "new file", "moved bytes"])
def test_the_key_changes_with_any_change_of_the_source(module: Path, change: str) -> None:
    before = build.module_hash(module)
    main = module / "pause" / "main.go"
    match change:
        case "content":
            main.write_text("package main \n")
        case "name":
            main.rename(module / "pause" / "other.go")
        case "new file":
            (module / "extra.go").touch()
        case "moved bytes":  # the same bytes in a row, cut elsewhere
            (module / "go.mod").write_text("module example\n\ngo 1.24.0\np")
            main.write_text("ackage main\n")
    assert build.module_hash(module) != before


@pytest.mark.parametrize(
    ("text", "version"),
    [("go1.26.8", (1, 26, 8)), ("go1.24", (1, 24)), ("go1.25rc1", (1, 25)), ("devel +abc", ()), ("", ())],
)
def test_go_versions_are_read_as_numbers(text: str, version: tuple[int, ...]) -> None:
    assert build.parse_go_version(text) == version


def test_the_repositorys_module_names_the_go_it_needs() -> None:
    assert build.required_go((paths.GO_MODULE / "go.mod").read_text()) >= (1, 24)


def test_the_module_pins_the_kubernetes_version_that_the_binaries_report() -> None:
    assert f"k8s.io/kubernetes v{build.KUBERNETES_VERSION}\n" in (paths.GO_MODULE / "go.mod").read_text()


def fake_go(folder: Path, version: str, *, build_exit: int = 0) -> Path:
    """A `go` that reports a version; as `go build` it writes what was asked for, or fails."""
    program = folder / "go"
    program.write_text(
        f"""#!/bin/sh
if [ "$1" = env ]; then echo {version}; exit; fi
while [ "$1" != -o ]; do shift; done
folder=$2; shift 2
for package; do echo built > "$folder$(basename "$package")"; done
echo compiling >&2
exit {build_exit}
"""
    )
    program.chmod(0o755)
    return program


@pytest.fixture
def only_this_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty PATH folder in front of the basic tools, and an empty cache; returns the folder."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("sh", "basename", "env"):
        (folder / name).symlink_to(str(shutil.which(name)))
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(build, "_USUAL_GO", tmp_path / "nowhere")
    return folder


def test_without_go_the_error_says_what_to_install(only_this_go: Path) -> None:
    with pytest.raises(ClusterError, match=r"Install Go 1\.\d+"):
        build.ensure()


def test_an_old_go_is_refused_with_its_version(only_this_go: Path) -> None:
    fake_go(only_this_go, "go1.19.8")
    with pytest.raises(ClusterError, match=r"go1\.19\.8"):
        build.ensure()


def test_binaries_are_built_once_and_then_found_even_without_go(only_this_go: Path) -> None:
    go = fake_go(only_this_go, "go1.99.0")
    folder = build.ensure()
    names = {name for target in build.TARGETS for name in target.binaries}
    assert {path.name for path in folder.iterdir()} == names
    go.unlink()
    assert build.ensure() == folder


def test_a_failed_build_leaves_nothing_that_looks_complete(only_this_go: Path) -> None:
    fake_go(only_this_go, "go1.99.0", build_exit=1)
    with pytest.raises(ClusterError, match="compiling"):
        build.ensure()
    assert [path for path in paths.cache_root().rglob("*") if path.is_file()] == []
