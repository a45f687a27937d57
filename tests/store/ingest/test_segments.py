"""Segments on a real Postgres: what is searched never changes while they are built, merged and cleaned."""

import asyncio
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from codebase_index.lexical import postings
from codebase_index.lexical.stemming import stem
from codebase_index.store.catalog.removal import Removal
from codebase_index.store.database import Database
from codebase_index.store.errors import FenceLost
from codebase_index.store.ingest import segments as segments_module
from codebase_index.store.ingest.batch import Chunk, IndexedFile
from codebase_index.store.ingest.chunks import Chunks, Writer
from codebase_index.store.ingest.segments import FANOUT, MAX_DEAD_SHARE, Segments, SegmentSize, plan
from codebase_index.store.ingest.work import ScanEntry, Work
from codebase_index.store.jobs.jobs import Jobs
from codebase_index.store.query.hybrid_search import SQL as SEARCH_SQL
from codebase_index.store.query.hybrid_search import Filters, Search
from codebase_index.store.query.index_cache import IndexCache
from tests.store.jobs.test_jobs import count, custom_resource, started, writer_for
from tests.store.stored_vectors import mismatched_vectors
from tests.support.terms import encode, packed

MODEL = "static/test"
FILES = 24
CHUNKS_OF_A_FILE = 5

KEPT = IndexCache(max_bytes=80_000)
"""Of all searches in this file: each test makes its database anew, so that ids come again, with other contents. It
has room for some of what is read, so that much is read again."""


def terms_of(file: int, chunk: int) -> dict[str, int]:
    """Common and rare terms in different mixtures, so that every chunk has a score of its own."""
    return {
        "every": 1 + chunk,
        f"file{file}": 1,
        f"mod{file % 3}": 2,
        f"only{file}x{chunk}": 1,
        "größe": file % 4 + 1,
    }


async def running(database: Database, name: str = "shop-1", files: int = FILES) -> Writer:
    """A job that has claimed all of its files."""
    job_id = await started(database, custom_resource(name=name))
    await Work(database).freeze(job_id, 1, [ScanEntry(f"src/f{n:03}.py", 3) for n in range(files)])
    await Work(database).claim(job_id, 1, "p1", files)
    return await writer_for(database, job_id, 1)


def vectors_of(file: int) -> NDArray[np.float32]:
    """Unit vectors in all directions."""
    vectors = np.random.default_rng(file).normal(size=(CHUNKS_OF_A_FILE, 256)).astype(np.float32)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


async def commit(database: Database, writer: Writer, files: Sequence[int]) -> None:
    """One batch."""
    chunks = [Chunk(n + 1, n + 1, None, f"text {n}") for n in range(CHUNKS_OF_A_FILE)]
    results = [
        IndexedFile(n, f"src/f{n:03}.py", "python" if n % 2 else "go", bytes(20), chunks,
                vectors_of(n))
        for n in files
    ]  # fmt: skip
    terms = encode([terms_of(n, chunk) for n in files for chunk in range(CHUNKS_OF_A_FILE)])
    await Chunks(database).commit_batch(writer, packed(results, terms))


async def indexed(database: Database, batch: int = 4) -> Writer:
    writer = await running(database)
    for begin in range(0, FILES, batch):
        await commit(database, writer, range(begin, begin + batch))
    return writer


async def partly_built(database: Database, monkeypatch: pytest.MonkeyPatch) -> Writer:
    """An index with a segment and pending batches."""
    monkeypatch.setattr(segments_module, "SEGMENT_CHUNKS", 2 * CHUNKS_OF_A_FILE * 4)
    writer = await indexed(database)
    await Segments(database).build(writer)
    return writer


async def scores(
    database: Database, writer: Writer, *terms: str, limit: int = 999
) -> dict[tuple[str, int], float]:
    """Lexical scores by place, of the chunks that the query finds."""
    found = await Search(database, KEPT).candidates([writer.index_id], vectors={}, terms=terms, limit=limit)
    return {(c.path, c.start_line): round(c.lexical_score, 4) for c in found.candidates}


