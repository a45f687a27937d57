"""Ids of chunks on a real Postgres: no two processes get one twice, and those of a file ascend."""

import asyncio

from codebase_index.store.chunks import ID_BLOCK, ChunkIds
from codebase_index.store.database import Database


async def test_a_block_is_what_the_sequence_skips(database: Database) -> None:
    async with database.connection() as connection:
        assert await connection.fetchval(
            "SELECT increment_by FROM pg_sequences WHERE sequencename = 'chunk_ids'"
        ) == (ID_BLOCK)


async def test_they_are_taken_in_blocks_by_several_at_once(database: Database, dsn: str) -> None:
    other = await Database.open(dsn, name="other")
    one, two = ChunkIds(), ChunkIds()

    async def take(ids: ChunkIds, pool: Database, count: int) -> list[int]:
        async with pool.connection() as connection:
            taken: list[int] = (await ids.take(connection, count)).tolist()
        assert taken == sorted(taken)
        return taken

    counts = [1, 0, 999, 1_000, 1_001, 3_500]
    taken = await asyncio.gather(
        *(take(ids, pool, n) for ids, pool in ((one, database), (two, other)) for n in counts)
    )
    assert [len(ids) for ids in taken] == counts * 2
    assert len({i for ids in taken for i in ids}) == 2 * sum(counts)
    await other.close()
