"""Latency of the store's search on a large index: p50 and p95 by kind of query, bytes a chunk, recall.

    .venv/bin/python -m bench.search.latency [FOLDER...] --data /tmp/latency [--chunks 400000]

The folders hold real code; without any, what this machine has is copied beside --data. Each is indexed by the
indexer as it ships, into a Postgres that stays in --data for the next run. Where that gives far fewer chunks than
asked for, the files are repeated under other paths, with vectors that are a little off, so that the nearest
neighbours of a query are no ties. Others may use the machine meanwhile: beside the latencies stands the CPU time
that this process and its Postgres took, which they change little.
"""

import argparse
import asyncio
import json
import random
import re
import statistics
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from pgvector import HalfVector

from bench.figures import merge
from bench.indexing.trees import copy, real_code
from bench.postgres import postgres
from bench.search.quality import index
from codebase_index.embedding import Vectors, factory
from codebase_index.lexical.documents import IdRanges
from codebase_index.lexical.words import terms
from codebase_index.store.catalog.indexes import Indexes
from codebase_index.store.database import Database
from codebase_index.store.query.hybrid_search import Filters, Search
from codebase_index.store.query.index_cache import IndexCache
from codebase_index.store.query.vector_search import nearest
from codebase_index.vectors import quantization
from codebase_index.vectors.centroid import SNIPPETS, centroid_of

QUESTIONS = [
    "how does the scheduler decide which pod to evict when a node runs out of memory",
    "where are http requests retried after a timeout and how long is the backoff",
    "how is a certificate verified against the list of trusted authorities",
    "parse command line flags and environment variables into a configuration",
    "how are database connections pooled and closed when they are idle for too long",
    "convert a data frame to a numpy array without copying the memory",
    "which function tokenizes source code and reports syntax errors with line numbers",
    "how does garbage collection remove objects whose owner does not exist any more",
]
NASTY = [
    "if return self not the and", "the of a to in is it for on with as", "func error nil string return if",
    "import from def class return None", "get set new type value name", "self",
]  # fmt: skip
_SENTENCE = re.compile(r"^\s*(?://|#|\*|/\*\*?)\s+([A-Z][a-z]+ [a-z][^.:;(){}\n]{30,120})\.$", re.MULTILINE)

NOISE = 0.02  # of each component of a repeated vector, about 1/16 in size: cosine 0.95 to the original
CANDIDATES = 100


async def main() -> None:
    """Prepare, measure, print."""
    parser = argparse.ArgumentParser(prog="python -m bench.search.latency")
    parser.add_argument("folders", type=Path, nargs="*")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--chunks", type=int, default=400_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="merge the figures into this file")
    arguments = parser.parse_args()
    with postgres(arguments.data) as dsn:
        database = await Database.open(dsn, name="bench", size=1, timeout=600)
        await database.migrate()
        await prepare(database, dsn, arguments.folders or code_beside(arguments.data), arguments.chunks)
        figures = await measure(database, arguments.rounds)
        await database.close()
    print(json.dumps(figures, indent=2))
    if arguments.json:
        merge(arguments.json, {"store": figures})


def code_beside(data: Path) -> list[Path]:
    """Copy what real code there is, unless that is done, and return the folders."""
    folders = []
    for name, (source, megabytes) in real_code().items():
        folders.append(data.with_name(f"{data.name}-code") / name)
        if not folders[-1].exists():
            copy(source, folders[-1], megabytes)
    return folders


