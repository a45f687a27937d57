"""What the database holds, as the operator's metrics tell it."""

from codebase_index.store.catalog.statistics import read_statistics
from codebase_index.store.database import Database


async def test_an_empty_database_holds_nothing_and_weighs_something(database: Database) -> None:
    found = await read_statistics(database, "default")
    assert (found.indexes, found.chunks, found.oldest_index_seconds) == (0, 0, 0.0)
    assert found.database_bytes > 1_000_000 and 1 <= found.connections <= found.max_connections


async def test_indexes_and_chunks_of_the_namespace_alone_are_counted(database: Database) -> None:
    async with database.connection() as connection:
        for namespace, target, chunks, age in (("a", "1", 30, 60), ("a", "2", 12, 3600), ("b", "1", 900, 9000)):
            index_id = await connection.fetchval(
                """INSERT INTO indexes (namespace, target, source, model, indexed_at)
                   VALUES ($1, $2, '/srv/x', 'm', now() - make_interval(secs => $3)) RETURNING id""",
                namespace, target, age,
            )  # fmt: skip
            await connection.execute(
                """INSERT INTO pending_batches
                       (index_id, model, chunks, total_length, first_ids, run_lengths, vocabulary, payload, codes)
                   VALUES ($1, 'm', $2, 0, '{}', '{}', '', '', '')""",
                index_id, chunks,
            )  # fmt: skip
    found = await read_statistics(database, "a")
    assert (found.indexes, found.chunks) == (2, 42)
    assert 3600 <= found.oldest_index_seconds < 3700
