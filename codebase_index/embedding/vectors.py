"""The one place where sums become vectors that may be compared."""

import numpy as np

from codebase_index.embedding.protocol import Vectors


def to_unit_length(vectors: Vectors) -> Vectors:
    """Scale each row to length 1: float32 of shape (n, dimension), as a new array.

    A zero row becomes the last unit vector of the basis: it then resembles hardly
    anything, whereas a zero vector makes the cosine distance NaN in pgvector.
    """
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    empty = lengths[:, 0] == 0
    lengths[empty] = 1.0
    unit: Vectors = (vectors / lengths).astype(np.float32, copy=False)
    unit[empty, -1] = 1.0
    return unit
