"""Background programs: start them in a network namespace, find them again, stop them.

A pid file holds the pid and the moment the process began, so that a reused pid is never taken for ours.
"""

import os
import resource
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from . import cgroups
from .errors import ClusterError
from .paths import RUN

_LOG_LIMIT_BYTES = 20_000_000


@dataclass(frozen=True)
class Program:
    """One background program of the cluster. `netns` names the network namespace it runs in, if any."""

    name: str
    command: Sequence[str | Path]
    netns: str | None = None


def parse_stat(stat: str) -> tuple[str, int]:
    """State letter and start time (clock ticks since boot) from /proc/<pid>/stat.

    The program's name comes second, in brackets, and may itself contain blanks and brackets.
    """
    fields = stat.rpartition(")")[2].split()
    return fields[0], int(fields[19])


def began(pid: int) -> int | None:
    """When process `pid` began, or None where no such process lives (a zombie does not live)."""
    try:
        state, start = parse_stat(Path(f"/proc/{pid}/stat").read_text())
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if state in "ZX" else start


def _pid_file(name: str) -> Path:
    return RUN / "pids" / name


def pid_of(name: str) -> int | None:
    """The pid of our running program `name`, or None."""
    try:
        pid, start = (int(word) for word in _pid_file(name).read_text().split())
    except (FileNotFoundError, ValueError):
        return None
    return pid if began(pid) == start else None


def known() -> list[str]:
    """Names of all programs that were started since the last `down`, alive or not."""
    folder = RUN / "pids"
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def start(program: Program, logs: Path, *, cwd: Path, pass_fds: Sequence[int] = ()) -> None:
    """Start the program unless it runs already; its output goes to `logs`/<name>.log."""
    if signalled(program.name, signal.SIGCONT):  # without effect, unless a test left it frozen
        return
    # nsenter, not `ip netns exec`: that one mounts a fresh /sys, in which the kubelet finds no cgroups.
    enter = ["nsenter", f"--net=/run/netns/{program.netns}"] if program.netns else []
    log = logs / f"{program.name}.log"
    if log.exists() and log.stat().st_size > _LOG_LIMIT_BYTES:
        log.replace(log.with_suffix(".log.1"))
    with log.open("ab") as output:
        process = subprocess.Popen(
            [*enter, *map(str, program.command)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=cwd,
            start_new_session=True,
            pass_fds=pass_fds,
            preexec_fn=_enter_group,
        )
    start_time = began(process.pid)
    if start_time is None:
        raise ClusterError(f"{program.name} ended at once; see {log}.")
    _pid_file(program.name).parent.mkdir(parents=True, exist_ok=True)
    _pid_file(program.name).write_text(f"{process.pid} {start_time}\n")


def _enter_group() -> None:
    """Runs in the child before exec: every descendant is then found through the control group."""
    cgroups.join_components()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def signalled(name: str, number: signal.Signals) -> bool:
    """Send a signal to our running program `name`; returns whether it runs."""
    pid = pid_of(name)
    if pid is None:
        return False
    os.kill(pid, number)
    return True


def stop(name: str, *, grace_seconds: float = 5) -> None:
    """SIGTERM, then SIGKILL after the grace period. Nothing happens where it does not run."""
    if not signalled(name, signal.SIGTERM):
        return
    end = time.monotonic() + grace_seconds
    while pid_of(name) is not None and time.monotonic() < end:
        time.sleep(0.05)
    signalled(name, signal.SIGKILL)
