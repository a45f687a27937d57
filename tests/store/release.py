"""The database of release 0.1.0, as its own workers left it: `data/make_release.py` says how it was made."""

import io
import re
import zipfile
from importlib.resources import files
from pathlib import Path

import asyncpg

ARCHIVE = Path(__file__).with_name("data") / "release-0.1.0.zip"

IDENTITIES = {"indexes": "id", "jobs": "arrival", "files": "id", "pending_batches": "id", "segments": "id"}


async def make_schema(connection: asyncpg.Connection) -> None:
    """Migrate an empty database as that release did: without digests."""
    await connection.execute(
        "CREATE TABLE schema_migrations "
        "(number integer PRIMARY KEY, name text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"
    )
    await connection.execute((files("codebase_index.store") / "schema" / "0001_schema.sql").read_text())


async def restore(connection: asyncpg.Connection) -> None:
    """Fill an empty database with what the release left."""
    await make_schema(connection)
    await connection.execute("TRUNCATE job_transitions")
    with zipfile.ZipFile(ARCHIVE) as archive:
        for name in archive.namelist():
            if name.endswith(".copy"):
                columns, _, content = archive.read(name).partition(b"\n")
                await connection.copy_to_table(
                    name.removesuffix(".copy"), source=io.BytesIO(content), columns=columns.decode().split(", ")
                )
        await connection.execute("SELECT setval('chunk_ids', $1)", int(archive.read("chunk_ids")))
    for table, column in IDENTITIES.items():
        await connection.execute(
            f"SELECT setval(pg_get_serial_sequence('{table}', '{column}'), (SELECT max({column}) FROM {table}))"
        )


def queries(module: str) -> dict[str, str]:
    """Return the queries of that release by name: what its pods go on with after an upgrade."""
    with zipfile.ZipFile(ARCHIVE) as archive:
        text = archive.read(f"sql/{module}.sql").decode()
    parts = re.split(r"^-- name: (\w+)\n", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


async def catalog(connection: asyncpg.Connection) -> list[str]:
    """Describe a schema: every column, constraint, index, trigger, function and type, with their options."""
    return [line for (line,) in await connection.fetch(CATALOG)]


CATALOG = """
WITH ours AS (
    SELECT c.oid, c.relname, c.reloptions FROM pg_class c
    WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'v', 'S')
      AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = c.oid AND deptype = 'e'))
SELECT concat_ws(' ', 'relation', relname, reloptions) FROM ours
UNION ALL
SELECT concat_ws(' ', 'column', relname, attname, format_type(atttypid, atttypmod), attnotnull, attidentity::text,
                 attstorage::text, attstattarget, attcollation::regcollation, pg_get_expr(adbin, adrelid))
FROM ours JOIN pg_attribute a ON a.attrelid = ours.oid
LEFT JOIN pg_attrdef d ON d.adrelid = attrelid AND adnum = attnum
WHERE attnum > 0 AND NOT attisdropped
UNION ALL
SELECT concat_ws(' ', 'constraint', relname, conname, pg_get_constraintdef(c.oid), convalidated)
FROM ours JOIN pg_constraint c ON c.conrelid = ours.oid
UNION ALL
SELECT concat_ws(' ', 'index', relname, pg_get_indexdef(indexrelid), indisvalid)
FROM ours JOIN pg_index i ON i.indrelid = ours.oid
UNION ALL
SELECT concat_ws(' ', 'trigger', relname, pg_get_triggerdef(t.oid))
FROM ours JOIN pg_trigger t ON t.tgrelid = ours.oid
WHERE NOT tgisinternal
UNION ALL
SELECT concat_ws(' ', 'function', pg_get_functiondef(p.oid)) FROM pg_proc p
WHERE pronamespace = 'public'::regnamespace
  AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = p.oid AND deptype = 'e')
UNION ALL
SELECT concat_ws(' ', 'value', enumtypid::regtype, enumsortorder, enumlabel) FROM pg_enum
ORDER BY 1
"""
