"""Whether everything is well, and how to mend what is not."""

import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
from rich.text import Text

from codebase_cli.clients import files
from codebase_cli.clients.catalog import CLIENTS, McpClient
from codebase_cli.clients.launch import is_temporary
from codebase_cli.commands.jobs import Json
from codebase_cli.commands.setup import ENTRY
from codebase_cli.exits import CommandFailed, ExitCode, NoServer
from codebase_cli.output.console import answers, write_json
from codebase_cli.servers import embedded
from codebase_cli.servers.endpoint import Endpoint
from codebase_cli.servers.finding import reached
from codebase_cli.servers.options import ServerOptions
from codebase_cli.servers.tools import connected
from codebase_embedded.settings import data_folder
from codebase_index import untrusted_text
from codebase_index.version import VERSION

_NEEDED_BYTES = 1_000_000_000
"""Room for Postgres, its log and an index of some 10,000 files."""

_OLDEST_GIT = (2, 30)
"""What the indexer was tried with at the least: Debian 11's."""


class Verdict(StrEnum):
    """How a check ended."""

    GOOD = "good"
    NOTE = "note"
    """Nothing is wrong, but something may be of interest."""
    BAD = "bad"


@dataclass(frozen=True)
class Finding:
    """What a check found."""

    about: str
    verdict: Verdict
    said: str
    mend: str | None = None
    """What a person can do about it."""


_MARKS = {Verdict.GOOD: ("✓", "green"), Verdict.NOTE: ("-", "yellow"), Verdict.BAD: ("✗", "bold red")}


