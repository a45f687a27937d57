"""The server's embedders: one owner, threads, services that fail, hang, or give what is no vector."""

import asyncio
import contextlib
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from codebase_index.embedding import Embedded as Documents
from codebase_index.embedding import EmbeddingRefused, EmbeddingUnavailable, Traits, Vectors, factory
from codebase_index.embedding.static import StaticEmbedder
from codebase_index.embedding.vectors import to_unit_length
from codebase_mcp import query_embedding
from codebase_mcp.query_embedding import RETRY_SECONDS, QueryEmbedding, QueryVector

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
        embedding = QueryEmbedding(factory.by_name)
        answers = await asyncio.gather(*(embedding.embed([STATIC], query, waiting) for query in asked))
        answers += [await embedding.embed([STATIC], query, waiting) for query in asked]
        embedding.close()
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

    def embed(self, texts: Sequence[str]) -> Documents:
        return Documents(self.embed_documents(texts), 0)


def vector(*numbers: float) -> Vectors:
    return np.array(numbers, np.float32)


async def test_a_model_whose_service_fails_is_missing_and_the_others_answer() -> None:
    def fail() -> Vectors:
        raise EmbeddingUnavailable("the service is away")

    broken, whole = Remote("remote/broken", fail), Remote("remote/whole", lambda: vector(1, 0, 0))
    clock = [0.0]
    embedding = QueryEmbedding({r.name: r for r in (broken, whole)}.__getitem__, lambda: clock[0])
    answer = await embedding.embed(["remote/broken", "remote/whole", STATIC][:2], "query", waiting)
    assert set(answer.vectors) == {"remote/whole"}
    assert str(answer.missing["remote/broken"]) == "the service is away"

    # It is left alone for a while, then tried again, and is back.
    broken.answer = lambda: vector(0, 1, 0)
    clock[0] = RETRY_SECONDS - 0.1
    assert set((await embedding.embed(["remote/broken"], "query", waiting)).missing) == {"remote/broken"}
    assert broken.calls == 1
    clock[0] = RETRY_SECONDS + 0.1
    assert set((await embedding.embed(["remote/broken"], "query", waiting)).vectors) == {"remote/broken"}
    embedding.close()


async def test_a_model_that_cannot_be_opened_is_missing() -> None:
    embedding = QueryEmbedding(factory.by_name)
    answer = await embedding.embed(["static/exchanged", STATIC], "query", waiting)
    assert set(answer.vectors) == {STATIC}
    assert isinstance(answer.missing["static/exchanged"], EmbeddingRefused)
    assert "not shipped with this version" in str(answer.missing["static/exchanged"])
    embedding.close()


async def test_a_service_that_hangs_holds_up_no_other_model_and_no_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(query_embedding, "PATIENCE_SECONDS", 0.2)
    loop, called, released = asyncio.get_running_loop(), asyncio.Event(), threading.Event()

    def hang() -> Vectors:
        loop.call_soon_threadsafe(called.set)
        released.wait(30)
        return vector(1, 0, 0)

    lent: list[str] = []

    @contextlib.asynccontextmanager
    async def lending() -> AsyncIterator[None]:
        lent.append("begin")
        yield
        lent.append("end")

    remote = Remote("remote/hangs", hang)
    embedding = QueryEmbedding(lambda name: remote if name == remote.name else factory.by_name(name))
    slow = asyncio.create_task(embedding.embed([remote.name], "query", lending))
    await called.wait()
    assert lent == ["begin"]
    assert (await embedding.embed([STATIC], "query", waiting)).vectors
    assert "did not answer within 0.2 s" in str((await slow).missing[remote.name])
    assert lent == ["begin", "end"]
    # What answers at once lends no turn.
    lent.clear()
    assert (await embedding.embed([STATIC, remote.name], "query", lending)).vectors.keys() == {STATIC}
    assert lent == []
    released.set()
    embedding.close()


@pytest.mark.parametrize(
    "numbers",
    [(0.0, 0.0, 0.0), (float("nan"), 0.0, 0.0), (float("inf"), 0.0, 0.0), (3.0, 4.0, 0.0), ()],
    ids=["zero", "not a number", "infinite", "not of unit length", "empty"],
)
async def test_what_is_no_unit_vector_is_no_vector(numbers: tuple[float, ...]) -> None:
    remote = Remote("remote/odd", lambda: vector(*numbers))
    embedding = QueryEmbedding(lambda _: remote)
    answer = await embedding.embed([remote.name], "query", waiting)
    assert not answer.vectors
    assert "no unit vector" in str(answer.missing[remote.name])
    embedding.close()


async def test_similarities_of_two_models_are_told_against_what_is_unrelated() -> None:
    """All similarities of the second model are high: 0.7 means nothing there, and much with the first."""
    static = StaticEmbedder.load()

    class Narrow(Remote):
        def embed_query(self, text: str) -> Vectors:
            return self.embed_documents([text])[0]

        def embed_documents(self, texts: Sequence[str]) -> Vectors:
            rows = static.embed_documents(texts)
            return to_unit_length(np.hstack([rows, np.full((len(texts), 1), 1.7, np.float32)]))

    narrow = Narrow("remote/narrow", lambda: vector())
    embedding = QueryEmbedding(lambda name: narrow if name == narrow.name else static)
    question = "read the configuration file"
    answer = await embedding.embed([STATIC, narrow.name], question, waiting)
    texts = ["def load_config(path): return parse(path.read_text())", "color: red; margin: 0"]

    def scores(query: QueryVector, rows: Vectors) -> list[float]:
        return [query.comparable(float(row @ query.vector)) for row in rows]

    of_static = scores(answer.vectors[STATIC], static.embed_documents(texts))
    of_narrow = scores(answer.vectors[narrow.name], narrow.embed_documents(texts))
    assert of_static == pytest.approx(of_narrow, abs=0.02)
    assert of_static[0] > of_static[1] + 1
    embedding.close()


@pytest.mark.parametrize("size", [1e-30, 1e-15, 1.0, 1e19, 3e38])
def test_vectors_of_any_finite_size_become_unit_vectors(size: float) -> None:
    rows = np.array([[3, 4, 0], [0, 0, -1], [0, 0, 0]], np.float32) * np.float32(size / 4)
    np.testing.assert_allclose(to_unit_length(rows), [[0.6, 0.8, 0], [0, 0, -1], [0, 0, 1]], atol=1e-6)
