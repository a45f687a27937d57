"""The base of embedders behind an HTTP service: batch sizes, truncation, validation and unit length."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import numpy as np

from codebase_index.embedding.models import traits_of
from codebase_index.embedding.normalization import to_unit_length
from codebase_index.embedding.protocol import (
    EmbeddingResult,
    EmbeddingUnavailable,
    ServiceAway,
    Traits,
    Vectors,
)
from codebase_index.embedding.remote.http import JsonService, RetryBudget, TooLarge

DOCUMENTS = RetryBudget(attempts=3, seconds=120)
"""A second or two with the backoff, which a hiccup takes; a job says of a longer outage that it is blocked.
A service on a laptop may have to load its model first."""

CHECK = RetryBudget(attempts=1, seconds=DOCUMENTS.seconds)
DIMENSION = RetryBudget(attempts=2, seconds=DOCUMENTS.seconds)

QUERY = RetryBudget(attempts=2, seconds=10)
QUERY_SECONDS = 2.5
"""For a query as a whole, with all that it takes: somebody is waiting, and a thread that waits for a service that
hangs is missing for others. Below what the server waits, so that it is told why there is no vector."""

CONCURRENCY = 4
"""Requests of one pod at once: enough to hide the network, few enough for a service that many pods share."""


class RemoteEmbedder(ABC):
    """An Embedder whose vectors come from a service; subclasses implement its requests and answers.

    Thread-safe: threads share connections, and the limits of the service that one of them finds.
    """

    def __init__(self, provider: str, model: str, service: JsonService, concurrency: int = CONCURRENCY) -> None:
        """Take the provider, the model and the service. Nothing is sent yet."""
        self.name = f"{provider}/{model}"
        self.traits: Traits = traits_of(model)
        self.concurrency = concurrency
        self._model = model
        self._service = service
        self._batch_texts = self.traits.batch_texts  # what the service was found to take
        self._dimension: int | None = None  # of its first vector

    @abstractmethod
    def _fetch(self, texts: Sequence[str], budget: RetryBudget) -> list[list[float]]:
        """Return one vector a text, in order, of any length.

        Raises TooLarge when the service does not take so many texts, or one of them is too long for the model and
        the service would not cut it unnoticed.
        """

    @abstractmethod
    def _fetch_truncated(self, text: str, budget: RetryBudget) -> list[float]:
        """Return the vector of a text that is too long, truncated to the model's limit."""

    @property
    def dimension(self) -> int:
        """Length of every vector, that of the first one. Asks the service if there was none yet.

        Raises EmbeddingUnavailable or EmbeddingRefused.
        """
        return self._length(DIMENSION)

    def check(self) -> None:
        """Embed a word: the service is there, has the model, and its vectors are as long as they were."""
        self._validated([self.traits.query_prefix + "health"], CHECK)

    def embed(self, texts: Sequence[str], seconds: float = math.inf) -> EmbeddingResult:
        """Return one unit vector a text, and the number of truncated texts, within this many seconds.

        Raises EmbeddingUnavailable or EmbeddingRefused.
        """
        budget = DOCUMENTS.within(seconds)
        vectors = np.empty((len(texts), self._length(budget)), dtype=np.float32)
        prepared = [self.traits.document_prefix + text for text in texts]
        # By length: texts too long for the model come together, and a service that counts tokens in order notices
        # the first of them at once.
        waiting = [np.array(sorted(range(len(texts)), key=lambda i: -len(prepared[i])), dtype=np.intp)]
        truncated = 0
        while waiting:
            numbers = waiting.pop()
            limit = self._batch_texts
            if len(numbers) > limit:
                waiting += [numbers[limit:], numbers[:limit]]
                continue
            if not len(numbers):
                continue
            batch = [prepared[i] for i in numbers]
            try:
                vectors[numbers] = self._validated(batch, budget)
            except TooLarge as error:
                if len(batch) == 1:
                    vectors[numbers] = self._embed_truncated(batch[0], budget)
                    truncated += 1
                    continue
                half = len(batch) // 2
                if not error.text:
                    self._batch_texts = min(self._batch_texts, half)
                waiting += [numbers[half:], numbers[:half]]
        return EmbeddingResult(to_unit_length(vectors), truncated)

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Return one unit vector a text, float32 of shape (len(texts), dimension). Raises as `embed` does."""
        return self.embed(texts).vectors

    def embed_query(self, text: str) -> Vectors:
        """Return the unit vector of a query, float32 of shape (dimension,), within QUERY_SECONDS.

        Raises EmbeddingUnavailable or EmbeddingRefused.
        """
        prefixed, budget = self.traits.query_prefix + text, QUERY.within(QUERY_SECONDS)
        try:
            vectors = self._validated([prefixed], budget)
        except TooLarge:
            vectors = self._truncate_in_time(prefixed, budget)
        vector: Vectors = to_unit_length(vectors)[0]
        return vector

    def close(self) -> None:
        """Close the connections to the service."""
        self._service.close()

    def _embed_truncated(self, text: str, budget: RetryBudget) -> Vectors:
        vector = self._request(lambda: [self._fetch_truncated(_sendable(text), budget)], 1)
        return self._of_known_length(vector)

    def _truncate_in_time(self, text: str, budget: RetryBudget) -> Vectors:
        """Cut a query. A service that has just called it too long is not away: this query is slow."""
        try:
            return self._embed_truncated(text, budget)
        except ServiceAway as error:
            raise EmbeddingUnavailable(
                f"the query is too long for the model, and cutting it failed: {error}"
            ) from error

    def _validated(self, texts: Sequence[str], budget: RetryBudget) -> Vectors:
        return self._of_known_length(self._vectors(texts, budget))

    def _length(self, budget: RetryBudget) -> int:
        if self._dimension is None:
            self._validated([self.traits.query_prefix + "dimension"], budget)
            assert self._dimension is not None
        return self._dimension

    def _of_known_length(self, vectors: Vectors) -> Vectors:
        if self._dimension is None:
            self._dimension = vectors.shape[1]
        if vectors.shape[1] != self._dimension:
            raise self._service.refused(
                f"gave vectors of {vectors.shape[1]} numbers where it gave {self._dimension} before: "
                f"the model behind {self.name} was exchanged; bring the former one back, or give the new one "
                "another name and index again with it"
            )
        return vectors

    def _vectors(self, texts: Sequence[str], budget: RetryBudget) -> Vectors:
        return self._request(lambda: self._fetch([_sendable(text) for text in texts], budget), len(texts))

    def _request(self, question: Callable[[], list[list[float]]], count: int) -> Vectors:
        try:
            with np.errstate(over="ignore"):  # told below
                vectors = np.array(question(), dtype=np.float32)
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise self._service.unavailable(f"gave an answer without embeddings ({error!r})") from error
        if vectors.ndim != 2 or len(vectors) != count or vectors.shape[1] == 0:
            raise self._service.unavailable(f"gave {vectors.shape} numbers for {count} texts")
        if not np.isfinite(vectors).all():
            raise self._service.unavailable("gave vectors that are not finite")
        return vectors


def _sendable(text: str) -> str:
    """Return what services accept: not empty, and without lone surrogates."""
    return text.encode("utf-8", "replace").decode() or " "
