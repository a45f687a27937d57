"""The command `codebase-mcp`: a word for each program, and `admin` for whoever looks after the indexes."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from typing import Final

from codebase_index.store.address import FILE_VARIABLE, VARIABLE
from codebase_index.version import DISTRIBUTION, VERSION

MISSING: Final = 2
"""Exit code when what the program imports is not installed."""

Program = Callable[[], int]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one program; return its exit code."""
    asked = _parser().parse_args(arguments)
    try:
        program: Program = asked.load(asked)
    except ModuleNotFoundError as missing:
        if (missing.name or "codebase_").startswith("codebase_"):
            raise
        print(
            f"codebase-mcp {asked.command}: the package {missing.name} is not installed; install {DISTRIBUTION} "
            f"with its extra {asked.command!r}, or with 'all'",
            file=sys.stderr,
        )
        return MISSING
    return program()


# Each program is imported when it is asked for: its packages may not be installed, and take a second to load.


def _server(asked: argparse.Namespace) -> Program:
    from codebase_mcp.__main__ import run

    return lambda: run(over_http=asked.http)


def _operator(_: argparse.Namespace) -> Program:
    from codebase_operator.__main__ import main as run

    return run


def _indexer(_: argparse.Namespace) -> Program:
    from codebase_indexer.supervisor import Supervisor

    return Supervisor().run


def _admin(asked: argparse.Namespace) -> Program:
    from codebase_cli.admin import run

    return lambda: run(asked)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="codebase-mcp", description="Code search for AI agents on Kubernetes.")
    parser.add_argument("--version", action="version", version=f"codebase-mcp {VERSION}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    server = commands.add_parser("server", help="the MCP server, over standard input and output or over HTTP")
    server.add_argument("--http", action="store_true", help="serve streamable HTTP on CODEBASE_PORT at /mcp")
    server.set_defaults(load=_server)
    operator = commands.add_parser("operator", help="the operator: runs IndexingJobs of its namespace as pods")
    operator.set_defaults(load=_operator)
    indexer = commands.add_parser("indexer", help="an indexer pod's first process: indexes what its pod was told")
    indexer.set_defaults(load=_indexer)
    admin = commands.add_parser(
        "admin",
        help="show and remove indexes",
        description=f"Shows and removes indexes. The database's address is in {FILE_VARIABLE} or {VARIABLE}.",
    )
    admin.set_defaults(load=_admin)
    _add_admin_arguments(admin)
    return parser


def _add_admin_arguments(admin: argparse.ArgumentParser) -> None:
    admin.add_argument(
        "--namespace", default=os.environ.get("CODEBASE_NAMESPACE", "default"),
        help="whose indexes; its own, %(default)s, unless given; '*' is every one that uses the database",
    )  # fmt: skip
    actions = admin.add_subparsers(dest="action", required=True, metavar="ACTION")
    actions.add_parser("list", help="every index, what it holds, and its newest job")
    delete = actions.add_parser(
        "delete",
        help="remove an index with everything in it",
        description="Removes an index. Search stops finding it at once. A removal that was interrupted goes on "
        "when the command is given again. Refused while a job works on the index.",
    )
    delete.add_argument("index", help="its source (path or URL), its name or its id, as `list` shows them")
    delete.add_argument("--ref", help="which one, where several refs are indexed; '' is the one without a ref")


if __name__ == "__main__":
    sys.exit(main())
