"""Indexes go from one database to another by a file: all of them or none."""

from pathlib import Path

import asyncpg
import pytest

from codebase_embedded import transfer
from codebase_embedded.transfer import TransferFailed
from codebase_index.store.catalog.indexes import Indexes
from codebase_index.store.database import Database
from codebase_mcp.search.repositories import state_of


async def test_what_is_exported_is_imported_into_another_namespace_and_never_beside_others(
    database: Database, dsn: str, program: Database, empty_database: str, tmp_path: Path
) -> None:
    async with database.connection() as connection:
        index_id = await connection.fetchval(
            "INSERT INTO indexes (namespace, target, source, model, include, exclude) "
            "VALUES ('default', '0123456789abcdef', '/home/me/shop', 'static/x', '{}', '{}') RETURNING id"
        )
        await connection.execute(
            "INSERT INTO files (index_id, path, blob, fingerprint, first_chunk, chunks, job_id) "
            "VALUES ($1, 'a.py', $2, 'f', 1, 0, gen_random_uuid())",
            index_id, bytes(20),
        )  # fmt: skip
        await _index_with_jobs(connection, "whole", ("running", None), ("completed", 7))
        await _index_with_jobs(connection, "half", ("completed", 7), ("running", 9))
        await _index_with_jobs(connection, "stopped", ("completed", 7), ("cancelled", 9), ("failed", None))
    file = tmp_path / "codebase.dump"
    assert transfer.export(dsn, file) > 0 and file.stat().st_mode & 0o077 == 0
    with pytest.raises(FileExistsError):
        transfer.export(dsn, file)
    with pytest.raises(TransferFailed):  # nothing has migrated it yet
        transfer.restore(empty_database, file)
    await program.migrate()

    connection = await asyncpg.connect(empty_database)
    await connection.execute(  # that one was removed is in nobody's way
        "INSERT INTO indexes (namespace, target, source) VALUES ('team', 'half', '/home/me/half')"
    )

    assert transfer.restore(empty_database, file, "team") == 4

    indexes = {row.source: row for row in await Indexes(program, ["team"]).list()}
    states = {source: state_of(row) for source, row in indexes.items()}
    assert states == {
        "/home/me/half": "complete", "/home/me/stopped": "complete", "/home/me/whole": "complete",
        "/home/me/shop": "empty",  # its one file has no chunk
    }  # fmt: skip
    index = indexes["/home/me/shop"]
    assert (index.source, list((await Indexes(program).files(index.id, 10)).unpack())) == (
        "/home/me/shop",
        ["a.py"],
    )
    with pytest.raises(TransferFailed, match="holds indexes already"):
        transfer.restore(empty_database, file)
    assert await connection.fetchval("SELECT count(*) FROM jobs") == 0
    assert await connection.fetchval("SELECT nextval(pg_get_serial_sequence('indexes', 'id'))") > index.id
    await connection.close()


async def _index_with_jobs(connection: asyncpg.Connection, name: str, *jobs: tuple[str, int | None]) -> None:
    """An index that was complete once, and jobs of it, the oldest first: state, and the length of its list."""
    await connection.execute(
        "INSERT INTO indexes (namespace, target, source, model, indexed_at) "
        "VALUES ('default', $1, $2, 'm', now())",
        name, f"/home/me/{name}",
    )  # fmt: skip
    for number, (state, files_total) in enumerate(jobs):
        await connection.execute(
            "INSERT INTO jobs (id, namespace, cr_name, target, source, state, files_total, slot, completed_at, "
            "cancelled_at, error_type) SELECT gen_random_uuid(), 'default', $1, $2, $3, $4::text::job_state, $5, "
            "$4 = 'running', CASE WHEN $4 IN ('completed', 'failed') THEN now() END, "
            "CASE WHEN $4 = 'cancelled' THEN now() END, CASE WHEN $4 = 'failed' THEN 'x' END",
            f"{name}-{number}", name, f"/home/me/{name}", state, files_total,
        )  # fmt: skip
