"""The vectors that slow models made, kept for other jobs."""

import numpy as np
import pytest

from codebase_index.store.database import Database
from codebase_index.store.ingest.vector_cache import VectorCache, cache_key, digest_of


@pytest.fixture
def cache(database: Database) -> VectorCache:
    return VectorCache(database)


def vectors(count: int, dimension: int = 3) -> dict[bytes, np.ndarray]:
    return {digest_of(f"text {n}"): np.full(dimension, n / 8, dtype=np.float32) for n in range(count)}


async def test_what_was_saved_is_found_by_model_and_text(cache: VectorCache) -> None:
    made = vectors(5)
    await cache.save("m", made)
    await cache.save("m", made)  # the answer to the first call was lost
    found = await cache.find("m", [*made, digest_of("other")], 3)
    assert found.keys() == made.keys()
    assert all(np.array_equal(found[digest], made[digest]) for digest in made)
    assert await cache.find("another", list(made), 3) == {}


async def test_vectors_of_another_length_are_not_used_and_make_room_for_new_ones(cache: VectorCache) -> None:
    await cache.save("m", vectors(2))
    assert await cache.find("m", list(vectors(2)), 4) == {}
    await cache.save("m", vectors(2, dimension=4))
    assert len(await cache.find("m", list(vectors(2)), 4)) == 2


async def test_those_go_that_were_not_used_for_the_longest_time(cache: VectorCache, database: Database) -> None:
    made = vectors(6)
    await cache.save("m", made)
    async with database.connection() as connection:
        await connection.execute("UPDATE embedding_cache SET last_used = current_date - 9")
    read = list(made)[:2]
    await cache.find("m", read, 3)
    assert await cache.evict(6) == 0
    assert await cache.evict(2) == 4
    assert (await cache.find("m", list(made), 3)).keys() == set(read)


async def test_one_namespace_evicts_none_of_another(cache: VectorCache) -> None:
    made = vectors(4)
    for model in (cache_key("mine", "ollama/code:7b"), cache_key("theirs", "ollama/code:7b"), "ollama/code:7b"):
        await cache.save(model, made)
    assert await cache.evict(0, "mine") == 8  # its own, and those from before namespaces
    assert len(await cache.find(cache_key("theirs", "ollama/code:7b"), list(made), 3)) == 4
