"""The server of this machine: its start and its end."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from codebase_cli.output.console import say
from codebase_cli.servers import embedded


def serve(
    http: Annotated[
        bool, typer.Option("--http", help="Run it here until Ctrl-C, for clients over HTTP with a token.")
    ] = False,
    root: Annotated[
        list[Path] | None,
        typer.Option(
            help="A folder below which repositories may be indexed; may be repeated. Default: your home."
        ),
    ] = None,
    git_host: Annotated[
        list[str] | None,
        typer.Option(help="A host to clone from; may be repeated. Default: github.com and gitlab.com."),
    ] = None,
    allow_user_credentials: Annotated[
        bool,
        typer.Option(
            "--allow-user-credentials",
            help="Let git use your own credentials and ssh keys: whoever uses this server can have indexed, and "
            "read, every repository that you can open on the hosts to clone from.",
        ),
    ] = False,
    port: Annotated[
        int | None, typer.Option(help="TCP port on 127.0.0.1. Default: the one before, or a free one.")
    ] = None,
) -> None:
    """Serve MCP on this machine: over standard input and output, which editors and agents start, or over HTTP.

    All clients share one server, which starts with the first and ends by itself when nobody has used it for some
    minutes and no job is unfinished. What is set here holds when it is started; one that runs keeps its own.
    """
    settings = embedded.settings_of(
        roots=root and tuple(root), git_hosts=git_host and tuple(git_host), port=port,
        user_credentials=allow_user_credentials or None,
    )  # fmt: skip
    # In the place of this process, without all that the command has loaded: it stays as long as its client.
    how = "--foreground" if http else "--stdio"
    os.execv(sys.executable, [sys.executable, "-m", "codebase_embedded", how, settings.to_json()])  # noqa: S606


def stop() -> None:
    """End the server of this machine. Jobs that run go on when it starts again; nothing is lost."""
    found = embedded.running()
    if embedded.stop():
        say("stopped" + (f" (process {found.pid})" if found else ""))
    else:
        say("no server of yours runs on this machine")
