"""Other programs that find lines of files: ripgrep, which reads them all, and codesearch, which has a trigram
index."""

import contextlib
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

Place = tuple[str, int]
"""Path and line of a file, counted from 1."""

_LINE = re.compile(rb"^(.+?):(\d+):", re.MULTILINE)


@dataclass(frozen=True)
class Program:
    """A program and how it is called for a text or an expression."""

    name: str
    of_text: Sequence[str]
    of_expression: Sequence[str]
    folders: Sequence[str]
    quotes: bool
    """It knows expressions alone, so that a text has to be quoted."""
    environment: Mapping[str, str] = field(default_factory=dict)

    def search(self, text: str, *, is_regex: bool) -> tuple[float, set[Place]]:
        """Return the seconds that a search takes, and the lines that it finds."""
        asked = re.escape(text) if self.quotes and not is_regex else text
        command = [*(self.of_expression if is_regex else self.of_text), asked, *self.folders]
        began = time.perf_counter()
        found = subprocess.run(command, capture_output=True, env={**os.environ, **self.environment}, check=False)
        seconds = time.perf_counter() - began
        return seconds, {(os.fsdecode(path), int(line)) for path, line in _LINE.findall(found.stdout)}


@contextlib.contextmanager
def programs(folders: Sequence[Path]) -> Iterator[list[Program]]:
    """Yield those that are installed, with an index where they need one."""
    found, paths = [], [str(folder) for folder in folders]
    with tempfile.TemporaryDirectory(prefix="bench-grep-") as scratch:
        if shutil.which("rg"):
            call = [
                "rg",
                "--no-config",
                "--no-ignore",
                "--hidden",
                "--line-number",
                "--with-filename",
                "--color=never",
            ]
            found.append(Program("ripgrep", [*call, "-F", "--"], [*call, "--"], paths, quotes=False))
        if shutil.which("csearch"):
            environment = {"CSEARCHINDEX": f"{scratch}/index"}
            subprocess.run(
                ["cindex", *paths], env={**os.environ, **environment}, check=True, capture_output=True
            )  # fmt: skip
            found.append(Program("codesearch", ["csearch", "-n"], ["csearch", "-n"], [], True, environment))
        yield found
