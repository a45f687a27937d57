"""What every embedding service promises, and the one error that they raise."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
"""float32 of shape (n, dimension) for documents, (dimension,) for a query; every row has unit length."""


class EmbeddingUnavailable(Exception):
    """An embedding service cannot answer. The message says which service, why, and what to do next."""


class Embedder(Protocol):
    """Turns text into unit vectors whose inner product is their cosine similarity.

    An index stores `name` and `dimension` beside its vectors, because vectors of two
    models must never be compared: another name means another vector table.
    """

    @property
    def name(self) -> str:
        """Provider and model, for example ``static/minilm-256``: equal names give comparable vectors."""
        ...

    @property
    def dimension(self) -> int:
        """Length of every vector."""
        ...

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Return one unit vector a text, in order: float32 of shape (len(texts), dimension).

        Raises EmbeddingUnavailable when the service is away or refuses.
        """
        ...

    def embed_query(self, text: str) -> Vectors:
        """Return the unit vector of a search query: float32 of shape (dimension,).

        Raises EmbeddingUnavailable when the service is away or refuses.
        """
        ...
