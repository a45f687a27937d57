"""A batch is whole or it is not made: what its chunks are searched by covers all of them, in order."""

import numpy as np
import pytest

from codebase_index.store.ingest.batch import Chunk, IndexedFile, PackedBatch, ProcessedBatch, SkippedFile, pack
from tests.support.terms import encode


def file(seq: int, chunks: int, vectors: int | None = None) -> IndexedFile:
    pieces = [Chunk(n + 1, n + 1, None, f"text {n}") for n in range(chunks)]
    made = np.ones((chunks if vectors is None else vectors, 64), np.float32)
    return IndexedFile(seq, f"f{seq}.py", "python", b"b" * 20, pieces, made)


@pytest.mark.parametrize("terms", [0, 2, 4])
def test_a_batch_whose_terms_do_not_cover_its_chunks_is_not_made(terms: int) -> None:
    with pytest.raises(ValueError, match=f"a batch of 3 chunks has search data for {terms}"):
        ProcessedBatch([file(0, 1), file(1, 2)], [encode([{"word": 1}] * terms)])


def test_a_packed_batch_that_lost_what_it_is_searched_by_is_not_made() -> None:
    whole = pack(ProcessedBatch([file(0, 2)], [encode([{"word": 1}] * 2)]))
    with pytest.raises(ValueError, match="a batch of 2 chunks has search data for 0"):
        PackedBatch(whole.results)


def test_a_chunk_without_vector_is_not_packed() -> None:
    with pytest.raises(ValueError, match=r"f0\.py has 3 chunks and 2 vectors"):
        pack(ProcessedBatch([file(0, 3, vectors=2)], [encode([{"word": 1}] * 3)]))


def test_joined_batches_keep_the_order_of_files_and_of_what_they_are_searched_by() -> None:
    batches = [pack(ProcessedBatch([file(seq, seq)], [encode([{f"w{seq}": 1}] * seq)])) for seq in (2, 1, 3)]
    joined = PackedBatch.join([batches[0], PackedBatch([SkippedFile(9, "binary")]), *batches[1:]])
    assert [result.seq for result in joined.results] == [2, 9, 1, 3]
    assert [(part.chunks, part.terms.vocabulary) for part in joined.parts] == [(2, "w2"), (1, "w1"), (3, "w3")]
