"""Processes by identity (pid and start time) and by the mark in their environment.

A pid alone is never trusted: it may belong to another process by now. What an instance starts inherits the mark
and passes it on, so that what is left after a SIGKILL of everything can be found and ended.
"""

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

INSTANCE_MARK: Final = "CODEBASE_INSTANCE"
"""Variable of the environment: the folder of the instance that a process belongs to."""

POD_MARK: Final = "CODEBASE_POD_UID"
"""The same for the pod."""

_PROC: Final = Path("/proc/self/stat").exists()


@dataclass(frozen=True)
class Process:
    """A process for good: its pid, and when it started."""

    pid: int
    started: str

    @classmethod
    def of(cls, pid: int) -> "Process | None":
        """Return the process that has this pid now."""
        started = start_mark(pid)
        return cls(pid, started) if started else None

    @classmethod
    def parse(cls, text: str) -> "Process | None":
        """Read what `str` wrote."""
        pid, _, started = text.partition("@")
        return cls(int(pid), started) if pid.isdecimal() and started else None

    def __str__(self) -> str:
        return f"{self.pid}@{self.started}"

    def alive(self) -> bool:
        """Whether it still runs. One that ended and was not waited for does not."""
        return start_mark(self.pid) == self.started

    def session(self) -> int | None:
        """Return the session that it is in, by the pid of the process that began it; None: it has ended."""
        try:
            return os.getsid(self.pid)
        except ProcessLookupError:
            return None

    def signal(self, number: int) -> bool:
        """Send a signal, if it still runs."""
        if not self.alive():
            return False
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)
            return True
        return False


def start_mark(pid: int) -> str | None:
    """Return when the process with this pid started, in a form to be compared alone; None: there is none.

    In clock ticks since the boot where there is /proc: psutil's time moves when the clock is set.
    """
    if _PROC:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        except OSError:
            return None
        return None if fields[0] in "ZX" else f"{_boot()}-{fields[19]}"
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else f"{process.create_time():.2f}"
    except psutil.Error:
        return None


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text()[:8]
    except OSError:
        return "boot"


def marked(variable: str, value: str) -> Iterator[Process]:
    """Yield every process that runs with this variable in its environment, except this one."""
    wanted = os.fsencode(f"{variable}={value}")
    return _having(lambda pid: wanted in _environment(pid).split(b"\0"))


def working_in(folder: Path) -> Iterator[Process]:
    """Yield every process whose working folder is this one: Postgres' processes overwrite their environment."""
    return _having(lambda pid: _working_folder(pid) == str(folder))


def _having(condition: Callable[[int], bool]) -> Iterator[Process]:
    """Yield the processes for which this holds. One that ends meanwhile, or is another user's, is left out."""
    for pid in psutil.pids():
        with contextlib.suppress(psutil.Error, OSError):
            if pid != os.getpid() and condition(pid) and (found := Process.of(pid)):
                yield found


# psutil reads several files of a process before it answers one question: for all, seconds on a busy machine.


def _environment(pid: int) -> bytes:
    if _PROC:
        return Path(f"/proc/{pid}/environ").read_bytes()
    return b"\0".join(os.fsencode(f"{name}={value}") for name, value in psutil.Process(pid).environ().items())


def _working_folder(pid: int) -> str:
    return os.readlink(f"/proc/{pid}/cwd") if _PROC else psutil.Process(pid).cwd()  # noqa: PTH115 - as text


def wait_gone(processes: Iterable[Process], seconds: float) -> list[Process]:
    """Wait until none of them runs; return those that do after so many seconds."""
    deadline = time.monotonic() + seconds
    left = [process for process in processes if process.alive()]
    while left and time.monotonic() < deadline:
        time.sleep(0.02)
        left = [process for process in left if process.alive()]
    return left


def kill(processes: Iterable[Process], seconds: float = 5.0) -> list[Process]:
    """End processes with SIGKILL; return those that are still there after so many seconds."""
    processes = list(processes)
    for process in processes:
        process.signal(signal.SIGKILL)
    return wait_gone(processes, seconds)
