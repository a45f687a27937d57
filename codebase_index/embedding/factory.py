"""From what a job asks for (provider and model) to the embedder that does it."""

import os
from collections.abc import Mapping

from codebase_index.embedding.ollama import DEFAULT_MODEL as OLLAMA_MODEL
from codebase_index.embedding.ollama import DEFAULT_URL as OLLAMA_URL
from codebase_index.embedding.ollama import OllamaEmbedder
from codebase_index.embedding.openai import DEFAULT_MODEL as OPENAI_MODEL
from codebase_index.embedding.openai import DEFAULT_URL as OPENAI_URL
from codebase_index.embedding.openai import OpenAIEmbedder
from codebase_index.embedding.protocol import Embedder, EmbeddingUnavailable
from codebase_index.embedding.static import StaticEmbedder


def create(provider: str = "static", model: str | None = None, env: Mapping[str, str] = os.environ) -> Embedder:
    """Return the embedder of a provider; without a model, the provider's default.

    ``static`` needs nothing. ``ollama`` reads OLLAMA_URL, ``openai`` reads OPENAI_BASE_URL
    and OPENAI_API_KEY. No service is asked yet.

    Raises EmbeddingUnavailable for an unknown provider, a static model that is not
    shipped, and settings that cannot work.
    """
    match provider:
        case "static":
            return _static(model)
        case "ollama":
            return OllamaEmbedder(model or OLLAMA_MODEL, env.get("OLLAMA_URL") or OLLAMA_URL)
        case "openai":
            url = env.get("OPENAI_BASE_URL") or OPENAI_URL
            return OpenAIEmbedder(model or OPENAI_MODEL, url, env.get("OPENAI_API_KEY"))
    raise EmbeddingUnavailable(
        f"there is no embedding provider {provider!r}; choose static (the default), ollama or openai"
    )


def by_name(name: str, env: Mapping[str, str] = os.environ) -> Embedder:
    """Return the embedder of this `Embedder.name`, which an index keeps beside its vectors.

    Raises EmbeddingUnavailable as create() does.
    """
    provider, _, model = name.partition("/")
    return create(provider, model, env)


def _static(model: str | None) -> StaticEmbedder:
    embedder = StaticEmbedder.load()
    if model and embedder.name != f"static/{model}":
        raise EmbeddingUnavailable(
            f"the static model {model} is not shipped with this version, which has {embedder.name}; "
            "leave the model out, and index again what was indexed with the other one"
        )
    return embedder
