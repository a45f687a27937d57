"""All sub-commands, in the order of their help."""

import sys
from typing import Annotated

import typer

from codebase_cli.commands import connect, doctor, jobs, repositories, search, serve, setup, transfer
from codebase_cli.commands.command import EMBEDDED, command
from codebase_cli.output.console import say
from codebase_cli.servers.options import ServerOptions
from codebase_index.version import VERSION

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None if not sys.stdout.isatty() else "markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done, 1 refused or failed, 2 wrong arguments, 3 no server, 4 nothing found, 5 the job "
    "that was waited for did not complete, 130 interrupted.",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        version()
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Code search for AI agents and people: index in the background, search by meaning and by words.

    The server is found by itself: an embedded one that runs on this machine, else the release in the cluster of
    your kubeconfig's current context, else an embedded one is started.
    """


def version() -> None:
    """Show the version."""
    say(f"codebase-mcp {VERSION}")


_USE, _CONNECT, _KEEP = "Index and search", "Connect clients", "Look after it"

for name, function, panel in (
    ("index", jobs.index, _USE),
    ("search", search.search, _USE),
    ("status", jobs.status, _USE),
    ("list", jobs.list_jobs, _USE),
    ("cancel", jobs.cancel, _USE),
    ("repos", repositories.repos, _USE),
    ("rm", repositories.remove, _USE),
    ("setup", setup.setup, _CONNECT),
    ("connect", connect.connect, _CONNECT),
    ("serve", serve.serve, _CONNECT),
    ("doctor", doctor.doctor, _KEEP),
    ("export", transfer.export, _KEEP),
    ("import", transfer.import_, _KEEP),
    ("stop", serve.stop, _KEEP),
    ("version", version, _KEEP),
):
    app.command(name, rich_help_panel=panel)(command(function))


@app.command(
    "admin", rich_help_panel=_KEEP, add_help_option=False,
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
)  # fmt: skip
def _admin() -> None:
    """Show and remove indexes with the database's address, as in the operator's pod (`admin --help`)."""
    raise AssertionError("`main` takes this one before typer is loaded")


_OF_THIS_MACHINE = ("serve", "export", "import", "stop")


def _leave_out_this_machine() -> None:
    """Say nothing of a server of this machine in the help: `kubectl codebase` is about clusters."""
    assert app.registered_callback is not None
    app.registered_callback.help = (
        "Code search for AI agents and people: index in the background, search by meaning and by words.\n\n"
        "The server is the release in the cluster of your kubeconfig's current context, or the one that --context "
        "and --namespace name."
    )
    for registered in app.registered_commands:
        registered.hidden = registered.hidden or registered.name in _OF_THIS_MACHINE
    EMBEDDED.hidden = True


def run(arguments: list[str], program: str) -> int:
    """Run a sub-command; return its exit code."""
    if ServerOptions().cluster:
        _leave_out_this_machine()
    try:
        app(args=arguments, prog_name=program)
    except SystemExit as end:
        return int(end.code or 0)
    return 0
