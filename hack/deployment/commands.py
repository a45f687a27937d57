"""Runs kubectl and helm against the cluster of `make up`, and nothing else."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[2]
KUBECONFIG = CHECKOUT / ".cluster" / "kubeconfig"


class CommandFailed(RuntimeError):
    """A command ended with an error; the message holds what it printed."""


def kubectl(*arguments: str, stdin: str | None = None, timeout: float = 120) -> str:
    """Run kubectl and return what it printed. Raises CommandFailed."""
    return run("kubectl", *arguments, stdin=stdin, timeout=timeout)


def kubectl_json(*arguments: str) -> Any:
    """Run kubectl with `-o json` and return the parsed answer."""
    return json.loads(kubectl(*arguments, "-o", "json"))


def helm(*arguments: str, timeout: float = 600) -> str:
    """Run helm and return what it printed. Raises CommandFailed."""
    return run("helm", *arguments, timeout=timeout)


def run(tool: str, *arguments: str, stdin: str | None = None, timeout: float = 120) -> str:
    """Run a tool of the cluster's own bin folder with the cluster's kubeconfig."""
    done = subprocess.run(
        [tool_path(tool), *arguments],
        input=stdin, capture_output=True, text=True, timeout=timeout, check=False, env=environment(),
    )  # fmt: skip
    if done.returncode:
        raise CommandFailed(f"{tool} {' '.join(arguments[:6])} failed: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def tool_path(tool: str) -> str:
    """Return the cluster's own build of a tool, or its name for PATH to find."""
    own = CHECKOUT / ".cluster" / "bin" / tool
    return str(own) if own.exists() else tool


def environment() -> dict[str, str]:
    """Return the environment in which tools talk to this cluster, whatever the user's own settings."""
    return {**os.environ, "KUBECONFIG": str(KUBECONFIG)}
