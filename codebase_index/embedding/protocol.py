"""What every embedder promises, and the errors that they raise."""

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
    """A service gives no vectors now: it is away, busy or broken. Trying again later may help."""


class ServiceAway(EmbeddingUnavailable):
    """It cannot be reached, does not answer in time, or fails (HTTP 5xx): whoever asks next meets the same."""


class ServiceBusy(EmbeddingUnavailable):
    """It has more requests than it takes (HTTP 429). `retry_seconds` is what it asks for, 0 if it does not say."""

    def __init__(self, message: str, retry_seconds: float) -> None:
        super().__init__(message)
        self.retry_seconds = retry_seconds


class EmbeddingRefused(EmbeddingError):
    """Trying again will not help: no such provider or model, a wrong key, a model that was exchanged."""


class ServiceMisconfigured(EmbeddingRefused):
    """Every request is refused (HTTP 401, 403, or 404 for the model) until a person has mended the settings."""


@dataclass(frozen=True)
class Traits:
    """How a model wants its texts.

    Vectors need no such line: whatever a model or service gives is scaled to unit length.
    """

    batch_texts: int
    """Texts that one call takes at best."""

    max_tokens: int | None = None
    """Tokens of a text that the model reads, the rest is cut; None: no limit, or an unknown one."""

    document_prefix: str = ""
    query_prefix: str = ""
    """What the model was trained to see in front of a document and of a query. The embedder adds it."""


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
        """How the model wants its texts."""
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
class Embedded:
    """Unit vectors, float32 of shape (n, dimension), and how many of their texts the model read only in part."""

    vectors: Vectors
    truncated: int


class SlowEmbedder(Embedder, Protocol):
    """An embedder so slow that its vectors are kept and used again. Safe for several threads at once."""

    concurrency: int
    """Calls that are useful at once."""

    def embed(self, texts: Sequence[str], seconds: float = math.inf) -> Embedded:
        """As embed_documents, and tells how many texts were cut at the model's limit.

        A service has so many seconds for all of it; after that it is EmbeddingUnavailable.
        """
        ...


def is_slow(embedder: Embedder) -> TypeGuard[SlowEmbedder]:
    """Whether its vectors are worth keeping. Asks no service."""
    return hasattr(embedder, "concurrency")
