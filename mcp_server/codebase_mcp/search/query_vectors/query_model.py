"""One embedding model of queries: its threads, its permits, and its circuit breaker."""

import asyncio
import logging
import math
import time
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
from codebase_mcp import metrics
from codebase_mcp.limits.fair_semaphore import FairSemaphore, Overloaded, Permit
from codebase_mcp.search.query_vectors.lazy import Lazy

log = logging.getLogger(__name__)

T = TypeVar("T")

EMBED_TIMEOUT_SECONDS: Final = 3.0
"""Timeout of a model's answer. The rest of the search's own timeout is enough for everything else."""

PERMIT_TIMEOUT_SECONDS: Final = EMBED_TIMEOUT_SECONDS
"""Timeout for a permit before that. A permit is held no longer, so that each caller gets one."""

OPEN_CIRCUIT_SECONDS: Final = 10.0
"""How long the circuit stays open after a service did not answer: searches do without it meanwhile."""

SNIPPETS_TIMEOUT_SECONDS: Final = 30.0
"""Timeout for the vectors of all SNIPPETS, once. The first query does not wait for them so long; later ones have
them."""

_MAX_CONCURRENT_QUERIES: Final = 4
"""Queries that a slow model embeds at once."""

_DEFAULT_BUSY_SECONDS: Final = 1.0
"""How long the circuit stays open for a busy service that does not say when to retry."""

_UNIT_TOLERANCE: Final = 0.01


@dataclass(frozen=True)
class QueryVector:
    """A query's unit vector by one model, with the distribution of its similarity to unrelated texts.

    `mean` and `deviation` are those of the query's similarity to SNIPPETS: a similarity of 0.7 means much with one
    model and nothing with another.
    """

    vector: Vectors
    mean: float = 0.0
    deviation: float = 1.0

    def standardize(self, similarity: float) -> float:
        """Return the standard score of a similarity, which is comparable across models."""
        return (similarity - self.mean) / self.deviation


@dataclass(frozen=True)
class MissingVector:
    """Why a model has no vector for a query, and what to do."""

    reason: str


