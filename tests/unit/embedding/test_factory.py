"""Embedders by provider and model: what can be meant is made, everything else is refused with advice."""

import pytest

from codebase_index.embedding import Embedder, EmbeddingRefused, by_name, create
from codebase_index.embedding.models import traits_of
from codebase_index.embedding.remote.ollama import OllamaEmbedder
from codebase_index.embedding.remote.openai import OpenAIEmbedder
from tests.unit.embedding.service import KEY, Service, as_ollama, as_openai


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("localhost:11434", "not an http"),
        ("file:///etc/passwd", "not an http"),
        ("http://", "not an http"),
        ("http://host:port", "not an http"),
        ("", "not an http"),
        ("http://me:hunter2@host", "contains a user or a password"),
    ],
)
def test_a_url_that_cannot_work_is_refused_at_once(url: str, message: str) -> None:
    with pytest.raises(EmbeddingRefused, match=message) as caught:
        OllamaEmbedder("m", url)
    assert "OLLAMA_URL" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def close(embedder: Embedder) -> None:
    if isinstance(embedder, OllamaEmbedder | OpenAIEmbedder):
        embedder.close()


@pytest.mark.parametrize(
    ("provider", "model", "name"),
    [
        ("static", None, "static/minilm-256"),
        ("static", "minilm-256", "static/minilm-256"),
        ("ollama", None, "ollama/nomic-embed-text"),
        ("ollama", "mxbai-embed-large:latest", "ollama/mxbai-embed-large:latest"),
        ("openai", None, "openai/text-embedding-3-small"),
        ("openai", "BAAI/bge-small-en-v1.5", "openai/BAAI/bge-small-en-v1.5"),
    ],
)
def test_factory_and_names_are_inverse(provider: str, model: str | None, name: str) -> None:
    env = {"OPENAI_API_KEY": KEY}
    created, named = create(provider, model, env), by_name(name, env)
    assert created.name == named.name == name
    close(created)
    close(named)


def test_factory_reads_the_environment(service: Service) -> None:
    service.usual = as_ollama
    embedder = create("ollama", "all-minilm", {"OLLAMA_URL": service.url})
    assert embedder.dimension == 3
    close(embedder)
    service.usual = as_openai
    embedder = create("openai", "m", {"OPENAI_BASE_URL": f"{service.url}/v1/"})
    assert embedder.dimension == 3
    assert "Authorization" not in service.requests[-1][1]
    close(embedder)


@pytest.mark.parametrize(
    ("provider", "model", "message"),
    [
        ("magic", None, "no embedding provider 'magic'; choose static"),
        ("static", "huge", "static model huge is not shipped"),
        ("openai", None, "OPENAI_API_KEY is not set"),
    ],
)
def test_factory_explains_what_it_refuses(provider: str, model: str | None, message: str) -> None:
    with pytest.raises(EmbeddingRefused, match=message):
        create(provider, model, {})


def test_traits_are_those_of_the_model_card() -> None:
    assert traits_of("intfloat/e5-small-v2").query_prefix == "query: "
    assert traits_of("nomic-embed-text:v1.5").document_prefix == "search_document: "
    assert traits_of("somebody/new").document_prefix == ""


@pytest.mark.parametrize("value", ["0", "many", "1000"])
def test_a_concurrency_that_can_not_be_meant_is_refused(value: str) -> None:
    with pytest.raises(EmbeddingRefused, match="EMBEDDING_CONCURRENCY"):
        create("ollama", None, {"EMBEDDING_CONCURRENCY": value})
