"""Embeddings from an Ollama server, by its /api/embed."""

from collections.abc import Sequence

from codebase_index.embedding.http import JsonService
from codebase_index.embedding.remote import RemoteEmbedder

DEFAULT_URL = "http://localhost:11434"
DEFAULT_MODEL = "nomic-embed-text"

# Some models were trained with a task in front of the text; their cards say which, Ollama does not add it.
_PREFIXES = {
    "nomic-embed-text": ("search_document: ", "search_query: "),
    "mxbai-embed-large": ("", "Represent this sentence for searching relevant passages: "),
}


class OllamaEmbedder(RemoteEmbedder):
    """An Embedder for any embedding model that an Ollama server has pulled."""

    def __init__(self, model: str = DEFAULT_MODEL, url: str = DEFAULT_URL) -> None:
        """Take the model, with its tag if it is not the latest. Nothing is sent yet.

        Raises EmbeddingUnavailable when the URL is not an http or https address.
        """
        advice = f"check that OLLAMA_URL is right and that `ollama pull {model}` was run there"
        super().__init__(f"ollama/{model}", JsonService("Ollama", url, advice))
        self._model = model
        self._document_prefix, self._query_prefix = _PREFIXES.get(model.partition(":")[0], ("", ""))

    def _as_document(self, text: str) -> str:
        return self._document_prefix + text

    def _as_query(self, text: str) -> str:
        return self._query_prefix + text

    def _fetch(self, texts: Sequence[str], attempts: int) -> list[list[float]]:
        answer = self._service.post("api/embed", {"model": self._model, "input": list(texts)}, attempts)
        vectors: list[list[float]] = answer["embeddings"]
        return vectors