async def doctor(*, as_json: Json = False, options: ServerOptions) -> int:
    """Check this machine, the server and the clients' configurations; say how to mend what is wrong.

    Starts nothing and changes nothing. Exit code 1: something is wrong.
    """
    findings = [*_this_machine(), *_embedded_server(), *_clients()]
    findings += [finding async for finding in _server(options)]
    if as_json:
        write_json([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            answers().print(_line(finding))
    return ExitCode.FAILED if any(f.verdict is Verdict.BAD for f in findings) else ExitCode.DONE


def _line(finding: Finding) -> Text:
    text = Text.assemble(_MARKS[finding.verdict], " ", (f"{finding.about}: ", "bold"))
    text.append(untrusted_text.line(finding.said))
    if finding.mend:
        text.append(f"\n    → {untrusted_text.line(finding.mend)}", "yellow")
    return text


# --- this machine -----------------------------------------------------------------------------------


def _this_machine() -> Iterator[Finding]:
    where = f"codebase-mcp {VERSION}, Python {platform.python_version()}, {platform.system()} {platform.machine()}"
    if is_temporary():
        mend = "to let clients start it, install it for good: uv tool install, or pipx install"
        yield Finding("command", Verdict.NOTE, f"{where}, in a temporary environment of uvx", mend)
    elif shutil.which("codebase-mcp") is None:
        mend = f"add {Path(sys.executable).parent} to PATH; `setup` writes the whole path anyway"
        yield Finding("command", Verdict.NOTE, f"{where}; not on PATH", mend)
    else:
        yield Finding("command", Verdict.GOOD, where)
    yield _git()
    yield _data_folder(data_folder())


def _git() -> Finding:
    try:
        said = subprocess.run(["git", "--version"], capture_output=True, text=True, timeout=10, check=True).stdout
        version = said.split()[2]
        if tuple(int(part) for part in version.split(".")[:2]) >= _OLDEST_GIT:
            return Finding("git", Verdict.GOOD, version)
        old = ".".join(map(str, _OLDEST_GIT))
        return Finding("git", Verdict.BAD, f"{version} is too old", f"install git {old} or newer")
    except FileNotFoundError:
        return Finding("git", Verdict.BAD, "not found: repositories cannot be listed or cloned", "install git")
    except (OSError, subprocess.SubprocessError, ValueError, IndexError) as error:
        return Finding("git", Verdict.BAD, f"does not run: {error}", "see what `git --version` says")


def _data_folder(folder: Path) -> Finding:
    above = next(path for path in (folder, *folder.parents) if path.exists())
    if not os.access(above, os.W_OK | os.X_OK):
        return Finding("data folder", Verdict.BAD, f"{folder} cannot be written",
                       "set CODEBASE_DATA to a folder of yours")  # fmt: skip
    free = shutil.disk_usage(above).free
    if free < _NEEDED_BYTES:
        return Finding("data folder", Verdict.BAD, f"{folder}: only {free / 1e9:.1f} GB are free on its disk",
                       "make room, or set CODEBASE_DATA to a folder on another disk")  # fmt: skip
    if folder.exists() and folder.stat().st_mode & 0o066:
        return Finding("data folder", Verdict.BAD, f"others can read {folder}", f"chmod go-rw {folder}")
    return Finding("data folder", Verdict.GOOD, f"{folder}, {free / 1e9:.0f} GB free")


# --- servers ----------------------------------------------------------------------------------------


def _embedded_server() -> Iterator[Finding]:
    about = "embedded server"
    found = embedded.running()
    if found is None:
        yield Finding(about, Verdict.NOTE, "none runs", "it starts with the first command or client that needs it")
    elif found.version != VERSION:
        yield Finding(about, Verdict.NOTE, f"it is of version {found.version}, this command of {VERSION}",
                      "it is replaced by the next command; jobs go on")  # fmt: skip
    elif found.ready():
        yield Finding(about, Verdict.GOOD, f"process {found.pid} at {found.url}")
    else:
        mend = f"look into {found.folder.logs}; `codebase-mcp stop` ends it, the next command starts another"
        said = f"is not ready: {health}" if (health := found.health()) else "does not answer"
        yield Finding(about, Verdict.BAD, f"process {found.pid} {said}", mend)


async def _server(options: ServerOptions) -> AsyncIterator[Finding]:
    """Look at the server that a command would ask, if it can be had without starting one."""
    runs = embedded.running() is not None
    if options.embedded and not runs:
        return  # that has been said
    only_looked_for = options.means_any and not runs
    try:
        async with reached(ServerOptions(cluster=True) if only_looked_for else options) as endpoint:
            yield await _answers(endpoint)
            if finding := await _authentication(endpoint):
                yield finding
    except CommandFailed as error:
        if only_looked_for:
            yield Finding("cluster", Verdict.NOTE, str(error), "nothing to do if you use none")
        else:
            yield Finding("server", Verdict.BAD, str(error))


async def _authentication(endpoint: Endpoint) -> Finding | None:
    """Return what is to be said of how the server finds out who calls; None: it does not tell."""
    health = urlsplit(endpoint.url)._replace(path="/healthz", query="").geturl()
    try:
        async with endpoint.http_client() as http:
            mode = (await http.get(health)).json()["authentication"]["mode"]
    except (CommandFailed, httpx2.HTTPError, ValueError, KeyError, TypeError):
        return None  # a server of before, or another one
    if mode == "none":
        said = f"{endpoint.name} asks nobody: whoever reaches it reads all code and cancels all jobs"
        return Finding("identity", Verdict.NOTE, said, "set auth.mode in the chart: docs/identity.md")
    return Finding("identity", Verdict.GOOD, f"{endpoint.name} finds out who calls by {mode}")


async def _answers(endpoint: Endpoint) -> Finding:
    began = time.monotonic()
    async with connected(endpoint) as tools:
        names = await tools.names()
    if "search_code" not in names:
        raise NoServer(f"{endpoint.name} is another MCP server: it has the tools {', '.join(names)}")
    took = 1000 * (time.monotonic() - began)
    return Finding("server", Verdict.GOOD, f"{endpoint.name} answers in {took:.0f} ms, with {len(names)} tools")


# --- clients ----------------------------------------------------------------------------------------


def _clients() -> Iterator[Finding]:
    entries = [(client, command) for client in CLIENTS.values() if (command := _entry_command(client))]
    if not entries:
        yield Finding(
            "clients", Verdict.NOTE, "none has an entry of ours", "connect one: codebase-mcp setup CLIENT"
        )
    for client, command in entries:
        if shutil.which(command):
            yield Finding(client.title, Verdict.GOOD, f"starts {command}")
        else:
            yield Finding(client.title, Verdict.BAD, f"its entry starts {command}, which is not there (any more)",
                          f"codebase-mcp setup {client.name}")  # fmt: skip


def _entry_command(client: McpClient) -> str | None:
    """Return the command that a client's entry starts; None: it has no entry, or no file that can be read."""
    try:
        held: Any = client.format.read(files.text_of(client.user_file()))
        for key in (*client.keys, ENTRY, "command"):
            held = held[key]
    except (CommandFailed, ValueError, KeyError, TypeError):
        return None
    return held if isinstance(held, str) else str(held[0])
