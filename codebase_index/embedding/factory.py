"""From what a job asks for (provider and model) to the embedder that does it.

A provider is imported when it is asked for: SciPy takes as long to import as half of a program, and a pod takes
its job before it needs an embedder, so a lost job is in new hands sooner.
"""

import os
from collections.abc import Mapping

from codebase_index.embedding.protocol import Embedder, EmbeddingUnavailable
from codebase_index.embedding.shipped import static_name


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
            from codebase_index.embedding import ollama

            url = env.get("OLLAMA_URL") or ollama.DEFAULT_URL
            return ollama.OllamaEmbedder(model or ollama.DEFAULT_MODEL, url)
        case "openai":
            from codebase_index.embedding import openai

            url = env.get("OPENAI_BASE_URL") or openai.DEFAULT_URL
            return openai.OpenAIEmbedder(model or openai.DEFAULT_MODEL, url, env.get("OPENAI_API_KEY"))
    raise EmbeddingUnavailable(
        f"there is no embedding provider {provider!r}; choose static (the default), ollama or openai"
    )


def by_name(name: str, env: Mapping[str, str] = os.environ) -> Embedder:
    """Return the embedder of this `Embedder.name`, which an index keeps beside its vectors.

    Raises EmbeddingUnavailable as create() does.
    """
    provider, _, model = name.partition("/")
    return create(provider, model, env)


def name_of(provider: str = "static", model: str | None = None, env: Mapping[str, str] = os.environ) -> str:
    """Return the name of the embedder that create() would return, without opening a model.

    A job whose files are all unchanged needs no more than that. Raises EmbeddingUnavailable as create() does.
    """
    return _shipped_name(model) if provider == "static" else create(provider, model, env).name


def _static(model: str | None) -> Embedder:
    _shipped_name(model)
    from codebase_index.embedding.static import StaticEmbedder

    return StaticEmbedder.load()


def _shipped_name(model: str | None) -> str:
    """Return the name of the static model that is shipped, which must be the one asked for."""
    name = static_name()
    if model and name != f"static/{model}":
        raise EmbeddingUnavailable(
            f"the static model {model} is not shipped with this version, which has {name}; "
            "leave the model out, and index again what was indexed with the other one"
        )
    return name
