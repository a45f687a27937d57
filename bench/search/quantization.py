"""How many of the nearest chunks the codes of vectors find, by how many chunks are compared after them.

    .venv/bin/python -m bench.search.quantization --data /tmp/latency [--json bench/results/search.json]

On the index that `bench.search.latency` made, for its questions, for names that the code defines and for sentences
of its comments: the mean share of the nearest 70 and 100 chunks, by their vectors, that are among the best so many
by their codes.
"""

import argparse
import asyncio
import json
from pathlib import Path
from typing import Any

import numpy as np

from bench.figures import merge
from bench.postgres import postgres
from bench.search.latency import QUESTIONS, sentences, symbols
from codebase_index.embedding import Vectors, factory
from codebase_index.store.database import Database
from codebase_index.vectors import quantization
from codebase_index.vectors.centroid import SNIPPETS, centroid_of
from codebase_index.vectors.quantization import EncodedQuery, QuantizedVectors

COMPARED = (100, 200, 300, 500, 700, 1_000)
NEAREST = (70, 100)
_AT_ONCE = 50_000


async def main() -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(prog="python -m bench.search.quantization")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--queries", type=int, default=40, help="names, and as many sentences of comments")
    parser.add_argument("--json", type=Path, help="merge the figures into this file")
    options = parser.parse_args()
    with postgres(options.data) as dsn:
        database = await Database.open(dsn, name="bench", size=1, timeout=600)
        count = options.queries
        queries = [*QUESTIONS, *await symbols(database, count), *await sentences(database, count)]
        vectors, model = await stored(database)
        await database.close()
    embedder = factory.by_name(model)
    centroid = centroid_of(embedder.embed_documents(SNIPPETS))
    asked = np.stack([embedder.embed_query(query) for query in queries])
    figures = {"chunks": len(vectors), "queries": len(queries), **measure(vectors, asked, centroid)}
    print(json.dumps(figures, indent=2))
    if options.json:
        merge(options.json, {"codes": figures})


async def stored(database: Database) -> tuple[Vectors, str]:
    """Return the vectors of every chunk, float32 of shape (chunks, dimension), and their model."""
    read, last = [], 0
    async with database.connection() as connection:
        while rows := await connection.fetch(
            "SELECT chunk_id, model, embedding FROM embeddings WHERE chunk_id > $1 ORDER BY chunk_id LIMIT $2",
            last, _AT_ONCE,
        ):  # fmt: skip
            read.append(np.stack([row["embedding"].to_numpy() for row in rows]).astype(np.float32))
            last, model = rows[-1]["chunk_id"], rows[-1]["model"]
    return np.concatenate(read), model


def measure(vectors: Vectors, asked: Vectors, centroid: Vectors) -> dict[str, Any]:
    """Return the shares by how many are nearest and how many are compared."""
    encoded = quantization.encode(vectors, centroid)
    parts = [encoded.select(slice(begin, begin + _AT_ONCE)) for begin in range(0, len(vectors), _AT_ONCE)]
    shares = [_shares(vectors @ query, parts, query) for query in asked]
    return {
        f"of_{nearest}": {str(n): round(float(np.mean([s[nearest, n] for s in shares])), 3) for n in COMPARED}
        for nearest in NEAREST
    }


def _shares(products: Vectors, parts: list[QuantizedVectors], query: Vectors) -> dict[tuple[int, int], float]:
    by_vector = np.argsort(-products)[: max(NEAREST)]
    places, estimates = EncodedQuery(query).estimates(parts)
    by_code = places[np.argsort(-estimates)][: max(COMPARED)]
    return {(k, n): float(np.isin(by_vector[:k], by_code[:n]).mean()) for k in NEAREST for n in COMPARED}


if __name__ == "__main__":
    asyncio.run(main())
