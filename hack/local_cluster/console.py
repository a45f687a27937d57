"""Lines for the person who waits: what happens, why, and for how long already."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from .errors import ClusterError

_started = time.monotonic()


def duration(seconds: float) -> str:
    """`seconds` as people say it: `42 s` or `3 min 05 s`."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def say(text: str) -> None:
    """Print one line with the time since the program started."""
    print(f"[{duration(time.monotonic() - _started):>11}] {text}", flush=True)


@contextmanager
def step(text: str) -> Iterator[None]:
    """Announce `text`, and say how long it took where that was longer than a few seconds."""
    say(text)
    begin = time.monotonic()
    yield
    if time.monotonic() - begin > 5:
        say(f"  done in {duration(time.monotonic() - begin)}")


def run(
    command: Sequence[str | Path],
    *,
    hint: str = "",
    env: Mapping[str, str] | None = None,
    stdin: str | None = None,
) -> str:
    """Run a short command and return its standard output.

    Raises ClusterError with the end of the command's own error output and `hint`, which says what to do.
    """
    words = [str(word) for word in command]
    try:
        done = subprocess.run(words, capture_output=True, text=True, env=env, input=stdin, check=False)
    except FileNotFoundError as missing:
        raise ClusterError(f"The program {words[0]} is not on this machine. {hint}".strip()) from missing
    if done.returncode != 0:
        reason = (done.stderr.strip() or done.stdout.strip() or "it said nothing")[-600:]
        command_line = " ".join(words)[:200]
        raise ClusterError(f"`{command_line}` failed ({done.returncode}): {reason.rstrip('.')}. {hint}".strip())
    return done.stdout


def succeeds(command: Sequence[str | Path], *, timeout_seconds: float = 30) -> bool:
    """Whether a command exists, ends in time, and exits with 0. Its output is thrown away."""
    try:
        done = subprocess.run(
            [str(word) for word in command], capture_output=True, timeout=timeout_seconds, check=False
        )
    except (FileNotFoundError, PermissionError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def wait_until(condition: Callable[[], bool], what: str, *, limit_seconds: float, hint: str) -> None:
    """Ask `condition` several times a second until it holds; every 15 s say what is waited for.

    Raises ClusterError when it does not hold within the limit.
    """
    begin = time.monotonic()
    next_line = begin + 15
    while not condition():
        now = time.monotonic()
        if now - begin > limit_seconds:
            raise ClusterError(f"{what}: not so after {duration(limit_seconds)}. {hint}")
        if now > next_line:
            say(f"  still waiting: {what}")
            next_line += 15
        time.sleep(0.2)


def fail(error: ClusterError) -> int:
    """Print an expected failure and return the exit code that stands for it."""
    print(f"local cluster: {error}", file=sys.stderr, flush=True)
    return 2
