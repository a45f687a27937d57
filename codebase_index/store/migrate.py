"""Brings the schema up to date: numbered files of `schema/`, forward only, each in one transaction."""

import re
from importlib.resources import files

import asyncpg

from codebase_index.store.errors import StoreUnavailable

LEAST_PGVECTOR = (0, 8)
"""The oldest that all tests run on; half vectors came with 0.7."""

_LOCK_KEY = 0x636F6465  # "code": every program that migrates takes this advisory lock


def migrations() -> list[tuple[int, str, str]]:
    """Return (number, name, SQL) of each migration, in order."""
    found = []
    for entry in (files("codebase_index.store") / "schema").iterdir():
        if match := re.fullmatch(r"(\d{4})_\w+\.sql", entry.name):
            found.append((int(match[1]), entry.name, entry.read_text()))
    return sorted(found)


async def migrate(connection: asyncpg.Connection) -> list[str]:
    """Apply what is missing; safe to call from several programs at once. Return the names applied.

    Raises StoreUnavailable, with nothing applied, when the database's pgvector is too old.
    """
    applied = []
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK_KEY)
        await connection.execute(
            "CREATE TABLE IF NOT EXISTS schema_migrations "
            "(number integer PRIMARY KEY, name text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"
        )
        done = {row["number"] for row in await connection.fetch("SELECT number FROM schema_migrations")}
        for number, name, sql in migrations():
            if number not in done:
                await connection.execute(sql)
                await connection.execute(
                    "INSERT INTO schema_migrations (number, name) VALUES ($1, $2)", number, name
                )
                applied.append(name)
        await _check_pgvector(connection)
    return applied


async def _check_pgvector(connection: asyncpg.Connection) -> None:
    version = await connection.fetchval("SELECT extversion FROM pg_extension WHERE extname = 'vector'")
    if tuple(map(int, version.split(".")[:2])) < LEAST_PGVECTOR:
        least = ".".join(map(str, LEAST_PGVECTOR))
        raise StoreUnavailable(
            f"the database has pgvector {version}, and search needs {least} or later; install it on the database's"
            " server, then run in this database: ALTER EXTENSION vector UPDATE"
        )
