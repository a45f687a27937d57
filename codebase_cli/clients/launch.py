"""How a client has to start our command, so that it reaches the server that is meant."""

import os
import sys
from pathlib import Path

from codebase_cli.clients.catalog import Launch
from codebase_cli.servers.options import ServerOptions

_TEMPORARY = {"archive-v0", "environments-v2", "builds-v0"}
"""Folders of uv's cache in which `uvx` makes environments: it may remove them at any time."""

_OF_EMBEDDED = ("CODEBASE_DATA", "XDG_DATA_HOME", "CODEBASE_EMBEDDED_ROOTS", "CODEBASE_GIT_HOSTS")
_OF_CLUSTER = ("KUBECONFIG",)


def launch(server: ServerOptions, *, shared: bool) -> Launch:
    """Return how the command is started for this server; all empty: the embedded one.

    `shared` is for a file that others read, too: it names the command for their PATH to find, and nothing of this
    machine. Else a client that a desktop started, without a shell's PATH and variables, has to find it, too.
    """
    of_cluster = server.means_cluster or bool(server.url)
    options = {"--url": server.url, "--context": server.context, "--namespace": server.namespace}
    given = [part for name, value in options.items() if value for part in (name, value)]
    arguments = ("connect", *given) if of_cluster else ("serve",)
    if shared:
        return Launch("codebase-mcp", arguments)
    names = _OF_CLUSTER if of_cluster else _OF_EMBEDDED
    environment = {name: os.environ[name] for name in names if os.environ.get(name)}
    script = Path(sys.executable).with_name("codebase-mcp")
    if script.exists():
        return Launch(str(script), arguments, environment)
    return Launch(sys.executable, ("-m", "codebase_cli", *arguments), environment)


def is_temporary() -> bool:
    """Whether this environment is one that uv may remove at any time."""
    return bool(_TEMPORARY & set(Path(sys.prefix).parts))