async def all_scores(database: Database, writer: Writer) -> list[dict[tuple[str, int], float]]:
    assert await mismatched_vectors(database) == []
    queries = [("every",), ("mod1", "file4"), ("größe", "only3x2", "missing"), ("file23", "every", "mod2")]
    return [await scores(database, writer, *query) for query in queries]


async def test_a_built_segment_answers_like_the_batches_that_it_was_built_from(database: Database) -> None:
    writer = await indexed(database)
    before = await all_scores(database, writer)
    assert len(before[0]) == FILES * CHUNKS_OF_A_FILE
    assert await Segments(database).build(writer) == FILES * CHUNKS_OF_A_FILE
    assert await count(database, "pending_batches") == 0
    assert await all_scores(database, writer) == before
    assert await Segments(database).build(writer) == 0


async def test_a_search_reads_only_what_none_did_before(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = await partly_built(database, monkeypatch)
    search = Search(database)

    async def found(*terms: str) -> dict[int, float]:
        found = await search.candidates([writer.index_id], vectors={}, terms=terms)
        return {c.id: c.lexical_score for c in found.candidates}

    first = await found("every", "file3", "missing")
    monkeypatch.setitem(SEARCH_SQL, "read_segments", "SELECT 1 / 0")
    monkeypatch.setitem(SEARCH_SQL, "read_pending", "SELECT 1 / 0")
    assert await found("every", "only3x2", "file3")
    monkeypatch.setitem(SEARCH_SQL, "blocks", "SELECT 1 / 0")
    assert await found("every", "file3", "missing") == first
    assert await found("only3x2")


async def test_a_candidate_tells_which_terms_it_holds_wherever_they_are(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = await partly_built(database, monkeypatch)
    terms = ["every", "everys", "mod1", "file4", "only23x0", "größe", "missing"]
    found = await Search(database).candidates([writer.index_id], vectors={}, terms=terms, limit=999)
    assert len(found.candidates) == FILES * CHUNKS_OF_A_FILE
    for chunk in found.candidates:
        held = terms_of(int(chunk.path[5:8]), chunk.start_line - 1)
        assert chunk.terms == {term for term in terms if stem(term) in held}


async def test_segments_and_pending_batches_are_searched_together(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segments_module, "SEGMENT_CHUNKS", 2 * CHUNKS_OF_A_FILE * 4)
    writer = await indexed(database)
    before = await all_scores(database, writer)
    built = [await Segments(database).build(writer) for _ in range(2)]
    assert built == [40, 40]
    assert await Segments(database).pending(writer.index_id) == 40
    assert await all_scores(database, writer) == before


async def test_many_segments_become_one(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments_module, "SEGMENT_CHUNKS", 1)
    writer = await indexed(database)
    before = await all_scores(database, writer)
    while await Segments(database).build(writer):
        pass
    assert await count(database, "segments") == 6
    assert await Segments(database).compact(writer) == 6
    assert await count(database, "segments") == 1
    assert await all_scores(database, writer) == before
    assert await Segments(database).compact(writer) == 0


async def test_many_segments_are_merged_while_the_job_goes_on(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segments_module, "SEGMENT_CHUNKS", 1)
    writer = await indexed(database)
    before = await all_scores(database, writer)
    replaced = []
    while await Segments(database).build(writer):
        replaced.append(await Segments(database).merge(writer))
    assert replaced == [0, 0, 0, 4, 0, 0]
    assert await count(database, "segments") == 3
    assert await all_scores(database, writer) == before


async def test_progress_of_tidying_is_told(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments_module, "SEGMENT_CHUNKS", 1)
    monkeypatch.setattr("codebase_index.lexical.postings.MAX_DOCUMENTS", 2 * 4 * CHUNKS_OF_A_FILE)
    writer = await indexed(database)
    while await Segments(database).build(writer):
        pass
    told: list[float] = []
    assert await Segments(database).compact(writer, told.append) == 6
    assert told == [0, 1 / 3, 2 / 3]


async def test_a_segment_with_many_dead_chunks_is_rewritten_without_them(database: Database) -> None:
    writer = await indexed(database)
    segments = Segments(database)
    await segments.build(writer)
    async with database.connection() as connection:
        await connection.execute("DELETE FROM files WHERE path < 'src/f004.py'")
    assert await segments.compact(writer) == 0, "one in six is not too many"
    assert len(await scores(database, writer, "every")) == 20 * CHUNKS_OF_A_FILE
    async with database.connection() as connection:
        await connection.execute("DELETE FROM files WHERE path < 'src/f008.py'")
    assert await segments.compact(writer) == 1
    async with database.connection() as connection:
        assert await connection.fetchval("SELECT chunks FROM segments") == 16 * CHUNKS_OF_A_FILE
        assert await connection.fetchval("SELECT count(*) FROM postings WHERE terms LIKE '%only3x2%'") == 0
    assert len(await scores(database, writer, "every")) == 16 * CHUNKS_OF_A_FILE
    async with database.connection() as connection:
        await connection.execute("DELETE FROM files")
    assert await segments.compact(writer) == 1
    assert await count(database, "segments") == await count(database, "postings") == 0


async def test_dead_chunks_take_no_places_of_living_ones(database: Database) -> None:
    """The best of the removed files would fill the limit several times."""
    writer = await indexed(database)
    await Segments(database).build(writer)
    best = await scores(database, writer, "every", limit=10)
    async with database.connection() as connection:
        await connection.execute("DELETE FROM files WHERE path = ANY ($1::text[])", [path for path, _ in best])
    found = await scores(database, writer, "every", limit=10)
    assert len(found) == 10
    assert not found.keys() & best.keys()


async def test_filters_cost_no_recall(database: Database) -> None:
    writer = await indexed(database)
    await Segments(database).build(writer)
    everything = await scores(database, writer, "every", "größe")
    filtered: list[tuple[Filters, Callable[[str], bool]]] = [
        (Filters(languages=("go",)), lambda path: int(path[5:8]) % 2 == 0),
        (Filters(path="^src/f01"), lambda path: path.startswith("src/f01")),
        (
            Filters(path="^src/f01", languages=("python",)),
            lambda path: path[4:7] == "f01" and int(path[7]) % 2 == 1,
        ),
    ]
    for filters, fits in filtered:
        found = await Search(database).candidates(
            [writer.index_id], vectors={}, terms=["every", "größe"],
            filters=filters, limit=8,
        )  # fmt: skip
        allowed = sorted((score for place, score in everything.items() if fits(place[0])), reverse=True)
        assert [
            round(c.lexical_score, 4) for c in sorted(found.candidates, key=lambda c: -c.lexical_score)
        ] == allowed[:8]


async def test_a_file_that_is_written_anew_is_found_by_its_new_terms_alone(database: Database) -> None:
    writer = await indexed(database)
    await Segments(database).build(writer)
    await Chunks(database).complete(writer, "Complete")
    await Jobs(database).release_slot(writer.job_id)
    again = await running(database, "shop-2", files=1)
    result = IndexedFile(
        0, "src/f000.py", "python", b"x" * 20, [Chunk(1, 1, None, "new")], np.eye(1, 256, dtype=np.float32)
    )
    await Chunks(database).commit_batch(again, packed([result], encode([{"fresh": 1}])))
    assert await scores(database, again, "file0") == {}
    assert list(await scores(database, again, "fresh")) == [("src/f000.py", 1)]


async def test_a_batch_that_is_committed_twice_has_its_terms_once(database: Database) -> None:
    writer = await running(database)
    await commit(database, writer, [0, 1])
    await commit(database, writer, [0, 1])
    assert await count(database, "pending_batches") == 1
    await commit(database, writer, [1, 2])  # the worker's batch holds a file that is done already
    assert len(await scores(database, writer, "every")) == 3 * CHUNKS_OF_A_FILE
    await Segments(database).build(writer)
    assert len(await scores(database, writer, "every")) == 3 * CHUNKS_OF_A_FILE


async def test_a_fenced_attempt_builds_and_merges_nothing(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segments_module, "SEGMENT_CHUNKS", 1)
    writer = await indexed(database)
    segments = Segments(database)
    for _ in range(FANOUT):
        await segments.build(writer)
    before = await all_scores(database, writer)
    await Jobs(database).fence(writer.job_id, 2, failed=False, message="replaced")
    with pytest.raises(FenceLost):
        await segments.build(writer)
    with pytest.raises(FenceLost):
        await segments.compact(writer)
    assert (await count(database, "segments"), await count(database, "pending_batches")) == (4, 2)
    assert await all_scores(database, writer) == before


async def test_two_pods_that_build_at_once_build_each_batch_once(database: Database) -> None:
    writer = await indexed(database)
    built = await asyncio.gather(*(Segments(database).build(writer) for _ in range(3)))
    assert sorted(built) == [0, 0, FILES * CHUNKS_OF_A_FILE]
    assert len(await scores(database, writer, "every")) == FILES * CHUNKS_OF_A_FILE


async def test_a_search_sees_each_chunk_once_while_segments_are_built_and_merged(
    database: Database, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segments_module, "SEGMENT_CHUNKS", 1)
    writer = await indexed(database, batch=2)
    expected = await scores(database, writer, "every", "mod1")
    reader = await Database.open(dsn, name="reader")

    async def look(times: int) -> None:
        for _ in range(times):
            assert await scores(reader, writer, "every", "mod1") == expected

    async def rewrite() -> None:
        while await Segments(database).build(writer) or await Segments(database).compact(writer):
            pass

    await asyncio.gather(rewrite(), look(20))
    await reader.close()


async def test_nothing_of_a_removed_index_is_left_in_the_lexical_one(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segments_module, "SEGMENT_CHUNKS", 40)
    monkeypatch.setattr("codebase_index.store.catalog.removal._BATCH_PENDING", 2)
    writer = await indexed(database)
    await Segments(database).build(writer)
    await Segments(database).build(writer)
    assert (await count(database, "segments"), await count(database, "pending_batches")) == (2, 2)
    await Chunks(database).complete(writer, "Complete")
    await Jobs(database).release_slot(writer.job_id)
    removal = Removal(database)
    await removal.detach(writer.index_id)
    await removal.delete_contents(writer.index_id, lambda files, chunks: None)
    for table in ("segments", "postings", "pending_batches"):
        assert await count(database, table) == 0


@given(st.lists(st.tuples(st.integers(1, 65_536), st.floats(0, 1), st.sampled_from("ab")), max_size=60))
def test_a_plan_fits_and_leaves_few_segments(drawn: list[tuple[int, float, str]]) -> None:
    sizes = [SegmentSize(n, chunks, int(chunks * share), model) for n, (chunks, share, model) in enumerate(drawn)]
    groups, by_id = plan(sizes), {size.id: size for size in sizes}
    ids = [segment for group in groups for segment in group]
    assert len(ids) == len(set(ids))
    for group in groups:
        assert sum(by_id[segment].chunks for segment in group) <= postings.MAX_DOCUMENTS
        assert len({by_id[segment].model for segment in group}) == 1, "vectors of two models cannot be joined"
    for size in sizes:
        assert size.id in ids or size.live >= (1 - MAX_DEAD_SHARE) * size.chunks
    # What is left alone of a tier fits no other of it, or there are few of it.
    for model in "ab":
        alone = [s for s in sizes if s.id not in ids and s.live < 4 * 1024 and s.model == model]
        left = sorted(size.chunks for size in alone)
        assert len(left) < FANOUT or all(a + b > postings.MAX_DOCUMENTS for a, b in pairwise(left))
