"""Texts and batches that a service finds too large are cut or halved, and counted."""

from typing import Any

import numpy as np
import pytest

from codebase_index.embedding.remote.ollama import OllamaEmbedder
from codebase_index.embedding.remote.openai import OpenAIEmbedder
from tests.unit.embedding.service import Answer, Service, unit


class Narrow:
    """A service that takes so many texts a request, and so many characters a text."""

    def __init__(self, texts: int, characters: int) -> None:
        self.texts, self.characters = texts, characters

    def refusal(self, body: dict[str, Any]) -> Answer | None:
        if len(body["input"]) > self.texts:
            return 413, {}, b"batch size > maximum allowed batch size"
        longest = max(map(len, body["input"]))
        if longest > self.characters and not body.get("truncate"):
            told = f"maximum context length is {self.characters} tokens, you requested {longest} tokens"
            return 400, {}, told.encode()
        return None


@pytest.fixture
def narrow(service: Service, monkeypatch: pytest.MonkeyPatch) -> Narrow:
    narrow = Narrow(texts=10, characters=200)
    answer = service.answer

    def answered(path: str, headers: dict[str, str], body: dict[str, Any]) -> Answer:
        refusal = narrow.refusal(body)
        if refusal is not None:
            service.requests.append((path, headers, body))
            return refusal
        return answer(path, headers, body)

    monkeypatch.setattr(service, "answer", answered)
    return narrow


@pytest.mark.usefixtures("narrow")
def test_a_batch_that_is_too_large_is_halved_and_the_size_remembered(
    openai: OpenAIEmbedder, service: Service
) -> None:
    texts = ["x" * n for n in range(1, 41)]
    embedded = openai.embed(texts)
    assert embedded.truncated == 0
    assert np.allclose(embedded.vectors, [unit(len(text), 1, 2) for text in texts])
    service.requests.clear()
    openai.embed(texts)
    assert max(len(body["input"]) for _, _, body in service.requests) == 10


@pytest.mark.usefixtures("narrow")
def test_texts_that_are_too_long_are_cut_and_counted_and_the_others_are_whole(openai: OpenAIEmbedder) -> None:
    texts = ["x" * n for n in (5, 199, 201, 3, 4000)]
    embedded = openai.embed(texts)
    assert embedded.truncated == 2
    assert np.allclose(embedded.vectors[[0, 1, 3]], [unit(n, 1, 2) for n in (5, 199, 3)])
    lengths = embedded.vectors[[2, 4], 0] / embedded.vectors[[2, 4], 1]
    assert (lengths > 90).all() and (lengths <= 200).all()


@pytest.mark.usefixtures("narrow")
def test_a_query_that_is_too_long_is_cut(openai: OpenAIEmbedder) -> None:
    assert openai.embed_query("x" * 1000).shape == (3,)


def test_ollama_cuts_only_when_it_is_told(ollama: OllamaEmbedder, narrow: Narrow, service: Service) -> None:
    assert ollama.embed(["x", "x" * 300]).truncated == 1
    assert [b["truncate"] for _, _, b in service.requests if len(b["input"][0]) > 300] == [False, False, True]
