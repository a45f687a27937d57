"""Indexes go from one database to another by a file: all of them or none."""

from pathlib import Path

import asyncpg
import pytest

from codebase_embedded import transfer
from codebase_embedded.transfer import TransferFailed
from codebase_index.store.catalog.indexes import Indexes
from codebase_index.store.database import Database


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
    file = tmp_path / "codebase.dump"
    assert transfer.export(dsn, file) > 0 and file.stat().st_mode & 0o077 == 0
    with pytest.raises(FileExistsError):
        transfer.export(dsn, file)
    with pytest.raises(TransferFailed):  # nothing has migrated it yet
        transfer.restore(empty_database, file)
    await program.migrate()

    assert transfer.restore(empty_database, file, "team") == 1

    (index,) = await Indexes(program, ["team"]).list()
    assert (index.source, list((await Indexes(program).files(index.id, 10)).unpack())) == (
        "/home/me/shop",
        ["a.py"],
    )
    with pytest.raises(TransferFailed, match="holds indexes already"):
        transfer.restore(empty_database, file)
    connection = await asyncpg.connect(empty_database)
    assert await connection.fetchval("SELECT nextval(pg_get_serial_sequence('indexes', 'id'))") > index.id
    await connection.close()
