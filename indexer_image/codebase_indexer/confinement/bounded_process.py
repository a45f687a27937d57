"""Runs a program on untrusted data, within bounds of time, processor time, memory and output."""

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final


class BoundExceeded(Exception):
    """The program exceeded one of its bounds and was killed. The message continues after the program's name."""


class CpuTimeExceeded(BoundExceeded):
    """It used up its CPU time."""


class TimeExceeded(BoundExceeded):
    """It took too long by the clock."""


class Stalled(BoundExceeded):
    """It slept for longer than `stalled_seconds` at a stretch."""


class OutputExceeded(BoundExceeded):
    """It printed more than `output_bytes`."""


@dataclass(frozen=True)
class Bounds:
    """Resource limits of a program. None: unlimited.

    `stalled_seconds` is how long it may sleep at a stretch: a program that works on files only computes, or waits
    for a disk, which Linux does not count as sleep. `memory_bytes` leaves files aside that it maps. `error_bytes`
    of standard error are kept, more is dropped; more than `output_bytes` of standard output end it. `file_bytes`
    bounds each file that it writes.
    """

    seconds: float
    cpu_seconds: int | None = None
    stalled_seconds: float | None = None
    memory_bytes: int | None = None
    file_bytes: int | None = None
    output_bytes: int = 2**20
    error_bytes: int = 2**20


@dataclass(frozen=True)
class ProcessResult:
    """How a program ended: its exit code, -N after signal N, and what it printed."""

    code: int
    output: bytes
    error: bytes


_POLL_SECONDS: Final = 0.5
_CLOSING_SECONDS: Final = 5.0
"""From the end of its output to its own end."""


def run(
    command: Sequence[str],
    *,
    env: Mapping[str, str],
    bounds: Bounds,
    data: bytes | None = None,
    watch: Callable[[], None] = lambda: None,
) -> ProcessResult:
    """Run a program to its end, with `data` as its standard input.

    `watch` is called twice a second meanwhile, and ends the program by raising BoundExceeded. Whatever happens,
    neither the program nor what it started in its session is left. Raises BoundExceeded; ValueError for a NUL in
    an argument.
    """
    process = subprocess.Popen(
        [*_limited(bounds), *command],
        env=dict(env),
        stdin=subprocess.PIPE if data is not None else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    output = _Reader(process.stdout, bounds.output_bytes, stops=True)
    error = _Reader(process.stderr, bounds.error_bytes, stops=False)
    try:
        if process.stdin is not None:
            threading.Thread(target=_write, args=(process.stdin, data), daemon=True).start()
        _wait(process, output, bounds, watch)
        error.join(_CLOSING_SECONDS)
    finally:
        _kill(process)
        output.close()
        error.close()
    if process.returncode == -signal.SIGXCPU:
        raise CpuTimeExceeded(f"computed for more than {bounds.cpu_seconds} s")
    return ProcessResult(process.returncode, bytes(output.data), bytes(error.data))


def _limited(bounds: Bounds) -> list[str]:
    """Return what runs a command with the limits of its bounds set before its first instruction.

    From outside they would come too late on a busy machine, and preexec_fn is unsafe beside threads. A second more
    of hard limit, since Linux ends a process by SIGKILL where both are equal. Units: see ulimit of dash(1).
    """
    limits = []
    if bounds.cpu_seconds is not None:
        limits += [f"ulimit -S -t {bounds.cpu_seconds}", f"ulimit -H -t {bounds.cpu_seconds + 1}"]
    if bounds.memory_bytes is not None:
        limits.append(f"ulimit -d {bounds.memory_bytes // 1024}")
    if bounds.file_bytes is not None:
        limits.append(f"ulimit -f {bounds.file_bytes // 512}")
    return ["/bin/sh", "-c", " && ".join([*limits, 'exec "$@"']), "sh"] if limits else []


class _Reader(threading.Thread):
    """Reads a pipe to its end in a thread, keeping at most `limit` bytes."""

    def __init__(self, pipe: IO[bytes], limit: int, *, stops: bool) -> None:
        super().__init__(daemon=True)
        self.data = bytearray()
        self.exceeded = False
        self._pipe, self._limit, self._stops = pipe, limit, stops
        self.start()

    def run(self) -> None:
        while part := os.read(self._pipe.fileno(), 2**16):
            room = self._limit - len(self.data)
            self.data += part[:room]
            if len(part) > room:
                self.exceeded = True
                if self._stops:
                    return

    def close(self) -> None:
        """Close the pipe, of a program that has ended."""
        self.join(_CLOSING_SECONDS)
        if not self.is_alive():
            self._pipe.close()


def _write(pipe: IO[bytes], data: bytes) -> None:
    with contextlib.suppress(BrokenPipeError), pipe:  # it need not read to the end
        pipe.write(data)


def _wait(process: subprocess.Popen[bytes], output: _Reader, bounds: Bounds, watch: Callable[[], None]) -> None:
    """Wait until the output ends. Raises BoundExceeded."""
    begin = awake = time.monotonic()
    ticks = -1
    while True:
        output.join(_POLL_SECONDS)
        if not output.is_alive():
            break
        watch()
        now = time.monotonic()
        if now - begin > bounds.seconds:
            raise TimeExceeded(f"took longer than {bounds.seconds:.0f} s")
        before, (ticks, sleeps) = ticks, _activity(process.pid)
        if ticks != before or not sleeps:
            awake = now
        elif bounds.stalled_seconds is not None and now - awake > bounds.stalled_seconds:
            raise Stalled(f"waited {bounds.stalled_seconds:.0f} s for something that never came")
    if output.exceeded:
        raise OutputExceeded(f"printed more than {bounds.output_bytes:,} bytes")
    _wait_for_end(process.pid, _CLOSING_SECONDS)


def _wait_for_end(pid: int, seconds: float) -> None:
    """Wait until a child ends, or for so long: it may have closed its output, and go on.

    It is not reaped: as long as its id is taken, so is that of its group, and `_kill` ends nobody else's.
    """
    end, pause = time.monotonic() + seconds, 0.001
    while os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None and time.monotonic() < end:
        time.sleep(pause)
        pause = min(2 * pause, 0.05)


def _activity(pid: int) -> tuple[int, bool]:
    """Return the processor time that a process has used, in ticks, and whether it sleeps now."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b") ")[2].split()
    except OSError:
        return -1, False
    return int(fields[11]) + int(fields[12]), fields[0] == b"S"


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End a process and what it started, which may be left where it ended by itself; then reap it."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
