"""Brings the schema up to date: numbered files of `schema/`, forward only, each checked by its digest.

Each migration is one transaction under an advisory lock, so that several programs may start at once, with a lock
timeout, so that the programs of the release before go on beside it (docs/decisions/0013).
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Final

import asyncpg

from codebase_index.store import queries
from codebase_index.store.errors import SchemaMismatch, StoreMisconfigured, StoreUnavailable

SQL = queries.load("migrate")

MIN_PGVECTOR = (0, 8)
"""The oldest that all tests run on; half vectors came with 0.7."""

LOCK_TIMEOUT: Final = "3s"
"""How long a migration waits for a table that is in use. Whatever needs the table next waits behind it, so
it gives up and is tried again, rather than hold up every indexer behind one long transaction."""

WAIT_TIMEOUT: Final = "20s"
"""How long a program waits for another one's migration: nobody waits behind it, and most take a second."""

_SCHEMA: Final = files("codebase_index.store") / "schema"
LOCK_KEY: Final = 0x636F6465  # "code": every program that migrates takes this advisory lock


@dataclass(frozen=True)
class Migration:
    """A file of `schema/`, or that it was applied. `digest` is the SHA-256 of its bytes, in hex."""

    number: int
    name: str
    digest: str
    sql: str = ""


@cache
def migrations() -> Sequence[Migration]:
    """Return every migration that this program knows, in order."""
    found = []
    for entry in _SCHEMA.iterdir():
        if match := re.fullmatch(r"(\d{4})_\w+\.sql", entry.name):
            content = entry.read_bytes()
            digest = hashlib.sha256(content).hexdigest()
            found.append(Migration(int(match[1]), entry.name, digest, content.decode()))
    return sorted(found, key=lambda migration: migration.number)


_EXISTS: Final = (
    asyncpg.DuplicateTableError,
    asyncpg.DuplicateObjectError,
    asyncpg.DuplicateFunctionError,
)


class _MigrationUnderWay(Exception):
    """Another program holds the advisory lock."""


async def migrate(connection: asyncpg.Connection, namespace: str = "default") -> list[str]:
    """Apply what is missing; safe to call from several programs at once. Return the names applied.

    `namespace` gets what belongs to none yet, and nobody knows to whom.
    Raises SchemaMismatch when the schema is newer than this program, or is not one that it made, and
    StoreUnavailable, to be tried again, when a table is in use or another program migrates; StoreMisconfigured
    when the database's pgvector is too old.
    """
    applied: list[str] = []
    while True:
        try:
            async with connection.transaction():
                migration = await _apply_next(connection, namespace)
        except _MigrationUnderWay as error:
            raise StoreUnavailable(
                f"the schema is being upgraded by another program: {await _migrating(connection)}; this one has "
                f"waited {WAIT_TIMEOUT}, nothing was changed, and it is tried again; if it stays so, look at that "
                "program's log, and end it with pg_terminate_backend(pid)"
            ) from error
        except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError) as error:
            raise StoreUnavailable(
                f"the schema cannot be upgraded while another transaction holds a table ({error}); nothing was "
                "changed, and it is tried again"
            ) from error
        if migration is None:
            return applied
        applied.append(migration.name)


async def require_schema(connection: asyncpg.Connection) -> None:
    """Raise StoreMisconfigured unless the schema has all that this program needs.

    A newer one will do: a migration leaves the release before able to work, so that its pods may end in peace.
    """
    needed = migrations()[-1].number
    try:
        number = await connection.fetchval(SQL["newest"])
    except asyncpg.UndefinedTableError:
        number = None
    if number is None or number < needed:
        stands = "no schema yet" if number is None else f"schema {number}, and this program needs {needed}"
        raise StoreMisconfigured(
            f"the database has {stands}; the operator makes it when it starts, so look at the operator's log"
        )


