"""A scripted embedding service, and the embedders that speak to it."""

import json
import threading
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from codebase_index.embedding.remote import http
from codebase_index.embedding.remote.ollama import OllamaEmbedder
from codebase_index.embedding.remote.openai import OpenAIEmbedder
from tests.unit.embedding.service import KEY, Service, as_ollama, as_openai


@pytest.fixture
def service() -> Iterator[Service]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status, headers, data = scripted.answer(self.path, dict(self.headers), body)
            self.send_response(status)
            for key, value in {"Content-Length": str(len(data)), **headers}.items():
                self.send_header(key, value)
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        scripted = Service(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield scripted
        server.shutdown()
        thread.join()


@pytest.fixture
def ollama(service: Service) -> Iterator[OllamaEmbedder]:
    service.usual = as_ollama
    with closing(OllamaEmbedder("nomic-embed-text", service.url)) as embedder:
        yield embedder


@pytest.fixture
def openai(service: Service) -> Iterator[OpenAIEmbedder]:
    service.usual = as_openai
    with closing(OpenAIEmbedder("some-model", f"{service.url}/v1", KEY)) as embedder:
        yield embedder


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "FIRST_DELAY_SECONDS", 0.0)
