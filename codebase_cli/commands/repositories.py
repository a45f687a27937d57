"""Indexed repositories: which there are, and the removal of one."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any

import typer

from codebase_cli.commands.jobs import Json, located
from codebase_cli.exits import CommandFailed, ExitCode
from codebase_cli.output import jobs
from codebase_cli.output.console import answers, say, write_json
from codebase_cli.servers.finding import tools_of
from codebase_cli.servers.options import ServerOptions
from codebase_cli.servers.tools import Tools

_LIST, _DELETE = "list_repositories", "delete_index"


async def repos(
    part: Annotated[str | None, typer.Argument(help="Only those whose path, URL or name contains this.")] = None,
    *,
    as_json: Json = False,
    options: ServerOptions,
) -> None:
    """List indexed repositories: how fresh, how complete and how large each index is."""
    async with tools_of(options) as tools:
        await _require(tools, _LIST, "it is older than this command; `codebase-mcp list` shows its jobs")
        found = [repository async for repository in _all(tools, part)]
    if as_json:
        write_json(found)
    elif found:
        headings = ("REPOSITORY", "REF", "NAME", "STATE", "FILES", "CHUNKS", "INDEXED", "COMMIT")
        answers().print(jobs.table(headings, map(_row, found)))
    else:
        say("no repository is indexed; start with: codebase-mcp index PATH")


async def remove(
    repo: Annotated[str, typer.Argument(help="Its path, URL or name, as `repos` shows it.")],
    *,
    ref: Annotated[str | None, typer.Option(help="Which one, where several refs are indexed.")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Without a question.")] = False,
    options: ServerOptions,
) -> int:
    """Remove the index of a repository with all that is in it. The repository itself is left alone."""
    async with tools_of(options) as tools:
        if not yes and not (sys.stdin.isatty() and typer.confirm(f"Remove the index of {repo}?")):
            raise CommandFailed("nothing was removed; --yes removes it without a question")
        if file := tools.endpoint.database_url_file:
            return await asyncio.to_thread(_remove_from, file, located(repo), ref)
        await _require(
            tools, _DELETE,
            "it does not let its callers remove an index; in the cluster an administrator does: kubectl exec "
            f"deploy/codebase-mcp-operator -- codebase-mcp admin delete {repo}",
        )  # fmt: skip
        removed = await tools.call(_DELETE, repo=located(repo) + (f"@{ref}" if ref else ""))
    say(removed["message"])
    return ExitCode.DONE


def _remove_from(database_url_file: Path, repo: str, ref: str | None) -> int:
    """Remove an index as the database's owner, who needs no leave of the server as agents do."""
    from codebase_cli import admin  # takes long to load
    from codebase_index.store.address import FILE_VARIABLE

    os.environ[FILE_VARIABLE] = str(database_url_file)
    return admin.main(["--namespace", "*", "delete", repo, *(() if ref is None else ("--ref", ref))])


async def _require(tools: Tools, tool: str, otherwise: str) -> None:
    if tool not in await tools.names():
        raise CommandFailed(f"{tools.endpoint.name} has no tool {tool}: {otherwise}")


async def _all(tools: Tools, part: str | None) -> AsyncIterator[dict[str, Any]]:
    offset: int | None = 0
    while offset is not None:
        page = await tools.call(_LIST, repo=part, offset=offset)
        for repository in page["repositories"]:
            yield repository
        offset = page.get("next_offset")


def _row(found: dict[str, Any]) -> tuple[str, ...]:
    state = found["state"]
    if state not in ("complete", "empty"):
        state += f", {found['percent_complete']} %"
    indexed = f"{jobs.age(found['indexed_at'])} ago" if found.get("indexed_at") else "never completely"
    return (found["repository"], found.get("ref") or "-", found.get("name") or "-", state, f"{found['files']:,}",
            f"{found['chunks']:,}", indexed, (found.get("commit") or "-")[:12])  # fmt: skip
