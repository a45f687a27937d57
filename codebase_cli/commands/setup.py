"""The configuration of MCP clients: shown, written, taken back."""

import difflib
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from codebase_cli.clients import files
from codebase_cli.clients.catalog import CLIENTS, McpClient
from codebase_cli.clients.json_text import JsonTextInvalid
from codebase_cli.clients.launch import is_temporary, launch
from codebase_cli.clients.toml_text import TomlTextInvalid
from codebase_cli.exits import CommandFailed, ExitCode
from codebase_cli.output.console import answers, remark, say
from codebase_cli.output.jobs import table
from codebase_cli.servers import embedded
from codebase_cli.servers.options import ServerOptions

ENTRY = "codebase"
"""Name of our entry: clients put it in front of each tool's name, so it is short."""

_COLORS = {"+": "green", "-": "red", "@": "dim"}


def _names(incomplete: str) -> Iterable[str]:
    return (name for name in CLIENTS if name.startswith(incomplete))


async def setup(
    client: Annotated[
        str | None,
        typer.Argument(metavar="CLIENT", help=f"{', '.join(CLIENTS)}. Default: show all.", autocompletion=_names),
    ] = None,
    *,
    project: Annotated[
        Path | None,
        typer.Option(
            "--project", metavar="FOLDER",
            help="Write into this project's file, which a team shares, instead of your own.",
        ),
    ] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Take the entry back.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Write without a question.")] = False,
    name: Annotated[str, typer.Option(help="Name of the entry.")] = ENTRY,
    options: ServerOptions,
) -> int:  # fmt: skip
    """Connect an MCP client: show what would change in its configuration, then write it.

    Everything else in the file stays as it is, comments included, and the file as it was is kept beside it. The
    entry starts `codebase-mcp serve` for the server of this machine, or `codebase-mcp connect` for one in a
    cluster, as --context and --namespace say.
    """
    if client is None:
        _show_all(name)
        return ExitCode.DONE
    chosen = CLIENTS.get(client)
    if chosen is None:
        raise CommandFailed(f"no client is called {client}; there is {', '.join(CLIENTS)}")
    file = _file(chosen, project)
    before = files.text_of(file)
    try:
        after = _without(chosen, before, name) if remove else await _with(chosen, before, name, options, project)
    except (JsonTextInvalid, TomlTextInvalid) as error:
        raise CommandFailed(
            f"{file} cannot be understood: {error}; nothing was changed. Mend it, or write the entry by hand: "
            f"{chosen.documented}"
        ) from error
    if after == before:
        say(f"{file} has {'no' if remove else 'this'} entry {name!r}{'' if remove else ' already'}: nothing to do")
        return ExitCode.DONE
    _show_difference(file, before, after)
    if not (yes or _agreed()):
        remark("nothing was written; --yes writes it")
        return ExitCode.DONE
    kept = files.replace(file, before, after)
    say(f"{'removed from' if remove else 'written to'} {file}" + (f"; as it was: {kept}" if kept else ""), "green")
    if not remove:
        say(f"{chosen.title}: {chosen.then}")
    return ExitCode.DONE


async def _with(chosen: McpClient, text: str, name: str, options: ServerOptions, project: Path | None) -> str:
    if is_temporary():
        remark(
            "this command runs in a temporary environment of uvx, which may be removed; install it for good (uv "
            "tool install, pipx install) before a client is to start it", "yellow",
        )  # fmt: skip
    started = launch(await _meant(options), shared=project is not None)
    return str(chosen.format.with_member(text, (*chosen.keys, name), chosen.entry(started)))


def _without(chosen: McpClient, text: str, name: str) -> str:
    """Return the text without our entry; empty where nothing else was in it."""
    rest = str(chosen.format.without_member(text, (*chosen.keys, name)))
    return "" if rest != text and rest.strip() in ("", "{}") else rest


async def _meant(options: ServerOptions) -> ServerOptions:
    """Return the server that an entry is to name for good. Nothing asked for: as `finding` would find it today."""
    if options.url or options.embedded or (options.means_any and embedded.running()):
        return options
    from codebase_cli.servers.cluster import NoRelease, find_release

    try:
        release = await find_release(options.context, options.namespace)
    except NoRelease:
        if options.means_cluster:
            raise
        return options
    return ServerOptions(context=release.context, namespace=release.namespace)


def _file(chosen: McpClient, project: Path | None) -> Path:
    if project is None:
        return chosen.user_file()
    if chosen.project_file is None:
        raise CommandFailed(f"{chosen.title} has no configuration of a project; leave out --project")
    return project.expanduser() / chosen.project_file


def _show_difference(file: Path, before: str, after: str) -> None:
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), str(file), str(file), lineterm="", n=2)
    for line in lines:
        answers().print(Text(line, _COLORS.get(line[:1], "")))


def _agreed() -> bool:
    return sys.stdin.isatty() and typer.confirm("Write this?", default=True)


def _show_all(name: str) -> None:
    rows = []
    for client in CLIENTS.values():
        file = client.user_file()
        rows.append((client.name, client.title, _state(client, file, name), str(file)))
    answers().print(table(("CLIENT", "PROGRAM", "ENTRY", "FILE"), rows))


def _state(client: McpClient, file: Path, name: str) -> str:
    if not file.exists():
        return "no file"
    try:
        held = client.format.read(files.text_of(file))
        for key in (*client.keys, name):
            held = held[key]
    except (KeyError, TypeError):
        return "no"
    except (CommandFailed, JsonTextInvalid, TomlTextInvalid):
        return "unreadable"
    return "yes"