async def prepare(database: Database, dsn: str, folders: list[Path], chunks: int) -> None:
    """Index the folders, unless that is done, and repeat their files until there are enough chunks."""
    known = {row.source for row in await Indexes(database).list()}
    for folder in folders:
        if str(folder) not in known:
            began = time.perf_counter()
            await index(database, dsn, folder)
            print(f"indexed {folder} in {time.perf_counter() - began:.0f} s", flush=True)
    async with database.connection() as connection:
        there = await connection.fetchval("SELECT count(*) FROM chunks")
        base = there // (1 + await connection.fetchval("SELECT count(DISTINCT split_part(path, '/', 1)) FROM files"
                                                       " WHERE path LIKE 'copy-%'"))  # fmt: skip
    for number in range(there // base, round(chunks / base)):  # as near as whole copies come
        await repeat(database, number)


async def repeat(database: Database, number: int) -> None:
    """Add every indexed file once more, under another folder, and pack it."""
    began, prefix = time.perf_counter(), f"copy-{number}/"
    async with database.transaction() as connection:
        await connection.execute("SET LOCAL idle_in_transaction_session_timeout = 0")  # numpy takes its time below
        shift = await connection.fetchval("SELECT max(id) FROM chunks")
        await connection.execute("CREATE TEMP TABLE old ON COMMIT DROP AS"
            " SELECT id, nextval('files_id_seq') AS new"
                                 " FROM files WHERE path NOT LIKE 'copy-%'")  # fmt: skip
        await connection.execute(
            "INSERT INTO files"
            " (id, index_id, path, language, blob, size, fingerprint, first_chunk, chunks, job_id)"
            " OVERRIDING SYSTEM VALUE SELECT o.new, index_id, $1 || path, language, blob, size, fingerprint,"
            " first_chunk + $2, chunks, job_id FROM files f JOIN old o USING (id)", prefix, shift)  # fmt: skip
        await connection.execute(
            "INSERT INTO chunks"
            " (id, index_id, file_id, start_line, end_line, symbol, text, kind, defines, names, kinds)"
            " SELECT c.id + $1, index_id, o.new, start_line, end_line, symbol, text, kind, defines, names, kinds"
            " FROM chunks c"
            " JOIN old o ON o.id = c.file_id", shift)  # fmt: skip
        rows = await connection.fetch(
            "SELECT chunk_id, model, embedding FROM embeddings e JOIN chunks c ON c.id = chunk_id"
            " JOIN old o ON o.id = c.file_id")  # fmt: skip
        vectors = np.stack([row["embedding"].to_numpy() for row in rows]).astype(np.float32)
        vectors += np.random.default_rng(number).normal(0, NOISE, vectors.shape)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        await connection.copy_records_to_table(
            "embeddings", columns=["chunk_id", "model", "embedding"],
            records=((row["chunk_id"] + shift, row["model"], HalfVector(vector))
                     for row, vector in zip(rows, vectors, strict=True)))  # fmt: skip
        order = np.argsort(numbers := np.array([row["chunk_id"] for row in rows]))
        centroid = centroid_of(factory.by_name(rows[0]["model"]).embed_documents(SNIPPETS))
        # Every index keeps the segments of its first files: the postings of the copy are theirs, block by block.
        segments = await connection.fetch(
            "SELECT id, first_ids, run_lengths FROM segments WHERE (SELECT min(f) FROM unnest(first_ids) f) <="
            " (SELECT max(c.id) FROM chunks c JOIN old o ON o.id = c.file_id)")  # fmt: skip
        for segment in segments:
            ids = IdRanges(segment["first_ids"], segment["run_lengths"]).ids
            encoded = quantization.encode(vectors[order[np.searchsorted(numbers[order], ids)]], centroid)
            await connection.execute(
                "WITH new AS (INSERT INTO segments"
                " (index_id, chunks, total_length, first_ids, run_lengths, model, codes, grams)"
                " SELECT index_id, chunks, total_length,"
                " ARRAY(SELECT f + $2 FROM unnest(first_ids) WITH ORDINALITY AS x (f, n) ORDER BY n), run_lengths,"
                " model, $3, grams FROM segments WHERE id = $1 RETURNING id)"
                " INSERT INTO postings SELECT new.id, first_term, terms, payload FROM postings, new"
                " WHERE segment_id = $1", segment["id"], shift, quantization.to_bytes(encoded))  # fmt: skip
    async with database.connection() as connection:
        for table in ("files", "chunks", "embeddings", "segments", "postings"):
            await connection.execute(f"VACUUM (ANALYZE) {table}")
    print(f"repeated the files as {prefix} in {time.perf_counter() - began:.0f} s", flush=True)


async def measure(database: Database, rounds: int) -> dict[str, Any]:
    """Ask every query some times, kinds in turn; return the figures."""
    rows = [row for row in await Indexes(database).list() if row.model]
    ids, model = [row.id for row in rows], rows[0].model
    assert model is not None
    embedder, search = factory.by_name(model), Search(database)
    asked = {"symbol": await symbols(database), "question": QUESTIONS, "nasty": NASTY}
    filters = {
        "": Filters(),
        " in a folder": Filters(path="^github.com/"),
        " in a language": Filters(languages=("go",)),
    }

    async def ask(query: str, within: Filters) -> None:
        await search.candidates(
            ids, vectors={model: embedder.embed_query(query)}, terms=list(dict.fromkeys(terms(query))),
            filters=within, limit=CANDIDATES,
        )  # fmt: skip

    kinds: dict[str, list[Callable[[], Awaitable[Any]]]] = {}
    for kind, queries in asked.items():
        for name, within in filters.items():
            kinds[kind + name] = [partial(ask, q, within) for q in queries[: 30 if not name else 6]]
    took = await timed(database, kinds, rounds)
    vectors = [embedder.embed_query(query) for query in [*asked["symbol"][:8], *QUESTIONS]]
    return {
        "chunks": await size(database),
        "latency_ms": took,
        "vector_arm": await recall(database, ids, model, vectors),
    }


async def timed(
    database: Database, kinds: dict[str, list[Callable[[], Awaitable[Any]]]], rounds: int
) -> dict[str, dict[str, float]]:
    """Return for each kind p50 and p95 of the time, and the mean CPU times, in milliseconds."""
    async with database.connection() as connection:  # the only one of its pool: it stays the same
        backend = psutil.Process(await connection.fetchval("SELECT pg_backend_pid()"))
    wall: dict[str, list[float]] = {kind: [] for kind in kinds}
    busy: dict[str, list[float]] = {kind: [0.0, 0.0] for kind in kinds}
    for round_ in range(rounds + 1):  # the first warms up
        for kind, calls in kinds.items():
            used = time.process_time(), sum(backend.cpu_times()[:2])
            for call in calls:
                began = time.perf_counter()
                await call()
                if round_:
                    wall[kind].append(1000 * (time.perf_counter() - began))
            if round_:
                busy[kind][0] += 1000 * (time.process_time() - used[0])
                busy[kind][1] += 1000 * (sum(backend.cpu_times()[:2]) - used[1])
    return {
        kind: {
            "p50": round(statistics.median(times), 1),
            "p95": round(sorted(times)[int(0.95 * len(times))], 1),
            "cpu_server": round(busy[kind][0] / len(times), 1),
            "cpu_postgres": round(busy[kind][1] / len(times), 1),
        }
        for kind, times in wall.items()
    }


async def recall(database: Database, ids: list[int], model: str, vectors: list[Vectors]) -> dict[str, Any]:
    """Return the share of the nearest chunks that the vector arm finds, and the time of each way."""
    cache = IndexCache()

    async def exact(vector: Vectors) -> set[int]:
        async with database.snapshot() as connection:
            rows = await connection.fetch(
                "SELECT chunk_id FROM embeddings WHERE model = $1 ORDER BY embedding <#> $2, chunk_id LIMIT $3",
                model, HalfVector(vector), CANDIDATES,
            )  # fmt: skip
        return {row["chunk_id"] for row in rows}

    async def by_codes(vector: Vectors) -> set[int]:
        async with database.snapshot() as connection:
            parts = await cache.parts(connection, ids)
            return (await nearest(connection, parts, None, model, vector, CANDIDATES)).chunks

    ways = {"exact": exact, "codes": by_codes}
    took = await timed(
        database, {name: [partial(way, vector) for vector in vectors] for name, way in ways.items()}, 1
    )
    shares = [len(await exact(vector) & await by_codes(vector)) / CANDIDATES for vector in vectors]
    return {"recall_at_100": round(statistics.mean(shares), 3), **took}


async def symbols(database: Database, count: int = 30, part: int = 0) -> list[str]:
    """Some names that are defined in the index, the same ones in each run, and others in each part."""
    async with database.connection() as connection:
        rows = await connection.fetch(
            "SELECT DISTINCT symbol FROM chunks WHERE symbol IS NOT NULL AND id % 997 = $1", part
        )
    return random.Random(1).sample(sorted(row["symbol"].rsplit(".", 1)[-1] for row in rows), count)


async def sentences(database: Database, count: int, part: int = 0) -> list[str]:
    """Some sentences of comments, which ask for what they say, in the same way."""
    async with database.connection() as connection:
        rows = await connection.fetch("SELECT text FROM chunks WHERE id % 97 = $1", part)
    found = {match[1] for row in rows for match in _SENTENCE.finditer(row["text"])}
    return random.Random(1).sample(sorted(found), count)


async def size(database: Database) -> dict[str, float]:
    """Return how much is stored, and the bytes a chunk of each table with its indexes."""
    async with database.connection() as connection:
        chunks = await connection.fetchval("SELECT count(*) FROM chunks")
        figures = {"count": chunks, "segments": await connection.fetchval("SELECT count(*) FROM segments")}
        for table in ("chunks", "embeddings", "postings", "pending_batches"):
            used = await connection.fetchval("SELECT pg_total_relation_size($1::text::regclass)", table)
            figures[f"bytes_of_{table}"] = round(used / chunks)
    return figures


if __name__ == "__main__":
    asyncio.run(main())
