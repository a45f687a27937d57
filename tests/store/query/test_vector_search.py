"""The vector arm: the nearest chunks by quantized vectors in memory, wherever they are stored, with any filter."""

import numpy as np
import pytest
from numpy.typing import NDArray
from pgvector import HalfVector

from codebase_index.store.database import Database
from codebase_index.store.ingest.batch import Chunk, IndexedFile
from codebase_index.store.ingest.chunks import Chunks, Writer
from codebase_index.store.ingest.segments import Segments
from codebase_index.store.ingest.work import ScanEntry, Work
from codebase_index.store.query import vector_search as module
from codebase_index.store.query.hybrid_search import SQL, Filters, Search
from tests.store.jobs.test_jobs import custom_resource, started, writer_for
from tests.store.stored_vectors import mismatched_vectors
from tests.support.terms import encode, packed

MODEL = "static/test"
OTHER = "static/other"
FILES = 60
CHUNKS = 50
DIMENSION = 64


def vectors_of(file: int) -> NDArray[np.float32]:
    vectors = np.random.default_rng(file).normal(size=(CHUNKS, DIMENSION)).astype(np.float32)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


QUERY = vectors_of(999)[0]
EVERYWHERE = Filters()


async def running(database: Database, name: str, target: str = "/work/shop", files: int = FILES) -> Writer:
    job_id = await started(database, custom_resource(target, name))
    await Work(database).freeze(job_id, 1, [ScanEntry(f"src/f{n:03}", 3) for n in range(files)])
    await Work(database).claim(job_id, 1, "p1", files)
    return await writer_for(database, job_id, 1)


async def commit(database: Database, writer: Writer, files: range) -> None:
    chunks = [Chunk(n + 1, n + 1, None, f"text {n}") for n in range(CHUNKS)]
    results = [
        IndexedFile(n, f"src/f{n:03}", "python" if n % 2 else "go", bytes(20), chunks, vectors_of(n))
        for n in files
    ]
    await Chunks(database).commit_batch(writer, packed(results, encode([{}] * (CHUNKS * len(files)))))


@pytest.fixture
async def writer(database: Database) -> Writer:
    """An index of 3,000 chunks in batches."""
    writer = await running(database, "shop-1")
    for begin in range(0, FILES, 10):
        await commit(database, writer, range(begin, begin + 10))
    return writer


async def found(
    database: Database, writer: Writer, filters: Filters = EVERYWHERE, limit: int = 20, model: str = MODEL
) -> set[tuple[str, int]]:
    found = await Search(database).candidates(
        [writer.index_id], vectors={model: QUERY}, terms=[], filters=filters, limit=limit
    )
    return {(c.path, c.start_line) for c in found.candidates}


def expected(limit: int = 20, within: range = range(FILES), step: int = 1) -> set[tuple[str, int]]:
    """The nearest chunks, exactly, of some files."""
    files = within[::step]
    products = np.concatenate([vectors_of(file) @ QUERY for file in files])
    places = [(f"src/f{file:03}", n + 1) for file in files for n in range(CHUNKS)]
    return {places[i] for i in np.argsort(-products)[:limit]}


async def test_the_nearest_are_found_in_batches_and_in_segments(database: Database, writer: Writer) -> None:
    before = await found(database, writer)
    assert len(before & expected()) >= 18
    await Segments(database).build(writer)
    assert await found(database, writer) == before
    assert await mismatched_vectors(database) == []


async def test_few_chunks_are_compared_exactly(database: Database, writer: Writer) -> None:
    filters = Filters(path="^src/f01")
    assert await found(database, writer, filters) == expected(within=range(10, 20))


async def test_filters_are_applied_before_the_limit(
    database: Database, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RESCORED_CHUNKS", 200)
    await Segments(database).build(writer)
    nearest = await found(database, writer, Filters(languages=("go",)))
    assert len(nearest) == 20
    assert len(nearest & expected(step=2)) >= 18


async def test_removed_chunks_take_nobody_s_place(
    database: Database, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first candidates are deleted, and their vectors are still in the segment."""
    monkeypatch.setattr(module, "RESCORED_CHUNKS", 40)
    await Segments(database).build(writer)
    async with database.connection() as connection:
        nearest = await connection.fetch(
            "SELECT chunk_id FROM embeddings ORDER BY embedding <#> $1 LIMIT 400", HalfVector(QUERY)
        )
        await connection.execute("DELETE FROM chunks WHERE id = ANY ($1::bigint[])", [r[0] for r in nearest])
    assert len(await found(database, writer)) == 20


async def test_a_chunk_of_another_model_is_never_compared(database: Database, writer: Writer) -> None:
    """While a job replaces the vectors of an index, it has some of either."""
    again = await running(database, "shop-2", "/work/other", files=2)
    await commit(database, Writer(again.job_id, 1, writer.index_id, OTHER, "x"), range(2))
    assert {path for path, _ in await found(database, writer, model=OTHER, limit=200)} == {
        "src/f000", "src/f001",
    }  # fmt: skip
    assert not {"src/f000", "src/f001"} & {path for path, _ in await found(database, writer, limit=3_000)}
    while await Segments(database).build(writer):
        pass
    async with database.connection() as connection:
        models = await connection.fetch("SELECT model, chunks FROM segments ORDER BY model")
    assert [tuple(row) for row in models] == [(OTHER, 2 * CHUNKS), (MODEL, FILES * CHUNKS)]
    assert await mismatched_vectors(database) == []
    assert {path for path, _ in await found(database, writer, model=OTHER, limit=200)} == {
        "src/f000", "src/f001",
    }  # fmt: skip


async def test_an_index_that_is_not_asked_is_not_compared(database: Database, writer: Writer) -> None:
    other = await running(database, "other-1", "/work/other", files=2)
    await commit(database, other, range(2))
    assert {path for path, _ in await found(database, other, limit=200)} == {"src/f000", "src/f001"}


async def test_quantized_vectors_are_read_once(
    database: Database, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await Segments(database).build(writer)
    search = Search(database)
    asked = {"vectors": {MODEL: QUERY}, "terms": [], "limit": 20}
    first = await search.candidates([writer.index_id], **asked)  # type: ignore[arg-type]
    monkeypatch.setitem(SQL, "read_segments", "SELECT 1 / 0")
    assert await search.candidates([writer.index_id], **asked) == first  # type: ignore[arg-type]


async def test_small_parts_are_put_together(
    database: Database, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = await found(database, writer)
    for chunks in (1, 700, 1_200):
        monkeypatch.setattr(module, "_GROUP_CHUNKS", chunks)
        assert await found(database, writer) == before
