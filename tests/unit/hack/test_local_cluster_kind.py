"""What the kind driver asks of kind, told by a stand-in that keeps its clusters in a file."""

from pathlib import Path

import pytest

from hack.local_cluster import build, kind
from hack.local_cluster.errors import ClusterError
from hack.local_cluster.paths import State

KIND = """#!/bin/sh
echo "$*" >> {folder}/calls
case "$1 $2" in
  "version ") echo "kind {version} go1.26.0 linux/amd64" ;;
  "get clusters") cat {folder}/clusters ;;
  "create cluster") echo "$4" > {folder}/clusters; test ! -e {folder}/fail ;;
  "delete cluster") : > {folder}/clusters ;;
esac
"""


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "tools"
    folder.mkdir()
    (folder / "clusters").touch()
    scripts = {
        "kind": KIND.format(folder=folder, version=build.KIND_VERSION),
        "kubectl": "#!/bin/sh\necho '{}'\n",
        "helm": "#!/bin/sh\n",
    }
    for name, text in scripts.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.delenv("REPOSITORY_ROOTS", raising=False)
    return folder


@pytest.fixture
def state(tmp_path: Path) -> State:
    (tmp_path / "checkout").mkdir()
    return State(tmp_path / "checkout")


def calls(tools: Path, verb: str) -> int:
    return sum(line.startswith(verb) for line in (tools / "calls").read_text().splitlines())


def test_up_makes_one_cluster_however_often_it_is_called_and_down_leaves_nothing(
    tools: Path, state: State
) -> None:
    kind.up(state, 1)
    kind.up(state, 1)
    assert calls(tools, "create") == 1
    assert kind.is_ours(state)
    assert (state.bin / "kubectl").exists()
    kind.down(state)
    assert not state.folder.exists()
    assert (tools / "clusters").read_text() == ""


def test_a_cluster_whose_creation_was_interrupted_is_made_anew(tools: Path, state: State) -> None:
    (tools / "fail").touch()
    with pytest.raises(ClusterError, match="create cluster"):
        kind.up(state, 1)
    (tools / "fail").unlink()
    kind.up(state, 1)
    assert (calls(tools, "create"), calls(tools, "delete")) == (2, 1)


def test_a_second_node_cannot_be_added_and_the_error_says_what_can_be_done(tools: Path, state: State) -> None:
    kind.up(state, 1)
    with pytest.raises(ClusterError, match="make down"):
        kind.up(state, 2)


def test_clusters_of_two_checkouts_have_different_names(state: State, tmp_path: Path) -> None:
    assert kind.cluster_name(state) != kind.cluster_name(State(tmp_path / "other"))
