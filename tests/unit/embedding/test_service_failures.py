"""What an embedding service does wrong is tried again, waited for or refused, each in its own words."""

import contextlib
import threading
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from codebase_index.embedding import (
    EmbeddingError,
    EmbeddingRefused,
    EmbeddingUnavailable,
    ServiceAway,
    ServiceBusy,
    ServiceMisconfigured,
)
from codebase_index.embedding.remote import embedder as embedder_module
from codebase_index.embedding.remote.http import MAX_DELAY_SECONDS, JsonService, RetryBudget
from codebase_index.embedding.remote.ollama import OllamaEmbedder
from codebase_index.embedding.remote.openai import OpenAIEmbedder
from tests.unit.embedding.service import KEY, Service, unit


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 529])
@pytest.mark.usefixtures("impatient")
def test_a_passing_failure_is_tried_again(openai: OpenAIEmbedder, service: Service, status: int) -> None:
    service.script = [(status, {}, b"")]
    assert openai.embed_query("q") @ unit(1, 1, 2) == pytest.approx(1.0)
    assert len(service.requests) == 2  # failed, again


@pytest.mark.parametrize("status", [302, 400, 401, 403, 404])
def test_a_refusal_is_not_tried_again(openai: OpenAIEmbedder, service: Service, status: int) -> None:
    service.script = [(status, {}, b'{"error": "no\nsuch model"}')]
    with pytest.raises(EmbeddingRefused, match=rf"HTTP {status}: .*no such model.*check OPENAI_BASE_URL"):
        openai.embed_query("q")
    assert len(service.requests) == 1


@pytest.mark.usefixtures("impatient")
def test_a_broken_service_is_given_up_with_advice_and_without_the_key(
    openai: OpenAIEmbedder, service: Service
) -> None:
    service.script = [(503, {}, b"overloaded")] * 20
    with pytest.raises(EmbeddingUnavailable) as caught:
        openai.embed_query("q")
    message = str(caught.value)
    assert service.url in message
    assert "2 attempts (HTTP 503: overloaded)" in message
    assert "some-model" in message
    assert KEY not in message


@pytest.mark.usefixtures("impatient")
def test_a_service_that_is_away_is_named() -> None:
    embedder = OllamaEmbedder("nomic-embed-text", "http://127.0.0.1:1")
    message = r"Ollama at http://127.0.0.1:1 did not .*ConnectError.*pull"
    with closing(embedder), pytest.raises(EmbeddingUnavailable, match=message):
        embedder.embed_query("q")


@pytest.mark.parametrize("status", [500, 503, 529])
@pytest.mark.usefixtures("impatient")
def test_a_broken_service_is_away_for_everybody(openai: OpenAIEmbedder, service: Service, status: int) -> None:
    service.script = [(status, {}, b"")] * 2
    with pytest.raises(ServiceAway):
        openai.embed_query("q")


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (401, b"wrong", "does not accept the key, or wants one"),
        (403, b"no", "does not allow the use of this model"),
        (404, b"model not found", "does not have the model"),
    ],
)
def test_wrong_settings_are_told_in_words(
    openai: OpenAIEmbedder, service: Service, status: int, body: bytes, said: str
) -> None:
    service.script = [(status, {}, body)]
    with pytest.raises(ServiceMisconfigured, match=rf"{said} \(HTTP {status}: .*check OPENAI_BASE_URL"):
        openai.embed_query("q")


@pytest.mark.parametrize("status", [400, 408, 413, 422, 425])
@pytest.mark.usefixtures("impatient")
def test_a_refused_query_says_nothing_of_the_service(
    openai: OpenAIEmbedder, service: Service, status: int
) -> None:
    service.script = [(status, {}, b"")] * 9
    with pytest.raises(EmbeddingError) as caught:
        openai.embed_query("q")
    assert not isinstance(caught.value, ServiceAway | ServiceBusy | ServiceMisconfigured)


