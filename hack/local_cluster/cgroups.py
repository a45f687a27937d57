"""Control groups: where the pods live, and how every process of the cluster is found again.

All programs we start, and so all their descendants, stay below one control group. Membership is kept by
the kernel: it survives SIGKILL of anything, is visible from any checkout, and cannot confuse reused pids.
"""

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from .errors import ClusterError
from .paths import NAME

COMPONENTS = f"{NAME}/components"


def parse_hierarchies(mountinfo: str) -> list[tuple[Path, bool]]:
    """The mounted cgroup hierarchies, as (mount point, is version 2), from /proc/self/mountinfo's text."""
    found = []
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        kind = after.split(" ", 1)[0]
        if kind in ("cgroup", "cgroup2"):
            found.append((Path(before.split()[4]), kind == "cgroup2"))
    return found


def hierarchies() -> list[tuple[Path, bool]]:
    """The hierarchies that are mounted now, as parse_hierarchies gives them."""
    mountinfo = Path("/proc/self/mountinfo")  # absent where this is not Linux, and so is any cluster
    return parse_hierarchies(mountinfo.read_text()) if mountinfo.exists() else []


def _tracking() -> Path:
    """The hierarchy that tells which processes are ours: `pids` on version 1, the only one on version 2."""
    mounted = hierarchies()
    for mount, _ in mounted:
        if mount.name == "pids":
            return mount
    if not mounted:
        raise ClusterError("No cgroup file system is mounted; Kubernetes needs one. Mount /sys/fs/cgroup.")
    return mounted[0][0]


def node_group(number: int) -> str:
    """The kubelet's cgroupRoot. Each node needs its own: two kubelets would remove each other's pods."""
    return f"/{NAME}/node{number}"


def prepare(nodes: int) -> None:
    """Create the groups of the programs and of each node, in every hierarchy."""
    groups = [NAME, COMPONENTS, *(node_group(number).lstrip("/") for number in range(1, nodes + 1))]
    for mount, unified in hierarchies():
        for group in groups:
            (mount / group).mkdir(exist_ok=True)
            _inherit_cpuset(mount, mount / group)
        if unified:
            _enable_controllers(mount)
            _enable_controllers(mount / NAME)


def _inherit_cpuset(mount: Path, group: Path) -> None:
    """A new version 1 cpuset group has no CPUs, and a process cannot enter it."""
    for name in ("cpuset.cpus", "cpuset.mems"):
        own = group / name
        if (mount / "cgroup.clone_children").exists() and own.exists() and not own.read_text().strip():
            own.write_text((mount / name).read_text())


def _enable_controllers(group: Path) -> None:
    """On version 2 a group hands controllers down only where it is told to."""
    available = (group / "cgroup.controllers").read_text().split()
    enabled = (group / "cgroup.subtree_control").read_text().split()
    for name in ("cpu", "cpuset", "memory", "pids", "hugetlb", "io"):
        if name in available and name not in enabled:
            (group / "cgroup.subtree_control").write_text(f"+{name}")


def join_components() -> None:
    """Move the calling process into the group of our programs; its children follow."""
    (_tracking() / COMPONENTS / "cgroup.procs").write_text("0")


def members(group: str = NAME) -> set[int]:
    """The process ids below a group: by default, of every program and every container of the cluster."""
    found: set[int] = set()
    for mount, _ in hierarchies():
        for listing in (mount / group.lstrip("/")).rglob("cgroup.procs"):
            try:
                found.update(int(pid) for pid in listing.read_text().split() if pid != "0")
            except OSError:
                continue  # the group went away, or is of a kind that lists no processes
    return found


def kill_members(find: Callable[[], set[int]] = members, limit_seconds: float = 20) -> None:
    """SIGKILL every member that `find` finds until none is left: containers may still be starting while we look.

    Raises ClusterError when a process does not go away, which only a hung disk or kernel can cause.
    """
    end = time.monotonic() + limit_seconds
    killed: set[int] = set()
    while pids := find():
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        killed |= pids
        if time.monotonic() > end:
            raise ClusterError(f"Processes {sorted(pids)} do not end after SIGKILL; look at them with ps.")
        time.sleep(0.05)
    _wait_for_reaping(killed)


def _wait_for_reaping(pids: set[int], limit_seconds: float = 3) -> None:
    """Give init a moment to collect the dead, so that `ps` shows none of them after `down`."""
    end = time.monotonic() + limit_seconds
    while any(Path(f"/proc/{pid}").exists() for pid in pids) and time.monotonic() < end:
        time.sleep(0.05)


def exists() -> bool:
    """Whether any control group of a cluster is there, empty or not."""
    return any((mount / NAME).is_dir() for mount, _ in hierarchies())


def remove(group: str = NAME) -> None:
    """Remove a group and all below it everywhere, deepest first. They must hold no processes any more."""
    for mount, _ in hierarchies():
        top = mount / group.lstrip("/")
        if not top.is_dir():
            continue
        for folder in sorted((path for path in top.rglob("*") if path.is_dir()), reverse=True):
            _remove_group(folder)
        _remove_group(top)


def _remove_group(folder: Path) -> None:
    """rmdir, patiently: the kernel needs a moment after the last process has ended."""
    for _ in range(50):
        try:
            folder.rmdir()
        except FileNotFoundError:
            return
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise ClusterError(f"The control group {folder} cannot be removed; see its cgroup.procs for who is in it.")
