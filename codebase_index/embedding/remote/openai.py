"""Embeddings from OpenAI, or from any service with the same API (Ollama, vLLM, LiteLLM, TEI, llama.cpp)."""

import re
from collections.abc import Sequence

from codebase_index.embedding.protocol import EmbeddingRefused
from codebase_index.embedding.remote.embedder import CONCURRENCY, RemoteEmbedder
from codebase_index.embedding.remote.http import JsonService, RetryBudget, TooLarge

DEFAULT_URL = "https://api.openai.com/v1"
DEFAULT_MODEL = "text-embedding-3-small"

_FEWEST_CHARACTERS = 32
"""A text this short is too long for no model: then something else is wrong."""

_LIMIT_AND_LENGTH = re.compile(r"(\d+) tokens\D+(\d+)")


class OpenAIEmbedder(RemoteEmbedder):
    """An Embedder for the embedding models of an OpenAI-compatible service."""

    def __init__(
        self,
        model: str = DEFAULT_MODEL,
        url: str = DEFAULT_URL,
        api_key: str | None = None,
        concurrency: int = CONCURRENCY,
    ) -> None:
        """Take the model, the URL up to and with the version, and the key. Nothing is sent yet.

        Raises EmbeddingRefused without a key for OpenAI itself, whose answer would only be 401.
        """
        if not api_key and url == DEFAULT_URL:
            raise EmbeddingRefused(
                "OpenAI needs a key, and OPENAI_API_KEY is not set; set it, or point OPENAI_BASE_URL elsewhere"
            )
        advice = f"check OPENAI_BASE_URL, OPENAI_API_KEY and that the service has the model {model}"
        service = JsonService("the OpenAI-compatible service", url, advice, key=api_key)
        super().__init__("openai", model, service, concurrency)

    def _fetch(self, texts: Sequence[str], budget: RetryBudget) -> list[list[float]]:
        body = {"model": self._model, "input": list(texts), "encoding_format": "float"}
        items = self._service.post("embeddings", body, budget)["data"]
        return [item["embedding"] for item in sorted(items, key=lambda item: int(item["index"]))]

    def _fetch_truncated(self, text: str, budget: RetryBudget) -> list[float]:
        """Send less of the text until the service takes it: the API has no word for cutting."""
        reason = "it is too long"
        while len(text) >= _FEWEST_CHARACTERS:
            text = text[: int(len(text) * _share(reason))]
            try:
                return self._fetch([text], budget)[0]
            except TooLarge as error:
                reason = str(error)
        raise self._service.refused(f"takes not even a short text ({reason})")


def _share(reason: str) -> float:
    """How much of a text to send: by the limit and the length that the service names, else the half."""
    if match := _LIMIT_AND_LENGTH.search(reason):
        limit, length = map(int, match.groups())
        if 0 < limit < length:
            return 0.95 * limit / length  # tokens are not equally long
    return 0.5
