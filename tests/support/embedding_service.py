"""An embedding service on loopback with Ollama's API: its vectors mean something, and it fails when told to."""

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np

from codebase_index.embedding import Vectors
from codebase_index.embedding.normalization import to_unit_length
from codebase_index.embedding.static import StaticEmbedder

MODEL = "nomic-embed-text"
NAME = f"ollama/{MODEL}"

_QUERY = "search_query: "
_FILE = re.compile(r"search_document: f\d\d_")


class EmbeddingService:
    """Another model than the static one, made of it: all similarities are high, and the vectors are longer.

    `status` is what documents are answered with that are files with names such as `f01_x.py`, `query_status` what
    queries are; None: no answer while it is so. `dimension` cuts or pads the vectors.
    """

    def __init__(self) -> None:
        self.url = ""
        self.status: int | None = 200
        self.query_status: int | None = 200
        self.dimension = 320
        self._embedder = StaticEmbedder.load()
        self._changed = threading.Condition()

    def answer_with(self, status: int | None, *, queries: int | None = 200) -> None:
        """Answer so from now on, also those that wait."""
        with self._changed:
            self.status, self.query_status = status, queries
            self._changed.notify_all()

    def answer(self, texts: list[str]) -> tuple[int, dict[str, Any]]:
        """Return status and body of the answer to a request."""

        def status() -> int | None:
            if texts[0].startswith(_QUERY):
                return self.query_status
            return self.status if any(map(_FILE.match, texts)) else 200

        with self._changed:
            self._changed.wait_for(lambda: status() is not None, 60)
            status_now = status() or 503
        if status_now != 200:
            return status_now, {"error": "not now"}
        return 200, {"embeddings": self._vectors([text.partition(": ")[2] for text in texts]).tolist()}

    def _vectors(self, texts: list[str]) -> Vectors:
        rows = self._embedder.embed_documents(texts)
        narrow = to_unit_length(np.hstack([np.full((len(texts), 1), 1.5, np.float32), rows]))
        missing = max(0, self.dimension - narrow.shape[1])
        padded: Vectors = np.pad(narrow, ((0, 0), (0, missing)))[:, : self.dimension]
        return padded


@contextmanager
def embedding_service() -> Iterator[EmbeddingService]:
    """Serve until the block ends."""
    service = EmbeddingService()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status, answer = service.answer(asked["input"])
            body = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        service.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield service
        service.answer_with(503, queries=503)
        server.shutdown()
        thread.join()
