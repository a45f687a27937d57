"""The definitions of a file are written with its chunks, go with them, and belong to the text that is searched."""

from uuid import UUID

import numpy as np

from codebase_index.definitions import PlacedName
from codebase_index.store.database import Database
from codebase_index.store.ingest.batch import Chunk, IndexedFile
from codebase_index.store.ingest.chunks import Chunks
from codebase_index.store.ingest.work import ScanEntry, Work
from codebase_index.store.query.definitions import DefinitionSearch
from codebase_index.symbols import Kind
from tests.store.jobs.test_jobs import custom_resource, started, writer_for
from tests.support.terms import packed


def file_of(name: str | None, seq: int = 0, path: str = "a.py") -> IndexedFile:
    """A file of two chunks with at most one definition, which reaches over both."""
    places = [PlacedName(name, Kind.FUNCTION, -1, f"def {name}():", 2, 2, 30)] if name else []
    chunks = [Chunk(1, 20, name, "x"), Chunk(21, 40, name, "y")]
    vectors = np.eye(2, 256, dtype=np.float32)
    return IndexedFile(seq, path, "python", bytes(20), chunks, vectors, definitions=places)


async def write(database: Database, *files: IndexedFile) -> tuple[UUID, int]:
    """Write files by a job of their own; return it and its index."""
    job_id = await started(database, custom_resource())
    await Work(database).freeze(job_id, 1, [ScanEntry(file.path, 1) for file in files])
    await Work(database).claim(job_id, 1, "p1", len(files))
    writer = await writer_for(database, job_id, 1)
    await Chunks(database).commit_batch(writer, packed(list(files)))
    return job_id, writer.index_id


async def test_the_definitions_of_a_file_are_found_by_its_path_and_by_each_of_its_chunks(
    database: Database,
) -> None:
    _, index_id = await write(database, file_of("run"), file_of(None, 1, "b.py"))
    search = DefinitionSearch(database)
    found = await search.of_file(index_id, "a.py")
    assert found is not None
    assert [(d.name, d.first_line, d.last_line) for d in found] == [("run", 2, 30)]
    async with database.connection() as connection:
        chunks = await connection.fetch(
            "SELECT c.id, f.path FROM chunks c JOIN files f ON f.id = c.file_id ORDER BY c.id"
        )
    of_chunks = await search.of_chunks([chunk["id"] for chunk in chunks])
    named = [(of_chunks[c["id"]].innermost(25), c["path"]) for c in chunks]
    assert [(d and d.name, path) for d, path in named] == [("run", "a.py")] * 2 + [(None, "b.py")] * 2
    one, same, other, _ = (of_chunks[chunk["id"]] for chunk in chunks)
    assert one is same is not other
    assert of_chunks[chunks[0]["id"]] is not one, "those of one file at a time are kept"


async def test_a_file_that_defines_nothing_is_told_from_one_whose_definitions_are_not_known(
    database: Database,
) -> None:
    _, index_id = await write(database, file_of(None))
    search = DefinitionSearch(database)
    assert await search.of_file(index_id, "a.py") is not None
    async with database.connection() as connection:
        await connection.execute("DELETE FROM definitions")  # as an index of the release before has it
        chunks = [row["id"] for row in await connection.fetch("SELECT id FROM chunks")]
    assert await search.of_file(index_id, "a.py") is None
    assert await search.of_chunks(chunks) == {}
    assert await search.of_file(index_id, "gone.py") is None


async def test_definitions_go_with_the_chunks_of_their_file(database: Database) -> None:
    _, index_id = await write(database, file_of("run"))
    async with database.connection() as connection:
        # As a program of the release before writes a file anew: it knows nothing of definitions.
        await connection.execute("DELETE FROM chunks")
        await connection.execute("UPDATE files SET first_chunk = first_chunk + 100")
        assert await connection.fetchval("SELECT count(*) FROM definitions") == 0
    assert await DefinitionSearch(database).of_file(index_id, "a.py") is None
