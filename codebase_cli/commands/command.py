"""What every sub-command shares: the options for the server, the event loop, and errors as exit codes."""

import asyncio
import functools
import inspect
import os
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer

from codebase_cli.exits import CommandFailed, ExitCode
from codebase_cli.output.console import complain
from codebase_cli.servers.options import ServerOptions

_PANEL = "Which server"

EMBEDDED = typer.Option("--embedded", help="The one of this machine.", rich_help_panel=_PANEL)

_OPTIONS: dict[str, Any] = {
    "url": Annotated[
        str | None,
        typer.Option(
            envvar="CODEBASE_URL", help="Address of an MCP server, with /mcp unless it has a path.",
            rich_help_panel=_PANEL,
        ),
    ],
    "embedded": Annotated[bool, EMBEDDED],
    "context": Annotated[
        str | None,
        typer.Option(envvar="CODEBASE_CONTEXT", help="Context of the kubeconfig.", rich_help_panel=_PANEL),
    ],
    "namespace": Annotated[
        str | None,
        typer.Option(
            "--namespace", "-n", envvar="CODEBASE_NAMESPACE",
            help="Namespace of the release in the cluster.", rich_help_panel=_PANEL,
        ),
    ],
}  # fmt: skip

_DEFAULTS = {"embedded": False}

Command = Callable[..., Any]


def command(function: Command) -> Command:
    """Make a function a sub-command for typer.

    It may be a coroutine function, and returns its exit code, or None for 0. A parameter `options: ServerOptions`
    becomes the four that say which server is meant. A CommandFailed is told on standard error and gives the exit
    code.
    """

    takes_server = "options" in inspect.signature(function).parameters

    @functools.wraps(function)
    def run(**arguments: Any) -> None:
        if takes_server:
            of_server = {name: arguments.pop(name) for name in _OPTIONS}
            arguments["options"] = ServerOptions(**of_server, token=os.environ.get("CODEBASE_TOKEN"))
        raise typer.Exit(_exit_code(function, arguments))

    if takes_server:
        _declare(run, function)
    return run


def _declare(run: Any, function: Command) -> None:
    """Give `run` the parameters of a function, those of the server in the place of `options`: typer reads them."""
    options = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=hint, default=_DEFAULTS.get(name))
        for name, hint in _OPTIONS.items()
    ]
    own = [p for name, p in inspect.signature(function).parameters.items() if name != "options"]
    own = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own]
    run.__signature__ = inspect.Signature([*own, *options])
    run.__annotations__ = {p.name: p.annotation for p in (*own, *options)}
    del run.__wrapped__  # else the signature of the function itself would be read


def _exit_code(function: Command, arguments: dict[str, Any]) -> int:
    try:
        result = function(**arguments)
        return int((asyncio.run(result) if inspect.iscoroutine(result) else result) or ExitCode.DONE)
    except CommandFailed as error:
        complain(str(error))
        return error.code
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has seen enough (`| head`): nothing more can be told, not even at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.DONE
