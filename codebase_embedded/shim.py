r"""Runs one command and outlives it, to tell how it ended: what containerd's shim is to a container.

    shim.py --life FD --end FILE [--stop NAME] [--grace SECONDS] [--limit NAME=BYTES] [--nice N] [--user ID] \
        -- COMMAND...

It ends the command on SIGTERM, and also when the pipe FD closes, which its writer's death does: nothing that an
instance started runs on without it. Then, or when the command ends by itself, all that it left behind is killed,
and FILE says how it ended, and whether the pipe was closed by then. Only the standard library is imported: a start
costs milliseconds and 10 MB.

Whoever starts it makes it the leader of a session. `end_of` reads FILE.
"""

import argparse
import ctypes
import json
import os
import resource
import select
import signal
import subprocess
import sys
import time
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

KILL_SECONDS = 5.0


def main() -> int:
    """Run the command; return its exit code, 128 and the number after a signal, as a shell does."""
    asked = _arguments()
    wake, wake_writer = os.pipe()
    os.set_blocking(wake_writer, False)
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake_writer, warn_on_full_buffer=False)
    stop = False

    def ask_to_stop(*_: object) -> None:
        nonlocal stop
        stop = True

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, ask_to_stop)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    os.nice(asked.nice)
    for name, value in asked.limit:
        limit = getattr(resource, f"RLIMIT_{name}")
        # The soft one: the indexer gives git and its parsers limits of their own, which may be higher.
        resource.setrlimit(limit, (value, resource.getrlimit(limit)[1]))
    adopt_orphans()
    child = _spawn(asked.command, asked.user)
    code = None
    watched = [wake, asked.life]
    while code is None and not stop:
        ready, _, _ = select.select(watched, [], [])
        if asked.life in ready and not os.read(asked.life, 1):
            stop = True
        _drain(wake)
        code = child.poll()
        bury_orphans([child.pid])
    if code is None:
        code = _stop(child, getattr(signal, f"SIG{asked.stop}"), asked.grace)
    _kill_rest()
    code = code if code >= 0 else 128 - code
    _write_end(asked.end, code, _is_closed(asked.life))
    return code


class End(NamedTuple):
    """How a command ended. `lost`: its instance had ended before, so it says little of the command itself."""

    exit_code: int
    finished_at: str
    lost: bool


def end_of(file: Path) -> End | None:
    """Return the end that a shim wrote down, or None."""
    try:
        end = json.loads(file.read_text())
        return End(int(end["exitCode"]), str(end["finishedAt"]), bool(end.get("lost")))
    except (OSError, ValueError, KeyError):
        return None


def _spawn(command: list[str], user: int | None) -> "subprocess.Popen[bytes]":
    # In a group of its own: a signal to the shim's group, as a terminal sends it, is the shim's alone to pass on.
    groups: list[int] | None = None if user is None else []
    return subprocess.Popen(
        command, stdin=subprocess.DEVNULL, process_group=0, user=user, group=user, extra_groups=groups
    )


def _stop(child: "subprocess.Popen[bytes]", number: int, grace: float) -> int:
    child.send_signal(number)
    try:
        return child.wait(grace)
    except subprocess.TimeoutExpired:
        child.kill()
        return child.wait()


def _kill_rest() -> None:
    """Kill what the command left behind, until nothing of it is there but this process."""
    deadline = time.monotonic() + KILL_SECONDS
    while left := _rest(_table()):
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        bury_orphans()
        if time.monotonic() > deadline:
            return
        time.sleep(0.01)


def _rest(table: dict[int, tuple[int, int]]) -> set[int]:
    """Return the descendants of this process, and the rest of its session."""
    own, found = os.getpid(), set[int]()
    more = {own}
    while more:
        found |= more
        more = {pid for pid, (parent, _) in table.items() if parent in found} - found
    session = os.getsid(0)
    return (found | {pid for pid, (_, of) in table.items() if of == session}) - {own}


def _table() -> dict[int, tuple[int, int]]:
    """Return parent and session of each process that has not ended, by its pid."""
    if Path("/proc/self").exists():
        rows = (_proc_stat(name) for name in os.listdir("/proc") if name.isdecimal())  # noqa: PTH208 - slower
        return {pid: (parent, session) for pid, parent, session in filter(None, rows)}
    listed = subprocess.run(["ps", "-axo", "pid=,ppid=,stat="], capture_output=True, text=True, check=False)
    table = {}
    for pid, parent, state in (line.split() for line in listed.stdout.splitlines()):
        with suppress(ProcessLookupError, PermissionError):
            if not state.startswith("Z"):
                table[int(pid)] = int(parent), os.getsid(int(pid))
    return table


def _proc_stat(pid: str) -> tuple[int, int, int] | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    state, parent, _, session, *_ = stat.rpartition(")")[2].split()
    return None if state in "ZX" else (int(pid), int(parent), int(session))


def adopt_orphans() -> None:
    """Become the parent of what loses its own, where the system can do that (Linux)."""
    with suppress(OSError, AttributeError):
        pr_set_child_subreaper = 36
        ctypes.CDLL(None).prctl(pr_set_child_subreaper, 1, 0, 0, 0)


def bury_orphans(children: Collection[int] = ()) -> None:
    """Take note of the ends of adopted processes, up to one of `children`, which others wait for."""
    with suppress(ChildProcessError):
        while found := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            if found.si_pid in children:
                return
            os.waitpid(found.si_pid, 0)


def _drain(wake: int) -> None:
    with suppress(BlockingIOError):
        while os.read(wake, 4096):
            pass


def _is_closed(pipe: int) -> bool:
    ready, _, _ = select.select([pipe], [], [], 0)
    return bool(ready) and not os.read(pipe, 1)


def _write_end(file: Path, code: int, lost: bool) -> None:
    now = time.time()
    finished = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now * 1000) % 1000:03d}Z"
    partial = file.with_suffix(".partial")
    with suppress(OSError):  # its folder is gone: nobody asks any more
        partial.write_text(json.dumps({"exitCode": code, "finishedAt": finished, "lost": lost}))
        partial.replace(file)


def _limit(text: str) -> tuple[str, int]:
    name, _, value = text.partition("=")
    return name, int(value)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--life", type=int, required=True)
    parser.add_argument("--end", type=Path, required=True)
    parser.add_argument("--stop", default="TERM")
    parser.add_argument("--grace", type=float, default=3.0)
    parser.add_argument("--limit", type=_limit, action="append", default=[])
    parser.add_argument("--nice", type=int, default=0)
    parser.add_argument("--user", type=int)
    parser.add_argument("command", nargs="+")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
