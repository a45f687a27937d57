"""The definitions of a chunk are written beside it, whole or not at all."""

from collections.abc import Sequence

import asyncpg
import numpy as np
import pytest

from codebase_index.definitions import PlacedName
from codebase_index.store.database import Database
from codebase_index.store.ingest.batch import Chunk, IndexedFile
from codebase_index.store.ingest.chunks import Chunks
from codebase_index.store.ingest.work import ScanEntry, Work
from codebase_index.store.query.hybrid_search import Filters
from codebase_index.store.query.symbol_search import SymbolSearch
from codebase_index.symbols import Kind, Symbol
from tests.store.jobs.test_jobs import custom_resource, started, writer_for
from tests.support.terms import packed


async def write(database: Database, chunk: Chunk, places: Sequence[PlacedName] = ()) -> None:
    job_id = await started(database, custom_resource())
    await Work(database).freeze(job_id, 1, [ScanEntry("a.py", 1)])
    await Work(database).claim(job_id, 1, "p1", 1)
    file = IndexedFile(
        0, "a.py", "python", bytes(20), [chunk], np.eye(1, 256, dtype=np.float32), definitions=places
    )
    await Chunks(database).commit_batch(await writer_for(database, job_id, 1), packed([file]))


async def test_what_a_chunk_defines_can_be_looked_up_by_its_plain_name(database: Database) -> None:
    defines = [Symbol("Store", "Store", Kind.CLASS), Symbol("Store.Put", "Put", Kind.METHOD)]
    await write(database, Chunk(1, 9, "Store", "class Store", Kind.CLASS, defines))
    async with database.connection() as connection:
        row = await connection.fetchrow(
            "SELECT kind, defines, names, kinds FROM chunks WHERE names @> ARRAY['put']"
        )
    assert tuple(row) == ("class", ["Store", "Store.Put"], ["store", "put"], ["class", "method"])


async def test_a_chunk_that_defines_nothing_has_no_names(database: Database) -> None:
    await write(database, Chunk(1, 9, None, "x"))
    async with database.connection() as connection:
        row = await connection.fetchrow("SELECT kind, defines, names, kinds FROM chunks")
    assert tuple(row) == (None, [], [], [])


async def test_names_without_kinds_are_refused(database: Database) -> None:
    await write(database, Chunk(1, 9, None, "x"))
    async with database.connection() as connection:
        with pytest.raises(asyncpg.CheckViolationError):
            await connection.execute("UPDATE chunks SET defines = '{a}', names = '{a}'")


async def test_definitions_in_the_spelling_that_is_asked_for_come_first_and_others_fill_what_is_left(
    database: Database,
) -> None:
    defines = [Symbol(name, "put", Kind.FUNCTION) for name in ("put", "Store.Put", "pUt", "Till.Put")]
    await write(database, Chunk(1, 9, "put", "def put", Kind.FUNCTION, defines))
    async with SymbolSearch(database).snapshot() as snapshot, database.connection() as connection:
        ids = [row["id"] for row in await connection.fetch("SELECT id FROM indexes")]

        async def found(name: str, limit: int) -> list[str]:
            definitions = await snapshot.definitions(ids, name, filters=Filters(), limit=limit)
            return [definition.symbol for definition in definitions]

        assert await found("Put", 1) == ["Store.Put"]
        assert await found("Put", 3) == ["Store.Put", "Till.Put", "put"]
        assert await found("PUT", 9) == ["put", "Store.Put", "pUt", "Till.Put"]
        assert await found("absent", 9) == []


async def test_a_line_that_defines_a_name_a_thousand_times_is_found_as_often_as_was_asked_for(
    database: Database,
) -> None:
    places = [PlacedName("put", Kind.FUNCTION, -1, "", 1, 1, 1)] * 1_000
    chunk = Chunk(1, 1, "put", "void put(){}", Kind.FUNCTION, [Symbol("put", "put", Kind.FUNCTION)])
    await write(database, chunk, places)
    async with SymbolSearch(database).snapshot() as snapshot, database.connection() as connection:
        ids = [row["id"] for row in await connection.fetch("SELECT id FROM indexes")]
        found = await snapshot.definitions(ids, "put", filters=Filters(), limit=100)
    assert len(found) == 100
    assert all(definition.place for definition in found)