async def _apply_next(connection: asyncpg.Connection, namespace: str) -> Migration | None:
    """Apply the first migration that is missing, and return it; None: there is none."""
    await connection.execute(f"SET LOCAL lock_timeout = '{WAIT_TIMEOUT}'")
    try:
        await connection.execute(SQL["lock"], LOCK_KEY)
    except asyncpg.LockNotAvailableError as error:
        raise _MigrationUnderWay from error
    await connection.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
    migration = _next(migrations(), await _history(connection))
    if migration:
        await connection.execute(SQL["set_namespace"], namespace)
        try:
            await connection.execute(migration.sql)
        except _EXISTS as error:
            raise SchemaMismatch(
                f"migration {migration.name} cannot make what is there already ({error}): something else "
                "uses this database; give codebase-mcp one of its own"
            ) from error
        await connection.execute(SQL["record_migration"], migration.number, migration.name, migration.digest)
    await _check_pgvector(connection)
    return migration


async def _migrating(connection: asyncpg.Connection) -> str:
    """Say who holds the advisory lock."""
    row = await connection.fetchrow(SQL["holder"], LOCK_KEY)
    return row["description"] if row else "it has ended in this moment"


async def _history(connection: asyncpg.Connection) -> Sequence[Migration]:
    """Return the migrations that this database has, in order; make the table that lists them."""
    await connection.execute(SQL["make_history"])
    columns = {row["attname"] for row in await connection.fetch(SQL["history_columns"])}
    if not {"number", "name"} <= columns:
        raise SchemaMismatch(
            "the database has a table schema_migrations of another program; give codebase-mcp one of its own"
        )
    if "digest" not in columns:
        await _take_over(connection)
    return [Migration(**dict(row)) for row in await connection.fetch(SQL["history"])]


def _next(known: Sequence[Migration], history: Sequence[Migration]) -> Migration | None:
    """Return the first of `known` that is missing. Raises SchemaMismatch unless the history is their beginning."""
    newest = known[-1]
    for ours, theirs in zip(known, history, strict=False):
        if theirs.number <= newest.number and (ours.number, ours.digest) != (theirs.number, theirs.digest):
            raise SchemaMismatch(
                f"the database was made by another build: its {theirs.name} (sha256 {theirs.digest[:12]}) "
                f"is not this program's {ours.name} ({ours.digest[:12]}); run the version that made it, or give "
                "this one a new database and index again"
            )
    if history and history[-1].number > newest.number:
        raise SchemaMismatch(
            f"this program is older than the database: that has {history[-1].name}, and the last migration "
            f"known here is {newest.name}; upgrade to the version that made the database, or a later one"
        )
    return known[len(history)] if len(history) < len(known) else None


async def _take_over(connection: asyncpg.Connection) -> None:
    """Give a database of before digests its own, after a look that it has the schema of the last such release.

    Earlier builds edited the first migration in place, so that its number alone says little.
    """
    first = migrations()[0]
    expected = set((_SCHEMA / "0001_shape.txt").read_text().splitlines())
    found = {row["line"] for row in await connection.fetch(SQL["shape"])}
    lacks = sorted(expected - found)
    added = sorted(line for line in found - expected if line.startswith("column "))
    if lacks or added or await connection.fetchval(SQL["newest"]) != first.number:
        differs = f"lacks {lacks[0]}" if lacks else f"has {added[0]}" if added else "has further migrations"
        raise SchemaMismatch(
            f"the database was made by a build from before release 0.1.0, which cannot be upgraded: it {differs}; "
            "give codebase-mcp a new database, and index again"
        )
    for query in ("add_digest", "require_digest"):
        await connection.execute(SQL[query].format(digest=first.digest))


async def _check_pgvector(connection: asyncpg.Connection) -> None:
    version = await connection.fetchval("SELECT extversion FROM pg_extension WHERE extname = 'vector'")
    if tuple(map(int, version.split(".")[:2])) < MIN_PGVECTOR:
        least = ".".join(map(str, MIN_PGVECTOR))
        raise StoreMisconfigured(
            f"the database has pgvector {version}, and search needs {least} or later; install it on the database's"
            " server, then run in this database: ALTER EXTENSION vector UPDATE"
        )
