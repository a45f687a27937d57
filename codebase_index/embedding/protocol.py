"""The protocol of embedders, and the errors that they raise."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeGuard

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
"""float32 of shape (n, dimension) for documents, (dimension,) for a query; every row has unit length."""


class EmbeddingError(Exception):
    """An embedder has no vectors to give. The message says which one, why, and what to do next."""


class EmbeddingUnavailable(EmbeddingError):
    """A service returns no vectors now: it is unreachable, busy or failing. A later retry may succeed."""


class ServiceAway(EmbeddingUnavailable):
    """It cannot be reached, does not answer in time, or fails (HTTP 5xx): the next request will fail, too."""


class ServiceBusy(EmbeddingUnavailable):
    """It limits the rate of requests (HTTP 429). `retry_seconds` is its Retry-After, 0 without one."""

    def __init__(self, message: str, retry_seconds: float) -> None:
        super().__init__(message)
        self.retry_seconds = retry_seconds


class EmbeddingRefused(EmbeddingError):
    """A retry will not help: no such provider or model, a wrong key, a model that was exchanged."""


class ServiceMisconfigured(EmbeddingRefused):
    """Every request is refused (HTTP 401, 403, or 404 for the model) until a person has corrected the settings."""


@dataclass(frozen=True)
class Traits:
    """The input that a model expects. Its output needs no traits: all vectors are scaled to unit length."""

    batch_texts: int
    """The best number of texts for a call."""

    max_tokens: int | None = None
    """Tokens after which the model truncates a text; None: no limit, or an unknown one."""

    document_prefix: str = ""
    query_prefix: str = ""
    """The prefixes of documents and queries that the model was trained with. The embedder adds them."""


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

    @property
    def traits(self) -> Traits:
        """The input that the model expects."""
        ...

    def check(self) -> None:
        """Return when the model can embed now. Raises EmbeddingUnavailable or EmbeddingRefused."""
        ...

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Return one unit vector a text, in order: float32 of shape (len(texts), dimension).

        Raises EmbeddingUnavailable or EmbeddingRefused.
        """
        ...

    def embed_query(self, text: str) -> Vectors:
        """Return the unit vector of a search query: float32 of shape (dimension,).

        Raises EmbeddingUnavailable or EmbeddingRefused.
        """
        ...


@dataclass(frozen=True)
class EmbeddingResult:
    """Unit vectors, float32 of shape (n, dimension), and the number of truncated texts."""

    vectors: Vectors
    truncated: int


class CacheableEmbedder(Embedder, Protocol):
    """An embedder so slow that its vectors are cached. Thread-safe."""

    concurrency: int
    """The useful number of concurrent calls."""

    def embed(self, texts: Sequence[str], seconds: float = math.inf) -> EmbeddingResult:
        """Embed documents, and count the texts that were truncated at the model's limit.

        Raises EmbeddingUnavailable after this many seconds, EmbeddingRefused.
        """
        ...


def is_cacheable(embedder: Embedder) -> TypeGuard[CacheableEmbedder]:
    """Return whether its vectors are worth caching. Sends no request."""
    return hasattr(embedder, "concurrency")
