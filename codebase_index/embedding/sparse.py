"""Sums of rows of a table."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from codebase_index.embedding.protocol import Vectors

_FEW: Final = 8
"""Sums of up to so many rows are made together, by their number: a call for each would cost more than they do."""


def sum_rows(rows: NDArray[np.integer], ends: NDArray[np.int64], table: Vectors) -> Vectors:
    """Return sums of rows of a float32 table: sum `i` is of ``rows[ends[i]:ends[i + 1]]``, with repetition.

    Rows are added one after another, so that a sum does not depend on what else is summed with it.
    """
    sums = np.empty((len(ends) - 1, table.shape[1]), np.float32)
    begins, counts = ends[:-1], np.diff(ends)
    for count in range(_FEW + 1):
        some = np.flatnonzero(counts == count)
        sums[some] = np.add.reduce(table[rows[begins[some, None] + np.arange(count)]], axis=1)
    for i in np.flatnonzero(counts > _FEW).tolist():
        np.add.reduce(table.take(rows[ends[i] : ends[i + 1]], axis=0), axis=0, out=sums[i])
    return sums
