"""The administrator's command: which indexes there are, and the removal of one. Runs in the operator's image.

kubectl exec deploy/codebase-mcp-operator -- codebase-mcp admin list
kubectl exec deploy/codebase-mcp-operator -- codebase-mcp admin delete /repositories/shop

Of the indexes of its own namespace; `admin --namespace NAME` is about another one that uses the same database.
"""

import argparse
import asyncio
import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import Final

from codebase_index import untrusted_text
from codebase_index.store.address import FILE_VARIABLE, VARIABLE, NoAddress, owner_address_from_env
from codebase_index.store.catalog.removal import IndexOverview, Removal
from codebase_index.store.database import Database
from codebase_index.store.errors import IndexInUse, StoreError

TELL_EVERY: Final = 2.0
"""Seconds between lines of progress."""


class RequestRefused(Exception):
    """The request names no index, or several. The message says which there are."""


def main(arguments: Sequence[str]) -> int:
    """Carry out what is asked for. Return 0, or 1 with the reason on standard error."""
    asked = _parser().parse_args(arguments)
    try:
        asyncio.run(_run(asked))
    except (RequestRefused, NoAddress, StoreError) as error:
        print(f"codebase-mcp admin: {untrusted_text.line(str(error))}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("codebase-mcp admin: interrupted; run the same command again to finish", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    """Not typer's: it is not in the operator's image, where an administrator has the database's address."""
    parser = argparse.ArgumentParser(
        prog="codebase-mcp admin",
        description=f"Shows and removes indexes. The database's address is in {FILE_VARIABLE} or {VARIABLE}.",
    )
    parser.add_argument(
        "--namespace", default=os.environ.get("CODEBASE_NAMESPACE", "default"),
        help="whose indexes; its own, %(default)s, unless given; '*' is every one that uses the database",
    )  # fmt: skip
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    actions.add_parser("list", help="every index, what it holds, and its newest job")
    delete = actions.add_parser(
        "delete",
        help="remove an index with everything in it",
        description="Removes an index. Search stops finding it at once. A removal that was interrupted goes on "
        "when the command is given again. Refused while a job works on the index.",
    )
    delete.add_argument("index", help="its source (path or URL), its name or its id, as `list` shows them")
    delete.add_argument("--ref", help="which one, where several refs are indexed; '' is the one without a ref")
    actions.add_parser(
        "empty",
        help="remove every index",
        description="Removes every index, which the next jobs make anew: it is a cache of the repositories. "
        "Those that a job works on are named and stay. What was interrupted goes on when it is given again.",
    )
    return parser


async def _run(asked: argparse.Namespace) -> None:
    database = await Database.open(owner_address_from_env(), name="codebase-mcp-admin", size=1)
    try:
        removal = Removal(database, None if asked.namespace == "*" else [asked.namespace])
        if asked.action == "list":
            print(table(await removal.overview()))
        elif asked.action == "empty":
            await _empty(removal)
        else:
            await _delete(removal, asked.index, asked.ref)
    finally:
        await database.close()


async def _empty(removal: Removal) -> None:
    used = 0
    for index in await removal.overview():
        what = f"{untrusted_text.line(index.source)}{_at(index.ref)}"
        try:
            await removal.detach(index.id)
        except IndexInUse as error:
            used += 1
            print(f"{what} stays: {error}", file=sys.stderr)
        else:
            await removal.delete_contents(index.id, _teller(index.files))
            print(f"{what}: removed", flush=True)
    print("making its room in the database usable again (VACUUM)", flush=True)
    await removal.vacuum()
    if used:
        raise RequestRefused(f"{used} of them are in use and stay; end their jobs, then give the command again")
    print("done")


async def _delete(removal: Removal, wanted: str, ref: str | None) -> None:
    index = chosen(await removal.overview(), wanted, ref)
    await removal.detach(index.id)
    holds = f"{index.files:,} files, {index.chunks:,} chunks, about {size(index.bytes)}"
    print(
        f"{untrusted_text.line(index.source)}{_at(index.ref)}: {holds}; search does not find it any more",
        flush=True,
    )
    await removal.delete_contents(index.id, _teller(index.files))
    print("removed; making its room in the database usable again (VACUUM)", flush=True)
    await removal.vacuum()
    again = [i for i in await removal.overview() if _what(i) == _what(index)]
    print("done" + ("; what was indexed anew since is kept: delete it again to remove that too" if again else ""))


def _teller(files: int) -> Callable[[int, int], None]:
    """Return a listener to removed batches that tells now and then how far it is."""
    removed, told = 0, time.monotonic()

    def tell(batch: int, _: int) -> None:
        nonlocal removed, told
        removed += batch
        if time.monotonic() - told >= TELL_EVERY:
            told = time.monotonic()
            print(f"  {removed:,} of {files:,} files removed", flush=True)

    return tell


def chosen(indexes: Sequence[IndexOverview], wanted: str, ref: str | None) -> IndexOverview:
    """Return the one index that is meant. Raises RequestRefused.

    One whose removal was interrupted comes first: then the command finishes that, and leaves alone what a job
    has indexed anew since.
    """
    exact = [i for i in indexes if wanted.rstrip("/") in (i.source.rstrip("/"), i.name, str(i.id))]
    found = [i for i in exact if ref is None or (i.ref or "") == ref]
    if not found:
        there = f"; there is {_told(exact)}" if exact else ""
        raise RequestRefused(f"no index of {wanted}{_at(ref)}{there}; `codebase-mcp admin list` shows all")
    if len({_what(i) for i in found}) > 1:
        raise RequestRefused(
            f"{wanted} means several indexes: {_told(found)}; give the source and --ref REF, or the ID that "
            "`codebase-mcp admin list` shows"
        )
    return next((i for i in found if i.removal_started), found[0])


def _what(index: IndexOverview) -> tuple[object, ...]:
    return (index.namespace, index.source, index.ref, index.include, index.exclude)


def _told(indexes: Sequence[IndexOverview]) -> str:
    several = len({i.namespace for i in indexes}) > 1
    return ", ".join(
        f"{i.source}{_at(i.ref) or ' without a ref'}{_filter(i)} (ID {i.id}"
        + f" in namespace {i.namespace}" * several
        + ")"
        for i in indexes
    )


def _filter(index: IndexOverview) -> str:
    only = f" only {' '.join(index.include)}" if index.include else ""
    return only + (f" without {' '.join(index.exclude)}" if index.exclude else "")


def _at(ref: str | None) -> str:
    return f"@{ref}" if ref else ""


_HEADINGS = ("ID", "NAMESPACE", "SOURCE", "REF", "NAME", "FILES", "CHUNKS", "SIZE", "INDEXED AT", "NEWEST JOB")


def table(indexes: Sequence[IndexOverview]) -> str:
    """Lay the indexes out in columns, for people."""
    if not indexes:
        return "no index"
    rows = [_HEADINGS, *(tuple(map(untrusted_text.line, _row(index))) for index in indexes)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def _row(index: IndexOverview) -> tuple[str, ...]:
    if index.removal_started:
        state = "removal begun: delete it again to finish"
    else:
        state = f"{index.job} {index.job_state}" if index.job else "-"
    at = f"{index.indexed_at:%Y-%m-%d %H:%M}" if index.indexed_at else "never completely"
    counts = (f"{index.files:,}", f"{index.chunks:,}", size(index.bytes))
    source = index.source + _filter(index)
    return (str(index.id), index.namespace, source, index.ref or "-", index.name or "-", *counts, at, state)


def size(number: int) -> str:
    """Write a number of bytes with the unit that leaves one to four digits before the point."""
    value, units = float(number), ["B", "kB", "MB", "GB"]
    while value >= 1000 and len(units) > 1:
        value, units = value / 1000, units[1:]
    return f"{value:.{1 if value < 10 and units[0] != 'B' else 0}f} {units[0]}"
