"""Vectors of slow models, kept by model and text, for every job that meets the same text again."""

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


def kept_under(namespace: str, model: str) -> str:
    """Return a model as the cache knows it. Each namespace has a share of its own.

    Another one's service may give other vectors under the same name, and counters and times must not tell what was
    indexed there.
    """
    return f"{namespace}:{model}"


class VectorCache:
    """Reads and writes `embedding_cache`. Every method may raise StoreUnavailable.

    Not fenced: a vector is true of its text, whichever attempt computed it. `model` is what
    `kept_under` returns.
    """

    def __init__(self, database: Database) -> None:
        self._db = database

    async def find(self, model: str, digests: Sequence[bytes], dimension: int) -> dict[bytes, NDArray[np.float32]]:
        """Return those that are kept: unit vectors in half precision, float32 of shape (dimension,)."""
        async with self._db.connection() as connection:
            records = await connection.fetch(SQL["find"], model, list(digests))
        found = {r["digest"]: np.asarray(r["embedding"].to_numpy(), dtype=np.float32) for r in records}
        return {digest: vector for digest, vector in found.items() if len(vector) == dimension}

    async def save(self, model: str, vectors: Mapping[bytes, NDArray[np.float32]]) -> None:
        """Keep vectors, all or none. Safe to repeat. Raises InsufficientStorage."""
        # In order, so that two pods with the same texts never wait for each other in a circle.
        rows = [(model, digest, HalfVector(vectors[digest])) for digest in sorted(vectors)]
        async with self._db.transaction() as connection:
            await connection.executemany(SQL["save"], rows)

    async def evict(self, most: int, namespace: str | None = None) -> int:
        """Remove those that were not used for the longest time until `most` are left. Return how many.

        Of a namespace, by `kept_under`; None: of all.
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
