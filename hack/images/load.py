"""Puts the built images into the local cluster's nodes, and only what a node does not have yet."""

import subprocess
import sys
from pathlib import Path

from hack.local_cluster import kind
from hack.local_cluster.console import run as run_command
from hack.local_cluster.console import say, step
from hack.local_cluster.errors import ClusterError
from hack.local_cluster.paths import State, containerd_socket, own_state

from .build import built
from .catalog import CHECKOUT


def run() -> None:
    """Load every image of the last build. Raises ClusterError when there is no cluster, or an archive is gone."""
    state = own_state()
    for reference, archive in built().values():
        if _present(state, reference):
            say(f"{reference} is in the cluster")
        else:
            with step(f"Loading {reference}"):
                _load(archive)


def _present(state: State, reference: str) -> bool:
    """Whether every node has the image. Asked of the nodes themselves: a kubelet may have removed one."""
    if kind.is_ours(state):
        return False  # kind compares by itself
    nodes = range(1, state.recorded_nodes() + 1)
    return bool(nodes) and all(reference in _images_of(number) for number in nodes)


def _images_of(node: int) -> list[str]:
    socket = containerd_socket(node)
    if not socket.exists():
        raise ClusterError(f"Node {node} of the cluster does not run. Start it with `make up`.")
    return run_command(["ctr", f"--address={socket}", "--namespace=k8s.io", "images", "ls", "-q"]).splitlines()


def _load(archive: Path) -> None:
    if not archive.is_file():
        raise ClusterError(f"{archive} is gone. Run `python3 -m hack.images build` again.")
    command = [sys.executable, "-m", "hack.local_cluster", "load-image", str(archive)]
    if subprocess.run(command, cwd=CHECKOUT, check=False).returncode != 0:
        raise ClusterError(f"{archive.name} was not loaded; the reason is above.")
