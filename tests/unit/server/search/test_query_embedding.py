"""The server's embedders: one owner, threads, services that fail, hang, or give what is no vector."""

import asyncio
import contextlib
import re
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from codebase_index.embedding import (
    EmbeddingError,
    EmbeddingRefused,
    EmbeddingUnavailable,
    ServiceAway,
    ServiceBusy,
    ServiceMisconfigured,
    Traits,
    Vectors,
    factory,
)
from codebase_index.embedding import EmbeddingResult as Documents
from codebase_index.embedding.normalization import to_unit_length
from codebase_index.embedding.static import StaticEmbedder
from codebase_mcp.search.query_vectors import query_embedding, query_model
from codebase_mcp.search.query_vectors.query_embedding import QueryEmbedder
from codebase_mcp.search.query_vectors.query_model import OPEN_CIRCUIT_SECONDS, QueryVector

STATIC = factory.name_of("static")


def queries(count: int, words: int = 40) -> list[str]:
    """Queries of words that occur in no other."""
    return [" ".join(f"alpha{i}x{j}Handler" for j in range(words)) for i in range(count)]


@contextlib.asynccontextmanager
async def waiting() -> AsyncIterator[None]:
    yield


@pytest.fixture
def threads_take_turns_at_once() -> Iterator[None]:
    """Let Python change from thread to thread as often as it can."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("threads_take_turns_at_once")
def test_threads_that_share_an_embedder_get_the_vectors_that_one_thread_gets() -> None:
    shared, alone = StaticEmbedder.load(), StaticEmbedder.load()
    asked = queries(64)
    together = threading.Barrier(8)

    def embed(some: Sequence[str]) -> list[Vectors]:
        together.wait()
        return [shared.embed_query(query) for query in some]

    with ThreadPoolExecutor(8) as pool:
        parts = list(pool.map(embed, [asked[i::8] for i in range(8)]))
    for first, vectors in enumerate(parts):
        for query, vector in zip(asked[first::8], vectors, strict=True):
            assert vector @ alone.embed_query(query) > 0.9999
    for query in asked:  # nor is anything left behind
        assert shared.embed_query(query) @ alone.embed_query(query) > 0.9999


@pytest.mark.usefixtures("threads_take_turns_at_once")
async def test_the_first_queries_of_a_server_get_the_vectors_that_one_thread_gets() -> None:
    """They come while the model is being opened, and others as soon as it is there."""
    alone = StaticEmbedder.load()
    asked = queries(40)
    for _ in range(5):  # starts of a server
        embedder = QueryEmbedder(factory.by_name)
        answers = await asyncio.gather(*(embedder.embed([STATIC], query, waiting) for query in asked))
        answers += [await embedder.embed([STATIC], query, waiting) for query in asked]
        embedder.close()
        for query, answer in zip(asked * 2, answers, strict=True):
            assert answer.vectors[STATIC].vector @ alone.embed_query(query) > 0.9999


class Remote:
    """An embedder as services have them: slow, called in threads. `answer` is the vector, or raises."""

    concurrency = 2
    traits = Traits(batch_texts=8)
    dimension = 3

    def __init__(self, name: str, answer: Callable[[], Vectors]) -> None:
        self.name = name
        self.answer = answer
        self.calls = 0

    def check(self) -> None:
        pass

    def embed_query(self, text: str) -> Vectors:
        self.calls += 1
        return self.answer()

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        rows = np.random.default_rng(1).normal(size=(len(texts), 3)).astype(np.float32)
        return to_unit_length(rows)

    def embed(self, texts: Sequence[str], seconds: float = 0) -> Documents:
        return Documents(self.embed_documents(texts), 0)


def vector(*numbers: float) -> Vectors:
    return np.array(numbers, np.float32)


async def test_a_model_whose_service_fails_is_missing_and_the_others_answer() -> None:
    def fail() -> Vectors:
        raise ServiceAway("the service is away")

    broken, whole = Remote("remote/broken", fail), Remote("remote/whole", lambda: vector(1, 0, 0))
    clock = [0.0]
    embedder = QueryEmbedder({r.name: r for r in (broken, whole)}.__getitem__, lambda: clock[0])
    answer = await embedder.embed(["remote/broken", "remote/whole", STATIC][:2], "query", waiting)
    assert set(answer.vectors) == {"remote/whole"}
    assert answer.missing["remote/broken"].reason == "the service is away; try again in 10 s"

    # It is left alone for a while, then tried again, and is back.
    broken.answer = lambda: vector(0, 1, 0)
    clock[0] = OPEN_CIRCUIT_SECONDS - 0.1
    assert set((await embedder.embed(["remote/broken"], "query", waiting)).missing) == {"remote/broken"}
    assert broken.calls == 1
    clock[0] = OPEN_CIRCUIT_SECONDS + 0.1
    assert set((await embedder.embed(["remote/broken"], "query", waiting)).vectors) == {"remote/broken"}
    embedder.close()


async def test_a_model_that_cannot_be_opened_is_missing() -> None:
    embedder = QueryEmbedder(factory.by_name)
    answer = await embedder.embed(["static/exchanged", STATIC], "query", waiting)
    assert set(answer.vectors) == {STATIC}
    assert "not shipped with this version" in answer.missing["static/exchanged"].reason
    embedder.close()


async def test_a_service_that_hangs_holds_up_no_other_model_and_no_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(query_model, "EMBED_TIMEOUT_SECONDS", 0.2)
    loop, called, released = asyncio.get_running_loop(), asyncio.Event(), threading.Event()

    def hang() -> Vectors:
        loop.call_soon_threadsafe(called.set)
        released.wait(30)
        return vector(1, 0, 0)

    lifecycle: list[str] = []

    @contextlib.asynccontextmanager
    async def lending() -> AsyncIterator[None]:
        lifecycle.append("begin")
        yield
        lifecycle.append("end")

    remote = Remote("remote/hangs", hang)
    embedder = QueryEmbedder(lambda name: remote if name == remote.name else factory.by_name(name))
    slow = asyncio.create_task(embedder.embed([remote.name], "query", lending))
    await called.wait()
    assert lifecycle == ["begin"]
    assert (await embedder.embed([STATIC], "query", waiting)).vectors
    assert "did not answer within 0.2 s" in (await slow).missing[remote.name].reason
    assert lifecycle == ["begin", "end"]
    # What answers at once lends no permit.
    lifecycle.clear()
    assert (await embedder.embed([STATIC, remote.name], "query", lending)).vectors.keys() == {STATIC}
    assert lifecycle == []
    released.set()
    embedder.close()


class Doors(Remote):
    """A service that keeps each query until a door is opened for it; what it began with is in `begun`."""

    def __init__(self, name: str) -> None:
        super().__init__(name, lambda: vector(1, 0, 0))
        self.begun: list[str] = []
        self.ended = 0
        self._loop, self._changed = asyncio.get_running_loop(), asyncio.Condition()
        self._door = threading.Semaphore(0)

    def embed_query(self, text: str) -> Vectors:
        self._tell(lambda: self.begun.append(text))
        assert self._door.acquire(timeout=30)
        try:
            return self.answer()
        finally:
            self._tell(self._end)

    def open(self, queries: int) -> None:
        self._door.release(queries)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with self._changed:
            await asyncio.wait_for(self._changed.wait_for(condition), 30)

    def _end(self) -> None:
        self.ended += 1

    def _tell(self, change: Callable[[], None]) -> None:
        async def tell() -> None:
            async with self._changed:
                change()
                self._changed.notify_all()

        asyncio.run_coroutine_threadsafe(tell(), self._loop).result(30)


async def test_a_slow_model_is_shared_fairly_among_callers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(query_model, "EMBED_TIMEOUT_SECONDS", 60.0)
    remote = Doors("remote/slow")
    embedder = QueryEmbedder(lambda _: remote)

    def ask(caller: str, count: int) -> list[asyncio.Task[query_embedding.QueryVectors]]:
        return [
            asyncio.create_task(embedder.embed([remote.name], f"{caller} {n}", waiting, caller))
            for n in range(count)
        ]

    many = ask("many", 40)
    await remote.until(lambda: len(remote.begun) == 4)
    one = ask("one", 1)
    for _ in range(10):
        await asyncio.sleep(0)  # it stands in the line
    remote.open(1)
    await remote.until(lambda: len(remote.begun) == 5)
    remote.open(1)
    await remote.until(lambda: len(remote.begun) == 6)
    assert "one 0" in remote.begun  # after those under way, and one of the other caller at most
    remote.open(60)
    answers = await asyncio.gather(*one, *many)
    assert all(answer.vectors for answer in answers)
    embedder.close()


async def test_who_waits_too_long_for_a_thread_is_told_when_to_come_back_and_not_that_the_service_is_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(query_model, "PERMIT_TIMEOUT_SECONDS", 0.1)
    monkeypatch.setattr(query_model, "EMBED_TIMEOUT_SECONDS", 60.0)
    remote = Doors("remote/slow")
    embedder = QueryEmbedder(lambda _: remote)
    many = {asyncio.create_task(embedder.embed([remote.name], f"{n}", waiting, "many")) for n in range(30)}
    await remote.until(lambda: len(remote.begun) == 4)
    while len([task for task in many if task.done()]) < 26:
        await asyncio.wait(many, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.sleep(0)
    for refused in [task.result() for task in many if task.done()]:
        reason = refused.missing[remote.name].reason
        assert reason.startswith("busy: more queries wait for the model remote/slow than it can embed in time, ")
        assert re.search(r"\d+ of them yours; try again in \d+ s$", reason)
    remote.open(4)
    answers = [task.result() for task in (await asyncio.wait(many))[0]]
    assert len([answer for answer in answers if answer.vectors]) == 4, "those that were asked are waited for"
    embedder.close()


async def test_a_thread_that_hangs_is_lent_to_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """A query that its caller gave up holds its thread: those behind it are told that it is busy, not away."""
    monkeypatch.setattr(query_model, "EMBED_TIMEOUT_SECONDS", 0.2)
    monkeypatch.setattr(query_model, "PERMIT_TIMEOUT_SECONDS", 0.2)
    clock = [0.0]
    remote = Doors("remote/hangs")
    embedder = QueryEmbedder(lambda _: remote, lambda: clock[0])
    hung = await asyncio.gather(*(embedder.embed([remote.name], "query", waiting, "a") for _ in range(4)))
    assert all("did not answer within 0.2 s" in answer.missing[remote.name].reason for answer in hung)
    clock[0] = OPEN_CIRCUIT_SECONDS + 1
    answer = await embedder.embed([remote.name], "query", waiting, "b")
    assert "busy: more queries wait" in answer.missing[remote.name].reason
    await remote.until(lambda: len(remote.begun) == 4)
    remote.open(9)
    await remote.until(lambda: remote.ended == 4)
    monkeypatch.setattr(query_model, "EMBED_TIMEOUT_SECONDS", 30.0)
    async with asyncio.timeout(30):  # a thread is free a moment after its call has ended
        while not (await embedder.embed([remote.name], "query", waiting, "b")).vectors:
            pass
    embedder.close()


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (EmbeddingRefused("HTTP 400"), "HTTP 400; another query may pass"),
        (EmbeddingUnavailable("odd"), "odd; try again in 10 s"),
        (ServiceMisconfigured("HTTP 401"), "HTTP 401; trying again will not help before somebody has done that"),
    ],
    ids=["refused", "an odd answer", "misconfigured"],
)
async def test_what_concerns_one_query_takes_the_model_from_nobody_else(error: EmbeddingError, said: str) -> None:
    def fail() -> Vectors:
        raise error

    remote = Remote("remote/whole", fail)
    embedder = QueryEmbedder(lambda _: remote, lambda: 0.0)
    answer = await embedder.embed([remote.name], "odd", waiting)
    assert answer.missing[remote.name].reason == said
    remote.answer = lambda: vector(1, 0, 0)
    assert (await embedder.embed([remote.name], "ordinary", waiting)).vectors
    embedder.close()


@pytest.mark.parametrize(("asked", "seconds"), [(7.0, 7), (0.0, 1)], ids=["as long as it asks for", "a second"])
async def test_a_service_that_has_too_many_requests_is_left_alone(asked: float, seconds: int) -> None:
    def fail() -> Vectors:
        raise ServiceBusy("too many", asked)

    clock = [0.0]
    remote = Remote("remote/busy", fail)
    embedder = QueryEmbedder(lambda _: remote, lambda: clock[0])
    for _ in range(2):
        answer = await embedder.embed([remote.name], "query", waiting)
        assert answer.missing[remote.name].reason == f"too many; try again in {seconds} s"
    assert remote.calls == 1
    remote.answer = lambda: vector(1, 0, 0)
    clock[0] = seconds + 0.1
    assert (await embedder.embed([remote.name], "query", waiting)).vectors
    embedder.close()


async def test_a_query_that_is_answered_takes_the_mark_from_its_service() -> None:
    """Of two under way at once one fails, and then the other is answered: the service is there."""
    remote = Doors("remote/back")
    embedder = QueryEmbedder(lambda _: remote, lambda: 0.0)
    under_way = {asyncio.create_task(embedder.embed([remote.name], f"{n}", waiting)) for n in range(2)}
    await remote.until(lambda: len(remote.begun) == 2)

    def fail() -> Vectors:
        raise ServiceAway("away")

    remote.answer = fail
    remote.open(1)
    (failed,), (other,) = await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
    assert failed.result().missing
    assert (await embedder.embed([remote.name], "meanwhile", waiting)).missing
    remote.answer = lambda: vector(1, 0, 0)
    remote.open(2)
    assert (await other).vectors
    assert (await embedder.embed([remote.name], "after it", waiting)).vectors
    embedder.close()


async def test_a_service_that_is_slow_at_the_snippets_is_not_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each query is answered at once; what makes it comparable takes longer than anybody waits, once."""
    monkeypatch.setattr(query_model, "EMBED_TIMEOUT_SECONDS", 0.5)
    ready = threading.Event()
    given: list[float] = []

    class Compared(Remote):
        def embed(self, texts: Sequence[str], seconds: float = 0) -> Documents:
            given.append(seconds)
            ready.wait(30)
            return super().embed(texts)

    remotes = {name: Compared(name, lambda: vector(1, 0, 0)) for name in ("remote/a", "remote/b")}
    embedder = QueryEmbedder(remotes.__getitem__)
    answer = await embedder.embed(list(remotes), "query", waiting)
    assert "is being made comparable with the others" in answer.missing["remote/a"].reason
    monkeypatch.setattr(query_model, "EMBED_TIMEOUT_SECONDS", 30.0)
    assert (await embedder.embed(["remote/a"], "query", waiting)).vectors, "alone it needs no comparison"
    ready.set()
    assert (await embedder.embed(list(remotes), "query", waiting)).vectors.keys() == set(remotes)
    assert given == [query_model.SNIPPETS_TIMEOUT_SECONDS] * 2
    embedder.close()


