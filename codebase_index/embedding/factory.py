"""Makes the embedder of a provider and model.

Providers are imported lazily: their libraries take time to import, and a pod claims its job before it needs an
embedder, so that a lost job is taken over sooner.
"""

import os
from collections.abc import Mapping

from codebase_index.embedding.protocol import Embedder, EmbeddingRefused
from codebase_index.embedding.shipped import static_name

MAX_REQUESTS = 64


def create(provider: str = "static", model: str | None = None, env: Mapping[str, str] = os.environ) -> Embedder:
    """Return the embedder of a provider; without a model, the provider's default.

    ``static`` needs nothing. ``sentence-transformers`` reads CODEBASE_MODELS, a folder of models. ``ollama`` reads
    OLLAMA_URL, ``openai`` reads OPENAI_BASE_URL and OPENAI_API_KEY; for both, EMBEDDING_CONCURRENCY bounds the
    requests at once. No service is asked yet.

    Raises EmbeddingRefused for an unknown provider, a static model that is not
    shipped, and settings that cannot work.
    """
    match provider:
        case "static":
            return _static(model)
        case "sentence-transformers":
            from codebase_index.embedding import sentence_transformers

            return sentence_transformers.load(env.get("CODEBASE_MODELS"), model, _processes(env))
        case "ollama":
            from codebase_index.embedding.remote import ollama

            url = env.get("OLLAMA_URL") or ollama.DEFAULT_URL
            return ollama.OllamaEmbedder(model or ollama.DEFAULT_MODEL, url, _concurrency(env))
        case "openai":
            from codebase_index.embedding.remote import openai

            url = env.get("OPENAI_BASE_URL") or openai.DEFAULT_URL
            key = env.get("OPENAI_API_KEY")
            return openai.OpenAIEmbedder(model or openai.DEFAULT_MODEL, url, key, _concurrency(env))
    raise EmbeddingRefused(
        f"there is no embedding provider {provider!r}; "
        "choose static (the default), sentence-transformers, ollama or openai"
    )


def by_name(name: str, env: Mapping[str, str] = os.environ) -> Embedder:
    """Return the embedder of this `Embedder.name`, which an index keeps beside its vectors.

    Raises EmbeddingRefused as create() does.
    """
    provider, _, model = name.partition("/")
    return create(provider, model, env)


def name_of(provider: str = "static", model: str | None = None, env: Mapping[str, str] = os.environ) -> str:
    """Return the name of the embedder that create() would return, without opening a model.

    A job whose files are all unchanged needs no more than that. Raises EmbeddingRefused as create() does.
    """
    return _shipped_name(model) if provider == "static" else create(provider, model, env).name


def _concurrency(env: Mapping[str, str]) -> int:
    from codebase_index.embedding.remote.embedder import CONCURRENCY

    value = env.get("EMBEDDING_CONCURRENCY") or str(CONCURRENCY)
    if not value.isdecimal() or not 1 <= int(value) <= MAX_REQUESTS:
        raise EmbeddingRefused(
            f"EMBEDDING_CONCURRENCY is {value!r}; set it to the requests that a pod may have open at once, "
            f"1 to {MAX_REQUESTS}"
        )
    return int(value)


def _processes(env: Mapping[str, str]) -> int:
    """Cores that this process was given, as the operator says."""
    value = env.get("CODEBASE_PROCESSES") or ""
    return max(1, int(value) if value.isdecimal() else len(os.sched_getaffinity(0)))


def _static(model: str | None) -> Embedder:
    _shipped_name(model)
    from codebase_index.embedding.static import StaticEmbedder

    return StaticEmbedder.load()


def _shipped_name(model: str | None) -> str:
    """Return the name of the static model that is shipped, which must be the one asked for."""
    name = static_name()
    if model and name != f"static/{model}":
        raise EmbeddingRefused(
            f"the static model {model} is not shipped with this version, which has {name}; "
            "leave the model out, and index again what was indexed with the other one"
        )
    return name
