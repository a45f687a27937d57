"""Ids of chunks on a real Postgres: no two processes get one twice, and those of a file are consecutive."""

import asyncio

from codebase_index.store.database import Database
from codebase_index.store.ingest.chunks import ID_BLOCK, ChunkIds, ids_of


async def test_a_block_is_what_the_sequence_skips(database: Database) -> None:
    async with database.connection() as connection:
        assert await connection.fetchval(
            "SELECT increment_by FROM pg_sequences WHERE sequencename = 'chunk_ids'"
        ) == (ID_BLOCK)


async def test_they_are_taken_in_blocks_by_several_at_once(database: Database, dsn: str) -> None:
    other = await Database.open(dsn, name="other")
    one, two = ChunkIds(), ChunkIds()

    async def take(ids: ChunkIds, pool: Database, counts: list[int]) -> list[int]:
        async with pool.connection() as connection:
            taken: list[int] = ids_of(await ids.take(connection, counts), counts).tolist()
            return taken

    batches = [[1, 0, 999], [], [40_000, 30_000], [ID_BLOCK], [ID_BLOCK - 1, 2, 0]]
    taken = await asyncio.gather(
        *(take(ids, pool, counts) for ids, pool in ((one, database), (two, other)) for counts in batches)
    )
    assert [len(ids) for ids in taken] == [sum(counts) for counts in batches * 2]
    assert len({i for ids in taken for i in ids}) == 2 * sum(map(sum, batches))
    await other.close()
