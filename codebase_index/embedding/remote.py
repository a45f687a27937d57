"""What embedders behind an HTTP service have in common: batches, checks and unit length."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from functools import cached_property

import numpy as np

from codebase_index.embedding.http import JsonService
from codebase_index.embedding.protocol import Vectors
from codebase_index.embedding.vectors import to_unit_length

BATCH_TEXTS = 64
"""Texts a request carries: enough to keep a service busy, few enough to answer within seconds."""

MAX_TEXT_CHARACTERS = 8_000
"""What is sent of one text. Chunks are far shorter; a longer text would be refused by services whose
limit is 8,192 tokens, and one odd file must not stop a job."""

DOCUMENT_ATTEMPTS = 6  # some 30 s with the backoff: outlasts a restart of the service
QUERY_ATTEMPTS = 2  # somebody is waiting


class RemoteEmbedder(ABC):
    """An Embedder whose vectors come from a service; subclasses know its request and its answer."""

    def __init__(self, name: str, service: JsonService) -> None:
        """Take the embedder's name (provider and model) and its service. Nothing is sent yet."""
        self.name = name
        self._service = service

    @abstractmethod
    def _fetch(self, texts: Sequence[str], attempts: int) -> list[list[float]]:
        """Return one vector a text, in order, of any length."""

    def _as_document(self, text: str) -> str:
        return text

    def _as_query(self, text: str) -> str:
        return text

    @cached_property
    def dimension(self) -> int:
        """Length of every vector. Asks the service once; raises EmbeddingUnavailable."""
        return int(self._vectors([self._as_query("dimension")], QUERY_ATTEMPTS).shape[1])

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Return one unit vector a text, float32 of shape (len(texts), dimension).

        Raises EmbeddingUnavailable when the service is away or refuses.
        """
        vectors = np.empty((len(texts), self.dimension), dtype=np.float32)
        for start, batch in _batches([self._as_document(text) for text in texts]):
            vectors[start : start + len(batch)] = self._checked(batch, DOCUMENT_ATTEMPTS)
        return to_unit_length(vectors)

    def embed_query(self, text: str) -> Vectors:
        """Return the unit vector of a query, float32 of shape (dimension,).

        Raises EmbeddingUnavailable when the service is away or refuses.
        """
        vector: Vectors = to_unit_length(self._checked([self._as_query(text)], QUERY_ATTEMPTS))[0]
        return vector

    def close(self) -> None:
        """Close the connections to the service."""
        self._service.close()

    def _checked(self, texts: Sequence[str], attempts: int) -> Vectors:
        vectors = self._vectors(texts, attempts)
        if vectors.shape[1] != self.dimension:
            raise self._service.unavailable(
                f"gave vectors of {vectors.shape[1]} numbers where it gave {self.dimension} before: "
                f"the model behind {self.name} was exchanged"
            )
        return vectors

    def _vectors(self, texts: Sequence[str], attempts: int) -> Vectors:
        try:
            vectors = np.array(self._fetch([_sendable(text) for text in texts], attempts), dtype=np.float32)
        except (KeyError, TypeError, ValueError) as error:
            raise self._service.unavailable(f"gave an answer without embeddings ({error!r})") from error
        if vectors.ndim != 2 or len(vectors) != len(texts) or vectors.shape[1] == 0:
            raise self._service.unavailable(f"gave {vectors.shape} numbers for {len(texts)} texts")
        if not np.isfinite(vectors).all():
            raise self._service.unavailable("gave vectors that are not finite")
        return vectors


def _batches(texts: Sequence[str]) -> Iterator[tuple[int, Sequence[str]]]:
    for start in range(0, len(texts), BATCH_TEXTS):
        yield start, texts[start : start + BATCH_TEXTS]


def _sendable(text: str) -> str:
    """Return what services accept: not empty, not too long, and without lone surrogates."""
    return text[:MAX_TEXT_CHARACTERS].encode("utf-8", "replace").decode() or " "
