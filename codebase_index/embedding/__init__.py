"""Text to vectors: one protocol, several services."""

from codebase_index.embedding.factory import by_name, create
from codebase_index.embedding.protocol import (
    CacheableEmbedder,
    Embedder,
    EmbeddingError,
    EmbeddingRefused,
    EmbeddingResult,
    EmbeddingUnavailable,
    ServiceAway,
    ServiceBusy,
    ServiceMisconfigured,
    Traits,
    Vectors,
    is_cacheable,
)

__all__ = [
    "CacheableEmbedder",
    "Embedder",
    "EmbeddingError",
    "EmbeddingRefused",
    "EmbeddingResult",
    "EmbeddingUnavailable",
    "ServiceAway",
    "ServiceBusy",
    "ServiceMisconfigured",
    "Traits",
    "Vectors",
    "by_name",
    "create",
    "is_cacheable",
]
