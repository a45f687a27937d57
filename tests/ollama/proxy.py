"""A loopback proxy in front of Ollama that remembers what was embedded, and can hold or narrow what passes."""

import contextlib
import json
import threading
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx


class Proxy:
    """Counts the texts of answered requests (`embedded`) and of those that were sent on (`sent`)."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.most_texts = 1_000_000
        self.embedded: Counter[str] = Counter()
        self.sent: Counter[str] = Counter()
        self.at_once = self.most_at_once = 0
        self.after: Callable[[int], None] = lambda answered: None
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, path: str, data: bytes) -> tuple[int, bytes]:
        body: dict[str, Any] = json.loads(data)
        texts = body["input"]
        if len(texts) > self.most_texts:
            return 413, b"payload too large"
        with self._lock:
            self.sent.update(texts)
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            answer = httpx.post(self.target + path, content=data, timeout=120)
        except httpx.HTTPError as error:
            return 502, str(error).encode()
        finally:
            with self._lock:
                self.at_once -= 1
        if answer.is_success:
            with self._lock:
                self.embedded.update(texts)
                count = self.embedded.total()
            self.after(count)
        return answer.status_code, answer.content

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                status, data = proxy.answer(self.path, self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                with contextlib.suppress(OSError):  # the client did not wait
                    self.wfile.write(data)

            def log_message(self, format: str, *args: object) -> None:
                pass

        return Handler
