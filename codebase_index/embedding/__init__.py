"""Text to vectors: one protocol, several services."""

from codebase_index.embedding.factory import by_name, create
from codebase_index.embedding.protocol import (
    Embedded,
    Embedder,
    EmbeddingError,
    EmbeddingRefused,
    EmbeddingUnavailable,
    ServiceAway,
    ServiceBusy,
    ServiceMisconfigured,
    SlowEmbedder,
    Traits,
    Vectors,
    is_slow,
)

__all__ = [
    "Embedded",
    "Embedder",
    "EmbeddingError",
    "EmbeddingRefused",
    "EmbeddingUnavailable",
    "ServiceAway",
    "ServiceBusy",
    "ServiceMisconfigured",
    "SlowEmbedder",
    "Traits",
    "Vectors",
    "by_name",
    "create",
    "is_slow",
]
