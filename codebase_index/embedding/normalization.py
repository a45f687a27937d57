"""The one place where sums become vectors that may be compared."""

import numpy as np

from codebase_index.embedding.protocol import Vectors

_SQUARES_UNDERFLOW = 1e-15
"""Below this length, and above 1e19, the squares of float32 numbers are not what they should be."""


def to_unit_length(vectors: Vectors) -> Vectors:
    """Scale each row to length 1: float32 of shape (n, dimension), as a new array.

    A zero row becomes the last unit vector of the basis: it then resembles hardly
    anything, whereas a zero vector makes the cosine distance NaN in pgvector. Rows must be finite.
    """
    with np.errstate(over="ignore", under="ignore"):
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    if extreme := np.flatnonzero((lengths[:, 0] < _SQUARES_UNDERFLOW) | ~np.isfinite(lengths[:, 0])).tolist():
        vectors = vectors.copy()
        largest = np.abs(vectors[extreme]).max(axis=1, keepdims=True)
        vectors[extreme] /= np.where(largest > 0, largest, 1)
        lengths[extreme] = np.linalg.norm(vectors[extreme], axis=1, keepdims=True)
    empty = lengths[:, 0] == 0
    lengths[empty] = 1.0
    unit: Vectors = (vectors / lengths).astype(np.float32, copy=False)
    unit[empty, -1] = 1.0
    return unit
