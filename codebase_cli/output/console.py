"""Where output goes: answers to standard output, all else to standard error, and both without folds in a pipe."""

import json
import sys
from typing import Any, TextIO

from rich.console import Console
from rich.text import Text

from codebase_index import untrusted_text

_NO_FOLDS = 10_000
"""Columns where there is no terminal: a line that is searched for must stay one line."""


def answers() -> Console:
    """Return the console of what was asked for."""
    return _console(sys.stdout)


def remarks() -> Console:
    """Return the console of progress and problems."""
    return _console(sys.stderr)


def _console(file: TextIO) -> Console:
    # Text of repositories is shown as it is: no markup, no emoji codes, no guessed colours.
    width = None if file.isatty() else _NO_FOLDS
    return Console(file=file, markup=False, emoji=False, highlight=False, width=width, soft_wrap=True)


def say(text: str, style: str = "") -> None:
    """Write a line for a person to standard output."""
    answers().print(Text(untrusted_text.line(text), style))


def remark(text: str, style: str = "dim") -> None:
    """Write a line for a person to standard error: it is none of what was asked for."""
    remarks().print(Text(untrusted_text.line(text), style))


def complain(text: str) -> None:
    """Write what went wrong."""
    remarks().print(Text.assemble(("codebase-mcp: ", "bold red"), untrusted_text.code(text)))


def write_json(value: Any) -> None:
    """Write a value for a program."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n")
