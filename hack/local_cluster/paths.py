"""Where everything lies: one state folder per checkout, one run folder and one cache per machine."""

import os
from dataclasses import dataclass
from pathlib import Path

# One cluster per machine. The names are fixed, so that any checkout finds what another one left behind.
NAME = "codebase-mcp"
RUN = Path("/run/codebase-mcp-cluster")
OWNER = RUN / "owner"

PACKAGE = Path(__file__).resolve().parent
CHECKOUT = PACKAGE.parents[1]
GO_MODULE = PACKAGE / "go"
ADDONS = PACKAGE / "addons"

MAX_NODES = 4


def cache_root() -> Path:
    """The user's cache folder for binaries; it outlives every cluster."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / NAME


@dataclass(frozen=True)
class State:
    """The files of one checkout's cluster, all below one git-ignored folder."""

    checkout: Path

    @property
    def folder(self) -> Path:
        """The state folder itself."""
        return self.checkout / ".cluster"

    @property
    def bin(self) -> Path:
        """Wrappers (kubectl, helm, ctr) that always talk to this cluster, whatever is on PATH."""
        return self.folder / "bin"

    @property
    def pki(self) -> Path:
        """Keys and certificates."""
        return self.folder / "pki"

    @property
    def etcd(self) -> Path:
        """etcd's data: all objects of the cluster."""
        return self.folder / "etcd"

    @property
    def logs(self) -> Path:
        """Output of the background programs, a file each."""
        return self.folder / "log"

    @property
    def volumes(self) -> Path:
        """Contents of the PersistentVolumes, a folder each."""
        return self.folder / "volumes"

    @property
    def audit_log(self) -> Path:
        """The API server's audit log: JSON, a line for each event."""
        return self.folder / "audit.log"

    @property
    def kubeconfig(self) -> Path:
        """For people and clients outside the cluster's network namespace."""
        return self.folder / "kubeconfig"

    @property
    def inner_kubeconfig(self) -> Path:
        """The same administrator, by the address that is valid inside the network namespace."""
        return self.folder / "admin.kubeconfig"

    @property
    def port_file(self) -> Path:
        """The loopback port of the API server, kept so that a kubeconfig stays valid over restarts."""
        return self.folder / "port"

    @property
    def removing(self) -> Path:
        """Present while `down` removes the state: what an interrupted `down` left is not a cluster."""
        return self.folder / "removing"

    def node(self, number: int) -> Path:
        """Configuration and persistent data of one node."""
        return self.folder / f"node{number}"

    def has_program(self) -> bool:
        """Whether the checkout is still there, with the program that could end its cluster."""
        return (self.checkout / PACKAGE.relative_to(CHECKOUT) / "__main__.py").exists()

    def recorded_nodes(self) -> int:
        """How many nodes this state has had; 0 for a new one."""
        return sum(1 for number in range(1, MAX_NODES + 1) if self.node(number).is_dir())


def own_state() -> State:
    """The state of the checkout that this program was started from."""
    return State(CHECKOUT)


def node_run(number: int) -> Path:
    """Sockets and containerd's volatile state. Short, because a socket's path is limited to 107 bytes."""
    return RUN / f"node{number}"


def containerd_socket(number: int) -> Path:
    """Where the containerd of a node listens."""
    return node_run(number) / "containerd.sock"
