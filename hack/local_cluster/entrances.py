"""Wrappers in the state's bin folder that always talk to this checkout's cluster, whatever is on PATH."""

import shlex
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
