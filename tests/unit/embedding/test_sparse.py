"""Sums of rows are those of adding them one by one, however many are summed together."""

import subprocess
import sys

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from codebase_index.embedding.sparse import sum_rows

TABLE = np.random.default_rng(1).normal(size=(50, 7)).astype(np.float32)


@given(st.lists(st.lists(st.integers(0, len(TABLE) - 1), max_size=20), max_size=10))
def test_sums_are_those_of_adding_row_by_row(texts: list[list[int]]) -> None:
    rows = np.array([row for text in texts for row in text], np.int32)
    ends = np.cumsum([0, *map(len, texts)])
    expected = np.zeros((len(texts), TABLE.shape[1]), np.float32)
    for i, text in enumerate(texts):
        for row in text:
            expected[i] += TABLE[row]
    assert np.array_equal(sum_rows(rows, ends, TABLE), expected)


def test_an_embedder_starts_without_the_tools_that_numpy_is_tested_with() -> None:
    program = (
        "import sys; from codebase_index.embedding import factory;"
        "factory.create().embed_query('x'); print('numpy.f2py' in sys.modules, 'numpy.testing' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
