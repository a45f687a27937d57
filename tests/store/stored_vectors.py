"""Compares the stored quantized vectors of each chunk with its full vector."""

import numpy as np

from codebase_index.lexical.documents import IdRanges
from codebase_index.store.database import Database
from codebase_index.vectors import quantization
from codebase_index.vectors.quantization import QuantizedVectors

_PARTS = """
SELECT chunks, first_ids, run_lengths, model, codes FROM segments
UNION ALL SELECT chunks, first_ids, run_lengths, model, codes FROM pending_batches
"""
_ROUNDED_BITS = 6


async def mismatched_vectors(database: Database) -> list[int]:
    """Return the chunks whose quantized vector, relative to 0, does not match, is missing or is there twice."""
    async with database.connection() as connection:
        parts = await connection.fetch(_PARTS)
        rows = await connection.fetch("SELECT chunk_id, model, embedding FROM embeddings")
    stored: dict[int, list[tuple[str, QuantizedVectors]]] = {row["chunk_id"]: [] for row in rows}
    for part in parts:
        quantized = quantization.from_bytes(part["codes"], part["chunks"])
        for place, chunk_id in enumerate(IdRanges(part["first_ids"], part["run_lengths"]).ids.tolist()):
            if chunk_id in stored:
                stored[chunk_id].append((part["model"], quantized.select(slice(place, place + 1))))
    wrong = []
    for row in rows:
        vector = np.asarray(row["embedding"].to_numpy(), np.float32)
        found = stored[row["chunk_id"]]
        wanted = quantization.encode(vector[None])
        if [model for model, _ in found] != [row["model"]] or not _alike(found[0][1], wanted):
            wrong.append(row["chunk_id"])
    return wrong


def _alike(found: QuantizedVectors, expected: QuantizedVectors) -> bool:
    """Whether both are of one vector; rounding changes the sign of a few numbers near 0."""
    differing = sum(
        int(np.bitwise_count(a ^ b).sum())
        for a, b in ((found.signs, expected.signs), (found.large, expected.large))
    )
    return differing <= _ROUNDED_BITS and bool(np.allclose(found.scales, expected.scales, rtol=0.02))
