"""Runs the builders: their output goes to a log, and the person who waits sees the steps."""

import os
import re
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from hack.local_cluster.console import duration, say
from hack.local_cluster.errors import ClusterError

# `[2/4] STEP 3/4: RUN ...` (buildah) and `#9 [dependencies 2/4] RUN ...` (docker).
_STEP = re.compile(r"^(?:#\d+ )?(?:\[\S+(?: \S+)?\] )?(?:STEP \S+: )?(?P<what>(?:FROM|RUN|COPY) .*)$")
_LINE_LENGTH = 100
_REMINDER_SECONDS = 20
_TAIL_LINES = 15


def follow(command: Sequence[str | Path], *, log: Path, env: Mapping[str, str] | None = None, hint: str) -> None:
    """Run a long command; show its steps that take a while, and keep everything it says in `log`.

    Raises ClusterError with the last lines of its output and `hint`.
    """
    words = [str(word) for word in command]
    current = _Current()
    threading.Thread(target=current.remind, daemon=True).start()
    try:
        with log.open("w") as record, _start(words, env) as process:
            assert process.stdout is not None  # asked for in _start
            for line in process.stdout:
                record.write(line)
                record.flush()
                if found := _STEP.match(line.rstrip()):
                    current.next(shorten(found["what"]))
    finally:
        current.done.set()
    if process.returncode != 0:
        tail = "\n".join(f"    {line}" for line in log.read_text().splitlines()[-_TAIL_LINES:])
        raise ClusterError(
            f"`{words[0]} {words[1]}` failed ({process.returncode}):\n{tail}\n{hint} All of it: {log}"
        )


def _start(words: Sequence[str], env: Mapping[str, str] | None) -> subprocess.Popen[str]:
    try:
        return subprocess.Popen(
            words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
            env={**os.environ, **(env or {})},
        )  # fmt: skip
    except FileNotFoundError as missing:
        raise ClusterError(f"The program {words[0]} is not on this machine.") from missing


def shorten(step: str) -> str:
    """A step as one short line: the mounts of a RUN say nothing about what it does."""
    text = " ".join(re.sub(r"--mount=\S+", "", step.replace("\\", " ")).split())
    return text if len(text) <= _LINE_LENGTH else text[: _LINE_LENGTH - 1] + "…"


class _Current:
    """The step that runs now, named to the person who waits when it takes long."""

    def __init__(self) -> None:
        self.done = threading.Event()
        self._step = ""
        self._since = time.monotonic()

    def next(self, step: str) -> None:
        self._step, self._since = step, time.monotonic()

    def remind(self) -> None:
        """Runs beside the build until it is done."""
        pause = 3.0  # a step from the cache is quicker than that and is not worth a line
        named = ""
        while not self.done.wait(pause):
            step, since = self._step, self._since
            seconds = time.monotonic() - since
            if step and step != named and seconds >= pause:
                say(f"  {step}")
                named = step
            elif step and step == named and seconds >= _REMINDER_SECONDS and seconds % _REMINDER_SECONDS < pause:
                say(f"  … {duration(seconds)}")