@pytest.mark.parametrize(
    "numbers",
    [(0.0, 0.0, 0.0), (float("nan"), 0.0, 0.0), (float("inf"), 0.0, 0.0), (3.0, 4.0, 0.0), ()],
    ids=["zero", "not a number", "infinite", "not of unit length", "empty"],
)
async def test_what_is_no_unit_vector_is_no_vector(numbers: tuple[float, ...]) -> None:
    remote = Remote("remote/odd", lambda: vector(*numbers))
    embedder = QueryEmbedder(lambda _: remote)
    answer = await embedder.embed([remote.name], "query", waiting)
    assert not answer.vectors
    assert "no unit vector" in answer.missing[remote.name].reason
    embedder.close()


async def test_similarities_of_two_models_are_told_against_what_is_unrelated() -> None:
    """All similarities of the second model are high: 0.7 means nothing there, and much with the first."""
    static = StaticEmbedder.load()

    class Narrow(Remote):
        def embed_query(self, text: str) -> Vectors:
            vector: Vectors = self.embed_documents([text])[0]
            return vector

        def embed_documents(self, texts: Sequence[str]) -> Vectors:
            rows = static.embed_documents(texts)
            return to_unit_length(np.hstack([rows, np.full((len(texts), 1), 1.7, np.float32)]))

    narrow = Narrow("remote/narrow", lambda: vector())
    embedder = QueryEmbedder(lambda name: narrow if name == narrow.name else static)
    question = "read the configuration file"
    answer = await embedder.embed([STATIC, narrow.name], question, waiting)
    texts = ["def load_config(path): return parse(path.read_text())", "color: red; margin: 0"]

    def scores(query: QueryVector, rows: Vectors) -> list[float]:
        return [query.standardize(float(row @ query.vector)) for row in rows]

    of_static = scores(answer.vectors[STATIC], static.embed_documents(texts))
    of_narrow = scores(answer.vectors[narrow.name], narrow.embed_documents(texts))
    assert of_static == pytest.approx(of_narrow, abs=0.02)
    assert of_static[0] > of_static[1] + 1
    embedder.close()


@pytest.mark.parametrize("size", [1e-30, 1e-15, 1.0, 1e19, 3e38])
def test_vectors_of_any_finite_size_become_unit_vectors(size: float) -> None:
    rows = np.array([[3, 4, 0], [0, 0, -1], [0, 0, 0]], np.float32) * np.float32(size / 4)
    expected = np.array([[0.6, 0.8, 0], [0, 0, -1], [0, 0, 1]], np.float32)
    np.testing.assert_allclose(to_unit_length(rows), expected, atol=1e-6)
