"""Wrappers in the state's bin folder that always talk to this checkout's cluster, whatever is on PATH."""

import os
import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path

from .paths import State


def write(state: State, *, kubectl: Sequence[str | Path], helm: Sequence[str | Path]) -> None:
    """Write `kubectl` and `helm` wrappers around the given commands, with this cluster's kubeconfig."""
    kubeconfig = shlex.quote(str(state.kubeconfig))
    for name, command in (("kubectl", kubectl), ("helm", helm)):
        write_wrapper(state, name, f"KUBECONFIG={kubeconfig} exec {shlex.join(map(str, command))}")


def write_wrapper(state: State, name: str, line: str) -> None:
    """Write one wrapper: a shell line that gets the user's arguments appended."""
    state.bin.mkdir(parents=True, exist_ok=True)
    path = state.bin / name
    unfinished = path.with_name(f".{name}.unfinished")  # somebody may be starting the old one right now
    unfinished.write_text(f'#!/bin/sh\n{line} "$@"\n')
    unfinished.chmod(0o755)
    unfinished.replace(path)


def wrapped_program(state: State, name: str) -> str:
    """Return the whole path of the program that a wrapper of the same name is for.

    By its name alone, a wrapper would start itself for ever where the wrappers' folder comes first in PATH.
    """
    elsewhere = os.pathsep.join(folder for folder in os.get_exec_path() if Path(folder) != state.bin)
    return shutil.which(name, path=elsewhere) or name
