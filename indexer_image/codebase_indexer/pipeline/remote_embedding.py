"""Vectors from a slow model or a service: what was embedded before is not embedded again.

Each call's vectors are kept as soon as they are there, before the batch that they belong to commits: a crash costs
the calls in flight, not the batches. While a service is away its job is blocked, and goes on by itself.
"""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from codebase_index.embedding import CacheableEmbedder, EmbeddingRefused, EmbeddingUnavailable, Vectors
from codebase_index.store.errors import StoreUnavailable
from codebase_index.store.ingest.batch import PackedBatch, ProcessedBatch, pack
from codebase_index.store.ingest.chunks import Writer
from codebase_index.store.ingest.vector_cache import VectorCache, cache_key, digest_of
from codebase_index.store.jobs.jobs import Jobs
from codebase_index.vectors.centroid import SNIPPETS, centroid_of
from codebase_indexer.chunking.texts import documents, with_vectors
from codebase_indexer.database_retry import Outage, backoff_delays, retry_while_unavailable
from codebase_indexer.pipeline.tasks import run_together
from codebase_indexer.progress.reporter import ProgressReporter

T = TypeVar("T")


@dataclass
class Counts:
    """Of a batch: vectors made now and taken from those kept, and texts that the model read only in part."""

    made: int = 0
    reused: int = 0
    cut: int = 0


@dataclass
class SlowEmbedding:
    """Embeds for all lanes of a pod, with so many calls at once as the embedder has use for.

    Owned by the event loop; threads get the embedder alone, which is safe for several at once.
    """

    embedder: CacheableEmbedder
    cache: VectorCache
    jobs: Jobs
    writer: Writer
    reporter: ProgressReporter
    reports: bool = True
    """Whether this pod tells the job's state: a helper leaves that to the pod that holds the attempt."""
    centroid: Vectors | None = field(default=None, init=False)
    """The middle of the model's vectors, known when it is ready."""
    _blocked_since: datetime | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self._free = asyncio.Semaphore(self.embedder.concurrency)

    async def ready(self, length_in_index: int | None) -> None:
        """Wait for the service, and compare its vectors with those of the index, whose length is given.

        Raises EmbeddingRefused when they differ.
        """
        await self._patiently(self.embedder.check)
        length = await self._patiently(lambda: self.embedder.dimension)
        if length_in_index not in (None, length):
            raise EmbeddingRefused(
                f"{self.embedder.name} gives vectors of {length} numbers, and the index has some of "
                f"{length_in_index}: the model behind this name was exchanged; bring the former one back, or name "
                "the new one otherwise, or delete the index (codebase-mcp admin delete) and start the job again"
            )
        vectors, _ = await self._vectors(SNIPPETS)
        self.centroid = centroid_of(vectors)

    async def embed(self, batch: ProcessedBatch) -> tuple[PackedBatch, Counts]:
        """Return the batch with vectors, and what that took. Raises EmbeddingRefused."""
        texts = documents(batch.results)
        if not texts:
            return pack(batch), Counts()
        vectors, counts = await self._vectors(texts)
        return pack(with_vectors(batch, vectors), self.centroid), counts

    async def _vectors(self, texts: Sequence[str]) -> tuple[Vectors, Counts]:
        """Return the vectors of texts, those that are kept and those that are made now."""
        prefix = self.embedder.traits.document_prefix
        digests = [digest_of(prefix + text) for text in texts]
        missing = dict(zip(digests, texts, strict=True))
        dimension = self.embedder.dimension
        vectors = await retry_while_unavailable(
            "look up vectors", lambda: self.cache.find(self._kept_under, list(missing), dimension)
        )
        counts = Counts(reused=sum(digest in vectors for digest in digests))
        for digest in vectors:
            del missing[digest]
        counts.made = len(texts) - counts.reused
        size = self.embedder.traits.batch_texts
        todo = list(missing.items())
        calls = [self._embed(dict(todo[i : i + size]), counts) for i in range(0, len(todo), size)]
        for made in await run_together(calls):
            vectors |= made
        return np.stack([vectors[digest] for digest in digests]), counts

    @property
    def _kept_under(self) -> str:
        return cache_key(self.writer.namespace, self.embedder.name)

    async def count(self, counts: Counts) -> None:
        """Add the counts of a batch that is committed to the job's. An outage of the database loses them."""
        with contextlib.suppress(StoreUnavailable):
            await self.jobs.count_vectors(
                self.writer.job_id, self.writer.attempt, made=counts.made, reused=counts.reused, cut=counts.cut
            )

    async def _embed(self, texts: dict[bytes, str], counts: Counts) -> dict[bytes, NDArray[np.float32]]:
        """Embed texts by one call, and keep their vectors."""
        embedded = await self._patiently(lambda: self.embedder.embed(list(texts.values())))
        vectors = dict(zip(texts, embedded.vectors, strict=True))
        await retry_while_unavailable("keep vectors", lambda: self.cache.save(self._kept_under, vectors))
        counts.cut += embedded.truncated
        return vectors

    async def _patiently(self, call: Callable[[], T]) -> T:
        outage, delays = Outage("embed"), backoff_delays()
        while True:
            try:
                async with self._free:
                    result = await asyncio.to_thread(call)
            except EmbeddingUnavailable as error:
                outage.record_failure(error)
                await self._block(str(error))
                await asyncio.sleep(next(delays))
            else:
                outage.record_success()
                await self._unblock()
                return result

    async def _block(self, problem: str) -> None:
        self._blocked_since = since = self._blocked_since or datetime.now(UTC)
        message = f"Waiting for the embedding service since {since:%H:%M:%S} UTC: {problem}"
        if self.reports and self.reporter.blocked_reason != message:
            self.reporter.blocked_reason = message
            job_id, attempt = self.writer.job_id, self.writer.attempt
            await retry_while_unavailable("block", lambda: self.jobs.block(job_id, attempt, message))

    async def _unblock(self) -> None:
        if self.reports and self.reporter.blocked_reason is not None:
            self.reporter.blocked_reason = self._blocked_since = None
            job_id, attempt = self.writer.job_id, self.writer.attempt
            await retry_while_unavailable("unblock", lambda: self.jobs.unblock(job_id, attempt))
