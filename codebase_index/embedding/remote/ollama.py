"""Embeddings from an Ollama server, by its /api/embed."""

from collections.abc import Sequence

from codebase_index.embedding.remote.embedder import CONCURRENCY, RemoteEmbedder
from codebase_index.embedding.remote.http import JsonService, RetryBudget

DEFAULT_URL = "http://localhost:11434"
DEFAULT_MODEL = "nomic-embed-text"


class OllamaEmbedder(RemoteEmbedder):
    """An Embedder for any embedding model that an Ollama server has pulled."""

    def __init__(self, model: str = DEFAULT_MODEL, url: str = DEFAULT_URL, concurrency: int = CONCURRENCY) -> None:
        """Take the model, with its tag if it is not the latest. Nothing is sent yet.

        Raises EmbeddingRefused when the URL is not an http or https address.
        """
        advice = f"check that OLLAMA_URL is right and that `ollama pull {model}` was run there"
        super().__init__("ollama", model, JsonService("Ollama", url, advice), concurrency)

    def _fetch(self, texts: Sequence[str], budget: RetryBudget) -> list[list[float]]:
        return self._embed(texts, budget, truncate=False)  # by itself it would cut them and not say so

    def _fetch_truncated(self, text: str, budget: RetryBudget) -> list[float]:
        return self._embed([text], budget, truncate=True)[0]

    def _embed(self, texts: Sequence[str], budget: RetryBudget, *, truncate: bool) -> list[list[float]]:
        body = {"model": self._model, "input": list(texts), "truncate": truncate}
        vectors: list[list[float]] = self._service.post("api/embed", body, budget)["embeddings"]
        return vectors