class QueryModel:
    """One model. Owned by the event loop; its threads get an embedder to open or to call, and nothing else.

    An error for one query concerns that query alone. The circuit opens only for a service that does not answer, or
    asks to be called later.
    """

    def __init__(self, name: str, open_embedder: Callable[[str], Embedder], clock: Callable[[], float]) -> None:
        self._name = name
        self._open_embedder = open_embedder
        self._clock = clock
        # One more thread opens the model and embeds the snippets.
        self._threads = ThreadPoolExecutor(_MAX_CONCURRENT_QUERIES + 1, thread_name_prefix=f"embed {name}")
        self._semaphore = FairSemaphore(_MAX_CONCURRENT_QUERIES, max_wait_seconds=PERMIT_TIMEOUT_SECONDS)
        self._embedder = Lazy(self._open)
        self._snippets = Lazy(self._embed_snippets)
        self._circuit_reason = ""
        self._circuit_open_until = -math.inf

    @property
    def is_immediate(self) -> bool:
        """Whether `embed` returns without waiting for a thread."""
        return self._is_circuit_open or (self._embedder.is_ready and not is_cacheable(self._embedder.value))

    async def embed(self, query: str, several: bool, caller: str) -> QueryVector | MissingVector:
        """Return the query's vector, or why there is none; one of `several` comes with its distribution."""
        began = time.perf_counter()
        answer = await self._try(query, several, caller)
        outcome = "ok" if isinstance(answer, QueryVector) else "missing"
        metrics.EMBEDDING_SECONDS.labels(outcome).observe(time.perf_counter() - began)
        return answer

    async def _try(self, query: str, several: bool, caller: str) -> QueryVector | MissingVector:
        if self._is_circuit_open:
            return _missing_vector(self._circuit_reason, self._circuit_open_until - self._clock())
        try:
            await self._embedder.get()  # limited by this machine alone: no service is called
        except EmbeddingError as error:
            self._open_circuit(str(error), OPEN_CIRCUIT_SECONDS)
            return self._handle_failure(error)
        try:
            answer = await self._embed(query, several, caller)
        except Overloaded as error:
            what = f"more queries wait for the model {self._name} than it can embed in time"
            return _missing_vector(f"busy: {what}, {error.waiting} of them yours", error.retry_seconds)
        except EmbeddingError as error:
            return self._handle_failure(error)
        self._circuit_open_until = -math.inf
        return answer

    def close(self) -> None:
        """Stop the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    @property
    def _is_circuit_open(self) -> bool:
        return self._clock() < self._circuit_open_until

    def _open_circuit(self, reason: str, seconds: float) -> None:
        self._circuit_reason, self._circuit_open_until = reason, self._clock() + seconds

    def _handle_failure(self, error: EmbeddingError) -> MissingVector:
        """Open the circuit if the service is at fault; return what to do."""
        reason = str(error)
        log.warning("a query was not embedded", extra={"model": self._name, "reason": reason})
        match error:
            case ServiceAway():
                self._open_circuit(reason, OPEN_CIRCUIT_SECONDS)
                return _missing_vector(reason, OPEN_CIRCUIT_SECONDS)
            case ServiceBusy(retry_seconds=retry_seconds):
                self._open_circuit(reason, retry_seconds or _DEFAULT_BUSY_SECONDS)
                return _missing_vector(reason, retry_seconds or _DEFAULT_BUSY_SECONDS)
            case ServiceMisconfigured():
                return _missing_vector(f"{reason}; trying again will not help before somebody has done that")
            case EmbeddingUnavailable():
                return _missing_vector(reason, OPEN_CIRCUIT_SECONDS)
        return _missing_vector(f"{reason}; another query may pass")

    async def _embed(self, query: str, several: bool, caller: str) -> QueryVector:
        embedder = self._embedder.value
        if not is_cacheable(embedder):
            vector = embedder.embed_query(query)
            snippets = await self._snippets.get() if several else None
        else:
            vector, snippets = await self._embed_remotely(embedder, query, several, caller)
        _check(self._name, vector)
        if snippets is None:
            return QueryVector(vector)
        similarities = snippets @ vector
        return QueryVector(vector, float(similarities.mean()), float(similarities.std()) or 1.0)

    async def _embed_remotely(
        self, embedder: CacheableEmbedder, query: str, several: bool, caller: str
    ) -> tuple[Vectors, Vectors | None]:
        """Wait for a permit, then at most EMBED_TIMEOUT_SECONDS. The permit is held until its thread is free."""
        permit = Permit(self._semaphore, caller)
        await permit.acquire()
        call = self._in_thread(lambda: embedder.embed_query(query))
        call.add_done_callback(lambda _: permit.release())
        vector: Vectors | None = None
        try:
            async with asyncio.timeout(EMBED_TIMEOUT_SECONDS):
                vector = await asyncio.shield(call)
                return vector, await self._snippets.get() if several else None
        except TimeoutError:
            if vector is None:
                raise ServiceAway(
                    f"the model {self._name} did not answer within {EMBED_TIMEOUT_SECONDS:g} s; check its service"
                ) from None
            raise EmbeddingUnavailable(
                f"the model {self._name} is being made comparable with the others, for which it embeds "
                f"{len(SNIPPETS)} texts"
            ) from None

    async def _open(self) -> Embedder:
        return await self._in_thread(lambda: self._open_embedder(self._name))

    async def _embed_snippets(self) -> Vectors:
        embedder = self._embedder.value
        if not is_cacheable(embedder):
            return embedder.embed_documents(SNIPPETS)
        return (await self._in_thread(lambda: embedder.embed(SNIPPETS, SNIPPETS_TIMEOUT_SECONDS))).vectors

    def _in_thread(self, call: Callable[[], T]) -> asyncio.Future[T]:
        return asyncio.get_running_loop().run_in_executor(self._threads, call)


def _missing_vector(reason: str, retry_seconds: float | None = None) -> MissingVector:
    again = "" if retry_seconds is None else f"; try again in {max(1, math.ceil(retry_seconds))} s"
    return MissingVector(reason + again)


def _check(model: str, vector: Vectors) -> None:
    """Raise EmbeddingUnavailable unless it is a unit vector: others would make scores meaningless."""
    if vector.ndim != 1 or not len(vector) or not abs(float(np.linalg.norm(vector)) - 1) < _UNIT_TOLERANCE:
        raise EmbeddingUnavailable(
            f"the model {model} returned no unit vector for the query; check its service, or choose another model"
        )
