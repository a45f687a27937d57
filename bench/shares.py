"""The weights that pods have where processors are short, for the same programs outside a cluster.

The kubelet gives each pod a control group whose weight is what the pod requests of a processor. Here, the programs
of a benchmark get groups of the weights that the chart's requests make: without, a program would count by how many
processes it has, and a search beside indexing would say more of that than of what is shipped.
"""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import psutil

from bench import chart
from hack.local_cluster import cgroups
from hack.local_cluster.errors import ClusterError

_GROUP: Final = "codebase-mcp-bench"


def requested(component: str) -> int:
    """Return the thousandths of a processor that a pod of a component requests by default."""
    given = str(chart.values(component)["resources"]["requests"]["cpu"])
    return int(given[:-1]) if given.endswith("m") else int(1000 * float(given))


class Shares:
    """Lends a control group to each pod that a benchmark stands in for; none where `root` is None."""

    def __init__(self, root: Path | None, unified: bool = False) -> None:
        self._root = root
        self._unified = unified

    def _group(self, root: Path, component: str, number: int) -> Path:
        """Make the group of a component's pod, with the weight that its request makes, and return it."""
        group = root / f"{component}-{number}"
        group.mkdir(parents=True, exist_ok=True)
        shares = max(2, requested(component) * 1024 // 1000)  # as in the kubelet's MilliCPUToShares
        if self._unified:
            (group / "cpu.weight").write_text(str(1 + (shares - 2) * 9999 // 262142))  # as in runc
        else:
            (group / "cpu.shares").write_text(str(shares))
        return group

    def command(self, component: str, number: int, command: Sequence[str]) -> list[str]:
        """Return the command that joins the group and then becomes this one."""
        if self._root is None:
            return list(command)
        join = 'echo $$ > "$0/cgroup.procs" && exec "$@"'
        return ["sh", "-c", join, str(self._group(self._root, component, number)), *command]

    def move_postgres(self, backend: int) -> None:
        """Move the server that this process belongs to; connections that are made later are in its group, too."""
        if self._root is None:
            return
        members = self._group(self._root, "postgres", 0) / "cgroup.procs"
        postmaster = psutil.Process(backend).parent()
        assert postmaster is not None
        for process in (postmaster, *postmaster.children(recursive=True)):
            with contextlib.suppress(ProcessLookupError):
                members.write_text(str(process.pid))


@contextlib.contextmanager
def shares() -> Iterator[Shares]:
    """Lend groups until the block ends, by when their programs must have ended, too. Only root may make them."""
    root, unified = _hierarchy()
    try:
        if root is not None:
            _make(root, unified)
    except OSError as error:
        print(f"no control groups ({error}): programs weigh by how many processes they have", flush=True)
        root = None
    try:
        yield Shares(root, unified)
    finally:
        # Who has been killed and is still in a group leaves it soon; the next run takes what is left of them.
        with contextlib.suppress(ClusterError):
            cgroups.remove(_GROUP)


def _hierarchy() -> tuple[Path | None, bool]:
    """Return where the groups of processors go, and whether they are of version 2."""
    for mount, unified in cgroups.hierarchies():
        if "cpu" in mount.name.split(","):
            return mount / _GROUP, False
        if unified and "cpu" in (mount / "cgroup.controllers").read_text().split():
            return mount / _GROUP, True
    return None, False


def _make(root: Path, unified: bool) -> None:
    root.mkdir(exist_ok=True)
    if unified:
        for group in (root.parent, root):
            (group / "cgroup.subtree_control").write_text("+cpu")
