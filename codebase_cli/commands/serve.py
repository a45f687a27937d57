"""The server of this machine: its start and its end."""

from codebase_cli.output.console import say
from codebase_cli.servers import embedded


def stop() -> None:
    """End the server of this machine. Jobs that run go on when it starts again; nothing is lost."""
    found = embedded.running()
    if embedded.stop():
        say("stopped" + (f" (process {found.pid})" if found else ""))
    else:
        say("no server of yours runs on this machine")
