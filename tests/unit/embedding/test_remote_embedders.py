"""The embedders behind HTTP, against a scripted server on loopback that records what it was sent."""

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import numpy as np
import pytest

from codebase_index.embedding import (
    Embedder,
    EmbeddingError,
    EmbeddingRefused,
    EmbeddingUnavailable,
    ServiceAway,
    ServiceBusy,
    ServiceMisconfigured,
    Vectors,
    by_name,
    create,
)
from codebase_index.embedding.models import BATCH_TEXTS, traits_of
from codebase_index.embedding.remote import embedder as embedder_module
from codebase_index.embedding.remote import http
from codebase_index.embedding.remote.http import MAX_DELAY_SECONDS, JsonService, RetryBudget
from codebase_index.embedding.remote.ollama import OllamaEmbedder
from codebase_index.embedding.remote.openai import OpenAIEmbedder

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


def unit(*values: float) -> Vectors:
    vector: Vectors = np.array(values, dtype=np.float32)
    vector /= np.linalg.norm(vector)
    return vector


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


def test_traits_are_those_of_the_model_card() -> None:
    assert traits_of("intfloat/e5-small-v2").query_prefix == "query: "
    assert traits_of("nomic-embed-text:v1.5").document_prefix == "search_document: "
    assert traits_of("somebody/new").document_prefix == ""


@pytest.mark.parametrize("value", ["0", "many", "1000"])
def test_a_concurrency_that_can_not_be_meant_is_refused(value: str) -> None:
    with pytest.raises(EmbeddingRefused, match="EMBEDDING_CONCURRENCY"):
        create("ollama", None, {"EMBEDDING_CONCURRENCY": value})
