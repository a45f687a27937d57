"""A cache of the vectors of remote models by model and text, shared by all jobs."""

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from pgvector import HalfVector

from codebase_index.store import queries
from codebase_index.store.database import Database

SQL = queries.load("vector_cache")

_EVICTED_AT_ONCE = 5_000  # rows a transaction: a few milliseconds


def digest_of(text: str) -> bytes:
    """Identify a text that is embedded, prefix included: 32 bytes."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def cache_key(namespace: str, model: str) -> str:
    """Return the key of a model in the cache. Each namespace has its own entries.

    Another namespace's service may return other vectors under the same name, and counters and timings must not
    reveal what was indexed there.
    """
    return f"{namespace}:{model}"


class VectorCache:
    """Reads and writes `embedding_cache`. Every method may raise StoreUnavailable.

    Not fenced: a vector is true of its text, whichever attempt computed it. `model` is what
    `cache_key` returns.
    """

    def __init__(self, database: Database) -> None:
        self._db = database

    async def find(self, model: str, digests: Sequence[bytes], dimension: int) -> dict[bytes, NDArray[np.float32]]:
        """Return the cached vectors: unit vectors in half precision, float32 of shape (dimension,)."""
        async with self._db.connection() as connection:
            records = await connection.fetch(SQL["find"], model, list(digests))
        found = {r["digest"]: np.asarray(r["embedding"].to_numpy(), dtype=np.float32) for r in records}
        return {digest: vector for digest, vector in found.items() if len(vector) == dimension}

    async def save(self, model: str, vectors: Mapping[bytes, NDArray[np.float32]]) -> None:
        """Store vectors, all or none. Idempotent. Raises InsufficientStorage."""
        # In order, so that two pods with the same texts never wait for each other in a circle.
        rows = [(model, digest, HalfVector(vectors[digest])) for digest in sorted(vectors)]
        async with self._db.transaction() as connection:
            await connection.executemany(SQL["save"], rows)

    async def evict(self, most: int, namespace: str | None = None) -> int:
        """Evict the least recently used vectors until `most` are left. Return the number evicted.

        Of one namespace; None: of all.
        """
        async with self._db.connection() as connection:
            surplus = max(0, await connection.fetchval(SQL["count"], namespace, timeout=60) - most)
        evicted = 0
        while evicted < surplus:
            async with self._db.connection() as connection:
                status = await connection.execute(
                    SQL["evict"], namespace, min(_EVICTED_AT_ONCE, surplus - evicted)
                )
            removed = int(status.split()[-1])
            if not removed:
                break
            evicted += removed
        return evicted
