"""Text to vectors: one protocol, several services."""

from codebase_index.embedding.factory import by_name, create
from codebase_index.embedding.protocol import Embedder, EmbeddingUnavailable, Vectors

__all__ = ["Embedder", "EmbeddingUnavailable", "Vectors", "by_name", "create"]
