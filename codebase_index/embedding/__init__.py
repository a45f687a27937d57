"""Text to vectors: one protocol, several services."""

from codebase_index.embedding.protocol import Embedder, EmbeddingUnavailable, Vectors

__all__ = ["Embedder", "EmbeddingUnavailable", "Vectors"]
