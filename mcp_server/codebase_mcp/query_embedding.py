"""The vectors of queries, by every model that what is searched has vectors of."""

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

import numpy as np

from codebase_index.embedding import Embedder, EmbeddingError, EmbeddingUnavailable, Vectors, is_slow
from codebase_index.embedding.centre import SNIPPETS

log = logging.getLogger(__name__)

T = TypeVar("T")

PATIENCE_SECONDS: Final = 3.0
"""What a search waits for a model; what is left of its own patience is enough for the rest."""

RETRY_SECONDS: Final = 10.0
"""After a failure a model counts as away for so long: not every search has to wait for it."""

_THREADS: Final = 4
"""Queries that one model embeds at once, where it is slow."""

_UNIT_TOLERANCE: Final = 0.01


@dataclass(frozen=True)
class QueryVector:
    """A query's unit vector by one model, and how texts that have nothing to do with it compare.

    `mean` and `deviation` are of the query's similarity to SNIPPETS: models differ in what a similarity of 0.7
    means, and these say it.
    """

    vector: Vectors
    mean: float = 0.0
    deviation: float = 1.0

    def comparable(self, similarity: float) -> float:
        """Return a similarity on the scale of all models: how far above what is unrelated it lies."""
        return (similarity - self.mean) / self.deviation


@dataclass(frozen=True)
class Embedded:
    """A query's vectors by model, and why a model has none."""

    vectors: Mapping[str, QueryVector]
    missing: Mapping[str, EmbeddingError]


class QueryEmbedding:
    """Owns the server's embedders: nobody else has them, and each is called in one way only.

    The event loop opens an embedder in a thread, which knows nothing else of it, and from then on calls it by
    itself; a slow one, which promises to be safe for several threads at once, it calls in threads of that model's
    own, so that a service that hangs holds up no other model.
    """

    def __init__(
        self, embedder_of: Callable[[str], Embedder], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Take what opens the embedder of a model's name."""
        self._embedder_of = embedder_of
        self._clock = clock
        self._models: dict[str, _Model] = {}

    async def embed(
        self, models: Collection[str], query: str, waiting: Callable[[], AbstractAsyncContextManager[None]]
    ) -> Embedded:
        """Embed a query by each model. `waiting` is entered while only slow models are worked on."""
        several = len(models) > 1
        known = [self._model(name) for name in models]
        if all(model.answers_at_once for model in known):
            answers = [await model.ask(query, several) for model in known]
        else:
            async with waiting():
                answers = await asyncio.gather(*(model.ask(query, several) for model in known))
        of_model = dict(zip(models, answers, strict=True))
        return Embedded(
            {name: answer for name, answer in of_model.items() if isinstance(answer, QueryVector)},
            {name: answer for name, answer in of_model.items() if isinstance(answer, EmbeddingError)},
        )

    def close(self) -> None:
        """Stop the threads. Those that wait for a service end when that answers, or their patience does."""
        for model in self._models.values():
            model.close()

    def _model(self, name: str) -> "_Model":
        if name not in self._models:
            self._models[name] = _Model(name, self._embedder_of, self._clock)
        return self._models[name]


class _Model:
    """One model. Owned by the event loop; its threads get an embedder to open or to call, and nothing else."""

    def __init__(self, name: str, embedder_of: Callable[[str], Embedder], clock: Callable[[], float]) -> None:
        self._name = name
        self._embedder_of = embedder_of
        self._clock = clock
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix=f"embed {name}")
        self._embedder = _Once(self._open)
        self._unrelated = _Once(self._embed_unrelated)
        self._failure: EmbeddingError | None = None
        self._away_until = 0.0

    @property
    def answers_at_once(self) -> bool:
        """Whether nobody has to be waited for."""
        return self._is_away or (self._embedder.is_made and not is_slow(self._embedder.value))

    async def ask(self, query: str, several: bool) -> QueryVector | EmbeddingError:
        """Return the query's vector, with what it takes to compare it where it is one of several; or why not."""
        if self._is_away and self._failure is not None:
            return self._failure
        try:
            await self._embedder.make()  # takes what this machine takes: no service is asked
            async with asyncio.timeout(PATIENCE_SECONDS):
                return await self._embed(query, several)
        except EmbeddingError as error:
            failure = error
        except TimeoutError:
            failure = EmbeddingUnavailable(
                f"the model {self._name} did not answer within {PATIENCE_SECONDS:g} s; check its service"
            )
        log.warning("no vector of a query", extra={"model": self._name, "reason": str(failure)})
        self._failure, self._away_until = failure, self._clock() + RETRY_SECONDS
        return failure

    def close(self) -> None:
        """Stop the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    @property
    def _is_away(self) -> bool:
        return self._clock() < self._away_until

    async def _embed(self, query: str, several: bool) -> QueryVector:
        embedder = self._embedder.value
        vector = await self._call(lambda: embedder.embed_query(query))
        _check(self._name, vector)
        if not several:
            return QueryVector(vector)
        similarities = await self._unrelated.make() @ vector
        return QueryVector(vector, float(similarities.mean()), float(similarities.std()) or 1.0)

    async def _open(self) -> Embedder:
        return await self._in_thread(lambda: self._embedder_of(self._name))

    async def _embed_unrelated(self) -> Vectors:
        embedder = self._embedder.value
        return await self._call(lambda: embedder.embed_documents(SNIPPETS))

    async def _call(self, call: Callable[[], T]) -> T:
        return await self._in_thread(call) if is_slow(self._embedder.value) else call()

    async def _in_thread(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)


class _Once(Generic[T]):
    """A value that one task makes when it is first asked for, to its end, whoever stops waiting for it meanwhile.

    After a failure it is tried again. Owned by the event loop.
    """

    def __init__(self, how: Callable[[], Coroutine[Any, Any, T]]) -> None:
        self._how = how
        self._task: asyncio.Task[T] | None = None

    @property
    def is_made(self) -> bool:
        """Whether there is a value."""
        task = self._task
        return task is not None and task.done() and not task.cancelled() and task.exception() is None

    @property
    def value(self) -> T:
        """The value, once it is made."""
        assert self._task is not None
        return self._task.result()

    async def make(self) -> T:
        """Return the value, made now if there is none."""
        if self.is_made:
            return self.value
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._how())
            self._task.add_done_callback(_seen)
        return await asyncio.shield(self._task)


def _seen(task: asyncio.Task[T]) -> None:
    """Take note of an error that nobody may be left to hear: the next one who asks tries again."""
    if not task.cancelled():
        task.exception()


def _check(model: str, vector: Vectors) -> None:
    """Raise EmbeddingUnavailable for what is no unit vector: it would rank everything alike, or not at all."""
    if vector.ndim != 1 or not len(vector) or not abs(float(np.linalg.norm(vector)) - 1) < _UNIT_TOLERANCE:
        raise EmbeddingUnavailable(
            f"the model {model} gave something for the query that is no unit vector; check its service, or choose "
            "another model"
        )
