"""The embedders behind HTTP give unit vectors in order, and refuse useless ones."""

import numpy as np
import pytest

from codebase_index.embedding import EmbeddingRefused, EmbeddingUnavailable
from codebase_index.embedding.models import BATCH_TEXTS
from codebase_index.embedding.remote.ollama import OllamaEmbedder
from codebase_index.embedding.remote.openai import OpenAIEmbedder
from tests.unit.embedding.service import KEY, Service, unit


def test_ollama_vectors_come_in_order_and_at_unit_length(ollama: OllamaEmbedder) -> None:
    vectors = ollama.embed_documents(["a", "bcd"])
    prefix = len("search_document: ")
    assert vectors.dtype == np.float32
    assert np.allclose(vectors, [unit(prefix + 1, 1, 2), unit(prefix + 3, 1, 2)])


def test_ollama_says_to_the_model_what_is_a_query(ollama: OllamaEmbedder, service: Service) -> None:
    ollama.embed_query("where is it?")
    assert service.inputs[0] == "search_query: where is it?"
    assert service.requests[0][2]["model"] == "nomic-embed-text"


def test_openai_vectors_are_put_in_order(openai: OpenAIEmbedder, service: Service) -> None:
    assert np.allclose(openai.embed_documents(["a", "bcd"]), [unit(1, 1, 2), unit(3, 1, 2)])
    assert service.requests[0][1]["Authorization"] == f"Bearer {KEY}"


def test_names_tell_provider_and_model(ollama: OllamaEmbedder, openai: OpenAIEmbedder) -> None:
    assert (ollama.name, openai.name) == ("ollama/nomic-embed-text", "openai/some-model")


def test_dimension_is_asked_for_once(openai: OpenAIEmbedder, service: Service) -> None:
    assert openai.dimension == openai.dimension == 3
    assert len(service.requests) == 1


def test_batches_are_bounded(openai: OpenAIEmbedder, service: Service) -> None:
    texts = ["x" * n for n in range(1, 2 * BATCH_TEXTS + 2)]
    vectors = openai.embed_documents(texts)
    assert np.allclose(vectors[-1], unit(len(texts[-1]), 1, 2))
    assert [len(body["input"]) for _, _, body in service.requests] == [1, BATCH_TEXTS, BATCH_TEXTS, 1]


def test_texts_that_services_refuse_are_made_acceptable(openai: OpenAIEmbedder, service: Service) -> None:
    openai.embed_documents(["", "caf\udce9"])
    assert sorted(service.inputs[-2:]) == [" ", "caf?"]


def test_no_texts_give_no_rows(openai: OpenAIEmbedder) -> None:
    assert openai.embed_documents([]).shape == (0, 3)


def test_a_query_needs_one_request_whatever_is_known_of_the_service(
    openai: OpenAIEmbedder, service: Service
) -> None:
    openai.embed_query("q")
    assert len(service.requests) == 1
    assert openai.dimension == 3
    assert len(service.requests) == 1, "the first vector has told"


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"<html>", "not a JSON object"),
        (b"[1]", "not a JSON object"),
        (b"{}", "without embeddings"),
        (b'{"data": 5}', "without embeddings"),
        (b'{"data": [{"index": 0, "embedding": ["x"]}]}', "without embeddings"),
        (b'{"data": []}', "for 1 texts"),
        (b'{"data": [{"index": 0, "embedding": []}]}', "for 1 texts"),
        (b'{"data": [{"index": 0, "embedding": [NaN]}]}', "not finite"),
    ],
    ids=["html", "list", "empty object", "data a number", "text for numbers", "no vector", "empty vector", "NaN"],
)
def test_a_useless_answer_is_refused(
    openai: OpenAIEmbedder, service: Service, answer: bytes, message: str
) -> None:
    service.script = [(200, {}, answer)]
    with pytest.raises(EmbeddingUnavailable, match=message):
        openai.embed_query("q")


def test_a_changed_model_is_noticed(openai: OpenAIEmbedder, service: Service) -> None:
    assert openai.dimension == 3
    service.script = [(200, {}, b'{"data": [{"index": 0, "embedding": [1, 0]}]}')]
    with pytest.raises(EmbeddingRefused, match="vectors of 2 numbers where it gave 3 before"):
        openai.embed_query("q")


def test_a_zero_vector_becomes_a_safe_one(openai: OpenAIEmbedder, service: Service) -> None:
    assert openai.dimension == 3
    service.script = [(200, {}, b'{"data": [{"index": 0, "embedding": [0, 0, 0]}]}')]
    assert openai.embed_query("q").tolist() == [0, 0, 1]
