"""A scripted embedding service on loopback that records what it was sent."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np

from codebase_index.embedding import Vectors

Answer = tuple[int, dict[str, str], bytes]
KEY = "sk-secret"


class Service:
    """A scripted service: answers from the script first, then as `usual` says."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.script: list[Answer] = []
        self.status = 200
        self.body: bytes | None = None
        self.usual: Callable[[str, dict[str, Any]], dict[str, Any]] = lambda path, body: {}
        self.requests: list[tuple[str, dict[str, str], dict[str, Any]]] = []

    def answer(self, path: str, headers: dict[str, str], body: dict[str, Any]) -> Answer:
        self.requests.append((path, headers, body))
        if self.script:
            return self.script.pop(0)
        answer = json.dumps(self.usual(path, body)).encode()
        return self.status, {}, answer if self.body is None else self.body

    @property
    def inputs(self) -> list[str]:
        return [text for _, _, body in self.requests for text in body["input"]]


def vector_of(text: str) -> list[float]:
    return [float(len(text)), 1.0, 2.0]


def as_ollama(path: str, body: dict[str, Any]) -> dict[str, Any]:
    assert path == "/api/embed"
    return {"model": body["model"], "embeddings": [vector_of(text) for text in body["input"]]}


def as_openai(path: str, body: dict[str, Any]) -> dict[str, Any]:
    assert path == "/v1/embeddings"
    items = [{"index": i, "embedding": vector_of(text)} for i, text in enumerate(body["input"])]
    return {"data": items[::-1]}  # the order is not promised, the index is


def unit(*values: float) -> Vectors:
    vector: Vectors = np.array(values, dtype=np.float32)
    vector /= np.linalg.norm(vector)
    return vector
