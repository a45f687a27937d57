"""Searching."""

from enum import StrEnum
from typing import Annotated, Any

import typer

from codebase_cli.commands.jobs import Json, located
from codebase_cli.exits import ExitCode
from codebase_cli.output import places
from codebase_cli.output.console import answers, remark, remarks, write_json
from codebase_cli.servers.finding import tools_of
from codebase_cli.servers.options import ServerOptions


class Mode(StrEnum):
    """How `search_code` searches."""

    AUTO = "auto"
    SYMBOL = "symbol"
    TEXT = "text"
    REGEX = "regex"


async def search(
    query: Annotated[str, typer.Argument(help="A question in words, a name, a piece of code, an expression.")],
    *,
    mode: Annotated[
        Mode,
        typer.Option(
            "--mode", "-m",
            help="auto: by meaning and words, best first. symbol: a name's definitions, then its uses. text, "
            "regex: every line that holds or matches it, by path.",
        ),
    ] = Mode.AUTO,
    repo: Annotated[
        list[str] | None, typer.Option("--repo", "-r", help="Only this repository: path, URL or name. Repeatable.")
    ] = None,
    path: Annotated[str | None, typer.Option("--path", "-p", help="Only files below: src/api/")] = None,
    language: Annotated[str | None, typer.Option("--language", "-l", help="Only this one, such as go.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=50, help="Most results to show.")] = 10,
    full: Annotated[bool, typer.Option("--full", help="Whole chunks with the lines around them.")] = False,
    cursor: Annotated[str | None, typer.Option(help="The next page, as the page before names it.")] = None,
    as_json: Json = False,
    options: ServerOptions,
) -> int:  # fmt: skip
    """Search code by meaning, by name, by text or by regular expression. Exit code 4: nothing found."""
    arguments: dict[str, Any] = {
        "query": query, "mode": mode.value, "repo": [located(one) for one in repo or ()] or None, "path": path,
        "language": language, "limit": limit, "detail": "full" if full else None, "cursor": cursor,
    }  # fmt: skip
    async with tools_of(options) as tools:
        answer = await tools.call("search_code", **arguments)
    if as_json:
        write_json(answer)
    else:
        _show(answer)
    return ExitCode.DONE if answer["results"] else ExitCode.NOTHING_FOUND


def _show(answer: dict[str, Any]) -> None:
    for number, result in enumerate(answer["results"], start=1):
        answers().print(places.place(number, result))
    if answer["message"]:
        remark(answer["message"], "yellow")
    for index in answer["indexes"]:
        remarks().print(places.index_status(index))
    if answer["next_cursor"]:
        remark(f"more: the same with --cursor {answer['next_cursor']}")
