"""What the indexer encodes by hand is what Postgres reads, and what its own driver writes."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pgvector import HalfVector

from codebase_index.store.database import Database
from codebase_index.store.ingest import binary_copy
from codebase_index.store.ingest.batch import Chunk, IndexedFile, PackedFile, ProcessedBatch, pack
from codebase_index.symbols import Kind, Symbol
from tests.support.terms import encode

MODEL = "static/mödel"
INDEX = 2**40 + 7
TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40)
LINE = st.integers(1, 2**31 - 1)
KIND = st.sampled_from(Kind)
SYMBOLS = st.lists(st.builds(Symbol, TEXT, TEXT, KIND), max_size=3)
CHUNK = st.builds(Chunk, LINE, LINE, st.none() | TEXT, TEXT, st.none() | KIND, SYMBOLS)
FILES = st.lists(st.tuples(st.integers(1, 2**62), st.lists(CHUNK, max_size=4)), max_size=4)
UNLOGGED = "CREATE TEMPORARY TABLE {0} AS SELECT {1} FROM {0} WITH NO DATA"


def a_vector(rng: np.random.Generator, dimension: int) -> np.ndarray:
    # All that float16 holds, with infinity for what is too large: the driver rounds in the same way.
    return (rng.standard_normal(dimension) * 10.0 ** rng.integers(-9, 4)).astype(np.float32)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(files=FILES, dimension=st.sampled_from([1, 3, 256]), seed=st.integers(0, 99))
async def test_copied_rows_are_the_rows_of_the_driver(
    files: Sequence[tuple[int, list[Chunk]]], dimension: int, seed: int, database: Database
) -> None:
    rng = np.random.default_rng(seed)
    packed, expected_chunks, expected_vectors = [], [], []
    ids = iter(range(2**33, 2**34))
    for file_id, chunks in files:
        vectors = np.array([a_vector(rng, dimension) for _ in chunks], np.float32).reshape(-1, dimension)
        file = pack(
            ProcessedBatch([IndexedFile(0, "a.py", None, b"", chunks, vectors)], [encode([{}] * len(chunks))])
        ).results[0]
        assert isinstance(file, PackedFile)
        packed.append((file_id, file.rows))
        for chunk, vector in zip(chunks, vectors, strict=True):
            id_ = next(ids)
            names = [s.name for s in chunk.defines], [s.plain.lower() for s in chunk.defines]
            told = (chunk.symbol, chunk.text, chunk.kind, *names, [s.kind for s in chunk.defines])
            expected_chunks.append((id_, INDEX, file_id, chunk.start_line, chunk.end_line, *told))
            expected_vectors.append((id_, MODEL, HalfVector(vector).to_binary()))
    if not expected_chunks:
        return
    numbers = np.array([row[0] for row in expected_chunks])
    async with database.connection() as connection:
        transaction = connection.transaction()
        await transaction.start()
        for table, columns in (("chunks", binary_copy.CHUNK_COLUMNS), ("embeddings", binary_copy.VECTOR_COLUMNS)):
            await connection.execute(UNLOGGED.format(table, ", ".join(columns)))
        await connection.copy_to_table(
            "chunks", columns=binary_copy.CHUNK_COLUMNS, format="binary",
            source=binary_copy.chunks(packed, INDEX, numbers),
        )  # fmt: skip
        await connection.copy_to_table(
            "embeddings", columns=binary_copy.VECTOR_COLUMNS, format="binary",
            source=binary_copy.vectors([rows for _, rows in packed], MODEL, numbers),
        )  # fmt: skip
        found = await connection.fetch(f"SELECT {', '.join(binary_copy.CHUNK_COLUMNS)} FROM chunks ORDER BY id")
        vectors_found = await connection.fetch(
            "SELECT chunk_id, model, halfvec_send(embedding) FROM embeddings ORDER BY chunk_id"
        )
        await transaction.rollback()
    assert [tuple(row) for row in found] == expected_chunks
    assert [tuple(row) for row in vectors_found] == expected_vectors


def test_a_lone_surrogate_is_refused_where_it_is_encoded() -> None:
    with pytest.raises(UnicodeEncodeError):
        binary_copy.chunk_row((1, 1), ("\ud800",), ())
