"""Approximate vector indexes for what is too large to scan: built beside everything else, when no job writes.

An index of up to EXACT_CHUNKS chunks is scanned exactly. A larger one gets an HNSW graph of its own (Malkov and
Yashunin, IEEE TPAMI 42(4), 2020), a partial index over its vectors alone, so that a search in one repository never
filters out another's. It is built after the job, not by it: the graph takes as long as the job itself. Until it is
complete the search is exact. A job that writes much drops it first, since adding to a graph costs ten times what
building it does.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import asyncpg

from codebase_index.store import queries
from codebase_index.store.database import Database

SQL = queries.load("vector_indexes")

log = logging.getLogger(__name__)

EXACT_CHUNKS: Final = 20_000
"""Chunks that a query compares one by one: 9 ms."""

LEAST_CHUNKS: Final = 10_000
"""Below it no graph pays: each costs every query and every write a look at its predicate."""

REWRITE_SHARE: Final = 0.02
"""Of an index's chunks: a job that writes more drops the graph. 2 % of 400,000 are 9 s of upkeep; building it anew
is 75 s off the job's path."""

_LOCK: Final = 0x76656374  # "vect"
_PREFIX: Final = "embeddings_hnsw_"
_BUILD_SECONDS: Final = 4 * 3600.0
_DROP_SECONDS: Final = 600.0
_MEMORY: Final = "256MB"
"""For the graph while it is built, about 280,000 chunks; a larger one goes on more slowly, from the disk. A
quarter of what the chart gives Postgres. Parallel workers would need as much of /dev/shm."""


@dataclass(frozen=True)
class Sized:
    """An index as the choice sees it. `busy`: a job writes into it now."""

    id: int
    model: str
    chunks: int
    busy: bool


@dataclass(frozen=True)
class Graph:
    """A vector index that there is. `valid` is false for what an interrupted build left."""

    name: str
    valid: bool
    model: str | None


@dataclass(frozen=True)
class Plan:
    """What to do: drop these by name, then build for these, the largest first."""

    drop: Sequence[str]
    build: Sequence[Sized]


class VectorIndexes:
    """Builds and drops them. Every method may raise StoreUnavailable; `maintain` and `drop` also RowLocked."""

    def __init__(self, database: Database) -> None:
        self._db = database

    async def maintain(self) -> int:
        """Drop what is of no use any more, then build one that is missing. Return how many were built, 0 or 1.

        Nothing happens while another process does this. Takes minutes, on one connection; when it is interrupted
        or the database goes away, the next call drops what it left and begins again.
        """
        async with self._db.session() as connection:
            if not await connection.fetchval(SQL["lock"], _LOCK):
                return 0
            todo = plan(await _sizes(connection), await _graphs(connection))
            for name in todo.drop:
                await _drop(connection, name)
            if not todo.build:
                return 0
            return int(await _build(connection, todo.build[0]))

    async def bearable(self, index_id: int) -> int:
        """Return how many chunks a job may add to an index before the upkeep of its graph is worth dropping it."""
        async with self._db.connection() as connection:
            chunks: int = await connection.fetchval(SQL["chunks"], index_id)
        return max(1, int(REWRITE_SHARE * chunks))

    async def drop(self, index_id: int) -> None:
        """Drop the vector index of an index that is about to be written anew, if there is one.

        If it is just being built, that is given up: it would go on for minutes, for vectors that are replaced.
        Raises RowLocked when another build or a vacuum holds the table: try again later.
        """
        name = name_of(index_id)
        async with self._db.session() as connection:
            if name not in [graph.name for graph in await _graphs(connection)]:
                return
            await connection.execute("SET lock_timeout = '1s'")
            await connection.execute(SQL["give_up"], name)
            await _drop(connection, name)


def name_of(index_id: int) -> str:
    """Name the vector index of an index."""
    return f"{_PREFIX}{index_id}"


def plan(sizes: Sequence[Sized], graphs: Sequence[Graph]) -> Plan:
    """Choose what is built and dropped.

    The largest indexes get one until those that are left to exact scans have EXACT_CHUNKS together. One that has
    shrunk keeps its own until it is half as large, so that it is not built and dropped in turns.
    """
    wanted: dict[str, Sized] = {}
    kept: set[str] = set()
    left = sum(size.chunks for size in sizes)
    for size in sorted(sizes, key=lambda s: (-s.chunks, s.id)):
        name = name_of(size.id)
        if size.chunks >= LEAST_CHUNKS and left > EXACT_CHUNKS:
            wanted[name] = size
            left -= size.chunks
        if name in wanted or size.chunks >= EXACT_CHUNKS // 2:
            kept |= {g.name for g in graphs if g.valid and (g.name, g.model) == (name, size.model)}
    missing = [size for name, size in wanted.items() if name not in kept and not size.busy]
    return Plan([g.name for g in graphs if g.name not in kept], missing)


async def _sizes(connection: asyncpg.Connection) -> list[Sized]:
    return [Sized(r["id"], r["model"], r["chunks"], r["busy"]) for r in await connection.fetch(SQL["sizes"])]


async def _graphs(connection: asyncpg.Connection) -> list[Graph]:
    return [Graph(r["name"], r["valid"], r["model"]) for r in await connection.fetch(SQL["built"])]


async def _build(connection: asyncpg.Connection, size: Sized) -> bool:
    """Build one; False: its vectors are not there yet, or a job has ended the build."""
    dimension = await connection.fetchval(SQL["dimension"], size.id, size.model)
    if dimension is None:
        return False
    name = name_of(size.id)
    log.info("building a vector index", extra={"index": size.id, "chunks": size.chunks})
    await connection.execute(f"SET maintenance_work_mem = '{_MEMORY}'; SET max_parallel_maintenance_workers = 0")
    create = await connection.fetchval(SQL["create_statement"], name, dimension, size.id, size.model)
    try:
        await connection.execute(create, timeout=_BUILD_SECONDS)
    except asyncpg.QueryCanceledError:
        log.info("gave up a vector index: a job writes its chunks anew", extra={"index": size.id})
        return False
    await connection.execute(await connection.fetchval(SQL["comment_statement"], name, size.model))
    log.info("built a vector index", extra={"index": size.id, "chunks": size.chunks})
    return True


async def _drop(connection: asyncpg.Connection, name: str) -> None:
    await connection.execute(await connection.fetchval(SQL["drop_statement"], name), timeout=_DROP_SECONDS)
    log.info("dropped a vector index", extra={"relation": name})
