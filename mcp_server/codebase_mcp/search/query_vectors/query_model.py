"""One model that queries are embedded by: its threads, who may have one, and when its service is left alone."""

import asyncio
import logging
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np

from codebase_index.embedding import (
    CacheableEmbedder,
    Embedder,
    EmbeddingError,
    EmbeddingUnavailable,
    ServiceAway,
    ServiceBusy,
    ServiceMisconfigured,
    Vectors,
    is_cacheable,
)
from codebase_index.vectors.centroid import SNIPPETS
from codebase_mcp.limits.fair_semaphore import FairSemaphore, Overloaded, Permit
from codebase_mcp.search.query_vectors.once import Once

log = logging.getLogger(__name__)

T = TypeVar("T")

PATIENCE_SECONDS: Final = 3.0
"""What a search waits for a model that it has asked. What is left of its own patience is enough for the rest."""

WAIT_SECONDS: Final = PATIENCE_SECONDS
"""What it waits before that for its turn to ask. A turn lasts no longer, so that each caller gets one."""

RETRY_SECONDS: Final = 10.0
"""After it did not answer a service is left alone for so long: not every search has to wait for it."""

SNIPPETS_SECONDS: Final = 30.0
"""For the vectors of all SNIPPETS, once. The query that needs them first waits less; later ones have them."""

_THREADS: Final = 4
"""Queries that one slow model embeds at once."""

_BUSY_SECONDS: Final = 1.0
"""For how long a service that has too many requests is left alone if it does not say."""

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
class Missing:
    """Why a model has no vector for a query, and what to do."""

    reason: str


class QueryModel:
    """One model. Owned by the event loop; its threads get an embedder to open or to call, and nothing else.

    What a service answers to one query concerns that query alone. Only a service that does not answer at all, or
    wants to be left alone, is not asked for others either.
    """

    def __init__(self, name: str, embedder_of: Callable[[str], Embedder], clock: Callable[[], float]) -> None:
        self._name = name
        self._embedder_of = embedder_of
        self._clock = clock
        # One thread beside those of queries: it opens the model, and embeds the snippets.
        self._threads = ThreadPoolExecutor(_THREADS + 1, thread_name_prefix=f"embed {name}")
        self._semaphore = FairSemaphore(_THREADS, max_wait_seconds=WAIT_SECONDS)
        self._embedder = Once(self._open)
        self._unrelated = Once(self._embed_unrelated)
        self._left_alone_for = ""
        self._left_alone_until = -math.inf

    @property
    def answers_at_once(self) -> bool:
        """Whether nobody has to be waited for."""
        return self._is_left_alone or (self._embedder.is_made and not is_cacheable(self._embedder.value))

    async def ask(self, query: str, several: bool, caller: str) -> QueryVector | Missing:
        """Return the query's vector, with what it takes to compare it where it is one of several; or why not."""
        if self._is_left_alone:
            return _missing(self._left_alone_for, self._left_alone_until - self._clock())
        try:
            await self._embedder.make()  # takes what this machine takes: no service is asked
        except EmbeddingError as error:
            self._leave_alone(str(error), RETRY_SECONDS)
            return self._failed(error)
        try:
            answer = await self._embed(query, several, caller)
        except Overloaded as busy:
            what = f"more queries wait for the model {self._name} than it embeds in time"
            return _missing(f"busy: {what}, {busy.waiting} of them yours", busy.retry_seconds)
        except EmbeddingError as error:
            return self._failed(error)
        self._left_alone_until = -math.inf
        return answer

    def close(self) -> None:
        """Stop the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    @property
    def _is_left_alone(self) -> bool:
        return self._clock() < self._left_alone_until

    def _leave_alone(self, reason: str, seconds: float) -> None:
        self._left_alone_for, self._left_alone_until = reason, self._clock() + seconds

    def _failed(self, error: EmbeddingError) -> Missing:
        """Leave the service alone where that concerns it, and say what to do."""
        reason = str(error)
        log.warning("no vector of a query", extra={"model": self._name, "reason": reason})
        match error:
            case ServiceAway():
                self._leave_alone(reason, RETRY_SECONDS)
                return _missing(reason, RETRY_SECONDS)
            case ServiceBusy(retry_seconds=asked):
                self._leave_alone(reason, asked or _BUSY_SECONDS)
                return _missing(reason, asked or _BUSY_SECONDS)
            case ServiceMisconfigured():
                return _missing(f"{reason}; trying again will not help before somebody has done that")
            case EmbeddingUnavailable():
                return _missing(reason, RETRY_SECONDS)
        return _missing(f"{reason}; another query may pass")

    async def _embed(self, query: str, several: bool, caller: str) -> QueryVector:
        embedder = self._embedder.value
        if not is_cacheable(embedder):
            vector = embedder.embed_query(query)
            unrelated = await self._unrelated.make() if several else None
        else:
            vector, unrelated = await self._embed_slowly(embedder, query, several, caller)
        _check(self._name, vector)
        if unrelated is None:
            return QueryVector(vector)
        similarities = unrelated @ vector
        return QueryVector(vector, float(similarities.mean()), float(similarities.std()) or 1.0)

    async def _embed_slowly(
        self, embedder: CacheableEmbedder, query: str, several: bool, caller: str
    ) -> tuple[Vectors, Vectors | None]:
        """Wait for a turn, then at most PATIENCE_SECONDS. A turn is a thread, and ends when that is free."""
        permit = Permit(self._semaphore, caller)
        await permit.acquire()
        call = self._in_thread(lambda: embedder.embed_query(query))
        call.add_done_callback(lambda _: permit.release())
        vector: Vectors | None = None
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                vector = await asyncio.shield(call)
                return vector, await self._unrelated.make() if several else None
        except TimeoutError:
            if vector is None:
                raise ServiceAway(
                    f"the model {self._name} did not answer within {PATIENCE_SECONDS:g} s; check its service"
                ) from None
            raise EmbeddingUnavailable(
                f"the model {self._name} is being made comparable with the others, for which it embeds "
                f"{len(SNIPPETS)} texts"
            ) from None

    async def _open(self) -> Embedder:
        return await self._in_thread(lambda: self._embedder_of(self._name))

    async def _embed_unrelated(self) -> Vectors:
        embedder = self._embedder.value
        if not is_cacheable(embedder):
            return embedder.embed_documents(SNIPPETS)
        return (await self._in_thread(lambda: embedder.embed(SNIPPETS, SNIPPETS_SECONDS))).vectors

    def _in_thread(self, call: Callable[[], T]) -> asyncio.Future[T]:
        return asyncio.get_running_loop().run_in_executor(self._threads, call)


def _missing(reason: str, retry_seconds: float | None = None) -> Missing:
    again = "" if retry_seconds is None else f"; try again in {max(1, math.ceil(retry_seconds))} s"
    return Missing(reason + again)


def _check(model: str, vector: Vectors) -> None:
    """Raise EmbeddingUnavailable for what is no unit vector: it would rank everything alike, or not at all."""
    if vector.ndim != 1 or not len(vector) or not abs(float(np.linalg.norm(vector)) - 1) < _UNIT_TOLERANCE:
        raise EmbeddingUnavailable(
            f"the model {model} gave something for the query that is no unit vector; check its service, or choose "
            "another model"
        )
