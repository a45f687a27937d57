"""Embeddings from OpenAI, or from any service with the same API (vLLM, LiteLLM, TEI, llama.cpp)."""

from collections.abc import Sequence

from codebase_index.embedding.http import JsonService
from codebase_index.embedding.protocol import EmbeddingUnavailable
from codebase_index.embedding.remote import RemoteEmbedder

DEFAULT_URL = "https://api.openai.com/v1"
DEFAULT_MODEL = "text-embedding-3-small"


class OpenAIEmbedder(RemoteEmbedder):
    """An Embedder for the embedding models of an OpenAI-compatible service."""

    def __init__(self, model: str = DEFAULT_MODEL, url: str = DEFAULT_URL, api_key: str | None = None) -> None:
        """Take the model, the URL up to and with the version, and the key. Nothing is sent yet.

        Raises EmbeddingUnavailable without a key for OpenAI itself, whose answer would only be 401.
        """
        if not api_key and url == DEFAULT_URL:
            raise EmbeddingUnavailable(
                "OpenAI needs a key, and OPENAI_API_KEY is not set; set it, or point OPENAI_BASE_URL elsewhere"
            )
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else None
        advice = f"check OPENAI_BASE_URL, OPENAI_API_KEY and that the service has the model {model}"
        super().__init__(f"openai/{model}", JsonService("the OpenAI-compatible service", url, advice, headers))
        self._model = model

    def _fetch(self, texts: Sequence[str], attempts: int) -> list[list[float]]:
        body = {"model": self._model, "input": list(texts), "encoding_format": "float"}
        items = self._service.post("embeddings", body, attempts)["data"]
        return [item["embedding"] for item in sorted(items, key=lambda item: int(item["index"]))]
