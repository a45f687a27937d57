"""Brings the schema up to date: numbered files of `schema/`, forward only, each in one transaction."""

import re
from importlib.resources import files

import asyncpg

_LOCK_KEY = 0x636F6465  # "code": every program that migrates takes this advisory lock


def migrations() -> list[tuple[int, str, str]]:
    """Return (number, name, SQL) of each migration, in order."""
    found = []
    for entry in (files("codebase_index.store") / "schema").iterdir():
        if match := re.fullmatch(r"(\d{4})_\w+\.sql", entry.name):
            found.append((int(match[1]), entry.name, entry.read_text()))
    return sorted(found)


async def migrate(connection: asyncpg.Connection) -> list[str]:
    """Apply what is missing; safe to call from several programs at once. Return the names applied."""
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
    return applied
