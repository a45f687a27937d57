"""The best of many scores."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from codebase_index.lexical.documents import DocIdMap, IdRanges
from codebase_index.store.query.scores import Scores


@given(
    st.integers(0, 3000),
    st.integers(1, 400),
    st.sampled_from([0.0, 0.5, 0.95]),
    st.integers(1, 50),
    st.integers(0),
)
def test_the_best_are_those_that_sorting_all_gives(
    chunks: int, limit: int, absent: float, different: int, seed: int
) -> None:
    chance = np.random.default_rng(seed)
    scores = (chance.integers(1, 1 + different, chunks) * (chance.random(chunks) >= absent)).astype(np.float32)
    ids = [7 + n for n in range(chunks)]
    expected = sorted(
        (chunk for chunk in ids if scores[chunk - 7] > 0), key=lambda chunk: (-scores[chunk - 7], chunk)
    )
    doc_ids = DocIdMap([IdRanges.of(ids)])
    for found in (
        Scores(doc_ids, scores),
        Scores(doc_ids, scores[scores > 0], documents=np.flatnonzero(scores)),
    ):
        assert found.best(limit) == expected[:limit]
        assert found.best_of(np.array(ids[::2], np.int64), limit) == [c for c in expected if c % 2][:limit]
        assert found.of([6, *ids]) == [0, *scores]
