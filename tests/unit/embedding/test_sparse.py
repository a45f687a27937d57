"""The kernel that is taken out of SciPy gives what SciPy's own matrices do."""

import subprocess
import sys

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array

from codebase_index.embedding.sparse import sum_rows

TABLE = np.random.default_rng(1).normal(size=(50, 7)).astype(np.float32)


@given(st.lists(st.lists(st.integers(0, len(TABLE) - 1), max_size=20), max_size=10))
def test_sums_are_those_of_a_sparse_matrix(texts: list[list[int]]) -> None:
    rows = np.array([row for text in texts for row in text], np.int32)
    ends = np.cumsum([0, *map(len, texts)])
    matrix = csr_array((np.ones(len(rows), np.float32), rows, ends), shape=(len(texts), len(TABLE)))
    assert np.array_equal(sum_rows(rows, ends, TABLE), matrix @ TABLE)


def test_an_embedder_starts_without_scipy() -> None:
    program = (
        "import sys; from codebase_index.embedding import factory;"
        "factory.create().embed_query('x'); print('scipy.sparse' in sys.modules, 'numpy.f2py' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
