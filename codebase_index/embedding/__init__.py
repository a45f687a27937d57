"""Text to vectors: one protocol, several services."""

from codebase_index.embedding.factory import by_name, create
from codebase_index.embedding.protocol import Embedder, EmbeddingUnavailable, Vectors
from codebase_index.embedding.static import StaticEmbedder

__all__ = ["Embedder", "EmbeddingUnavailable", "StaticEmbedder", "Vectors", "by_name", "create"]
