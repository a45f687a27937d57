"""The containers' processes as the host sees them: every fault of a process is a signal sent from here."""

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from hack.local_cluster import cgroups


@dataclass(frozen=True)
class Process:
    """A process of a container: pids on the host, pid inside the container, and its arguments."""

    pid: int
    parent: int
    inner: int
    arguments: tuple[str, ...]

    def signal(self, number: int) -> None:
        """Send a signal; a process that has ended is fine."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)


def processes(pod_uid: str) -> list[Process]:
    """Return the processes of a pod's containers that live now, in no order."""
    return list(_processes(pod_uid))


def first(pod_uid: str) -> Process:
    """Return PID 1 of the pod's container. Raises LookupError while there is none.

    The pause container's PID 1 is not meant: it only holds the pod's network. Nor is a container that the runtime
    is still making: whoever kills that one strikes the runtime, not the product.
    """
    found = [p for p in processes(pod_uid) if p.inner == 1 and p.arguments[0] not in ("/pause", "runc")]
    return _only(found, "PID 1", pod_uid)


def worker(pod_uid: str) -> Process:
    """Return the indexer's worker: the child of its supervisor. Raises LookupError while it is not there.

    Its own children, the processes of the pool, are not meant: it starts them again by itself.
    """
    return _only([p for p in processes(pod_uid) if "codebase_indexer" in p.arguments], "worker", pod_uid)


def memory_group(process: Process) -> Path:
    """Return the folder of the memory control group that bounds a process' container."""
    groups = dict(line.split(":", 2)[1:] for line in Path(f"/proc/{process.pid}/cgroup").read_text().splitlines())
    for mount, unified in cgroups.hierarchies():
        if mount.name == "memory" or (unified and "memory" not in groups):
            return mount / groups["" if unified else "memory"].lstrip("/")
    raise LookupError("no control group bounds memory on this machine")


def _only(found: list[Process], what: str, pod_uid: str) -> Process:
    if len(found) != 1:
        raise LookupError(f"pod {pod_uid} has {len(found)} processes that are its {what}: {found}")
    return found[0]


def _processes(pod_uid: str) -> Iterator[Process]:
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        # A process may end between any two of these reads.
        with suppress(FileNotFoundError, ProcessLookupError):
            if pod_uid not in (folder / "cgroup").read_text():
                continue
            arguments = tuple((folder / "cmdline").read_bytes().decode(errors="replace").split("\0")[:-1])
            status = (folder / "status").read_text()
            if arguments:  # a zombie has none
                inner = int(re.findall(r"^NSpid:.*?(\d+)$", status, re.MULTILINE)[0])
                parent = int(re.findall(r"^PPid:\s*(\d+)", status, re.MULTILINE)[0])
                yield Process(int(folder.name), parent, inner, arguments)