@pytest.mark.parametrize(("asked", "seconds"), [("7", 7.0), ("86400", MAX_DELAY_SECONDS), (None, 0.0)])
@pytest.mark.usefixtures("impatient")
def test_a_service_with_too_many_requests_says_when_to_come_back(
    openai: OpenAIEmbedder, service: Service, asked: str | None, seconds: float
) -> None:
    service.script = [(429, {"Retry-After": asked} if asked else {}, b"slow down")] * 2
    with pytest.raises(ServiceBusy, match="has too many requests") as caught:
        openai.embed_query("q")
    assert caught.value.retry_seconds == seconds
    # A wait that is longer than the query's time is not begun.
    assert len(service.requests) == (1 if asked else 2)


def test_a_query_that_is_cut_again_and_again_has_one_deadline_and_says_nothing_of_the_service(
    openai: OpenAIEmbedder, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedder_module, "QUERY_SECONDS", 0.3)
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])

    def too_long(path: str, body: dict[str, Any]) -> dict[str, Any]:
        clock[0] += 0.1
        return {}

    service.usual, service.status = too_long, 400
    service.body = b"maximum input length is exceeded"
    with pytest.raises(EmbeddingUnavailable) as caught:
        openai.embed_query("word " * 800)
    assert not isinstance(caught.value, ServiceAway)
    assert len(service.requests) == 3


def test_a_service_that_drips_its_answer_is_given_up_at_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """httpx waits for each part anew: a byte now and then would hold a thread for as long as it pleases."""
    monkeypatch.setattr(embedder_module, "QUERY_SECONDS", 0.3)
    monkeypatch.setattr(embedder_module, "QUERY", RetryBudget(attempts=1, seconds=10))

    class Drip(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            with contextlib.suppress(OSError):  # the client goes
                for _ in range(1000):  # 20 s
                    time.sleep(0.02)
                    self.wfile.write(b" ")

        def log_message(self, format: str, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Drip) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        with (
            closing(OllamaEmbedder("m", f"http://127.0.0.1:{server.server_port}")) as embedder,
            pytest.raises(ServiceAway, match="did not arrive as a whole in time"),
        ):
            embedder.embed_query("q")
        thread.join()


def delays(service: Service, attempts: int, jitter: float = 1.0) -> list[float]:
    """Return how long a client would sleep against the script."""
    slept: list[float] = []
    client = JsonService("S", service.url, "wait", sleep=slept.append, jitter=lambda: jitter)
    with closing(client), pytest.raises(EmbeddingUnavailable):
        client.post("x", {"input": []}, RetryBudget(attempts, seconds=5))
    return slept


def test_delays_double_up_to_a_bound(service: Service) -> None:
    service.script = [(500, {}, b"")] * 9
    assert delays(service, 9) == [0.5, 1, 2, 4, 8, 16, MAX_DELAY_SECONDS, MAX_DELAY_SECONDS]


def test_jitter_spreads_the_delays(service: Service) -> None:
    service.script = [(500, {}, b"")] * 3
    assert delays(service, 3, jitter=0.1) == pytest.approx([0.05, 0.1])


def test_retry_after_is_respected_in_both_forms_and_bounded(service: Service) -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=20), usegmt=True)
    values = ["7", date, "86400", "soon"]
    service.script = [(429, {"Retry-After": value}, b"") for value in values] + [(429, {}, b"")]
    seconds, until, bounded, unreadable = delays(service, 5, jitter=0.0)
    assert seconds == 7
    assert 15 < until <= 20
    assert bounded == MAX_DELAY_SECONDS
    assert unreadable == 0


def test_a_proxy_that_knows_no_way_is_waited_for(openai: OpenAIEmbedder, service: Service) -> None:
    service.script = [(404, {}, b"404 page not found")]
    with pytest.raises(EmbeddingUnavailable, match="does not know the address"):
        openai.embed_query("q")


def test_a_key_that_a_service_repeats_is_never_shown(
    openai: OpenAIEmbedder, service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    service.script = [(401, {}, f"Incorrect API key provided: {KEY}".encode())]
    with pytest.raises(EmbeddingError) as caught:
        openai.embed_query("q")
    assert KEY not in str(caught.value) + caplog.text
    assert "(key)" in str(caught.value)
