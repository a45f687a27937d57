"""Vectors of cacheable models (a service, or a transformer in the pod): no text is embedded twice.

The vectors of each call are cached at once, before their batch commits, so a crash loses the calls in flight, not
the batches. While a service is unavailable the job is blocked; it resumes by itself.
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
class EmbeddingCounts:
    """Of a batch: vectors made and reused, and texts truncated at the model's limit."""

    made: int = 0
    reused: int = 0
    truncated: int = 0


@dataclass
class RemoteEmbedding:
    """Embeds for all lanes of a pod, with as many concurrent calls as the embedder can use.

    Owned by the event loop; threads get the embedder alone, which is safe for several at once.
    """

    embedder: CacheableEmbedder
    cache: VectorCache
    jobs: Jobs
    writer: Writer
    reporter: ProgressReporter
    reports: bool = True
    """Whether this pod reports the job's state; only the leader does."""
    centroid: Vectors | None = field(default=None, init=False)
    """Centroid of the model's vectors, set by prepare()."""
    _blocked_since: datetime | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self._slots = asyncio.Semaphore(self.embedder.concurrency)

    async def prepare(self, index_dimension: int | None) -> None:
        """Wait for the service, and check its dimension against that of the index.

        Raises EmbeddingRefused when they differ.
        """
        await self._retry_while_unavailable(self.embedder.check)
        dimension = await self._retry_while_unavailable(lambda: self.embedder.dimension)
        if index_dimension not in (None, dimension):
            raise EmbeddingRefused(
                f"{self.embedder.name} returns vectors of {dimension} dimensions, but the index has "
                f"{index_dimension}: the model behind this name was replaced; restore the former model, give the "
                "new one another name, or delete the index (codebase-mcp admin delete), then start the job again"
            )
        vectors, _ = await self.vectors(SNIPPETS)
        self.centroid = centroid_of(vectors)

    async def embed(self, batch: ProcessedBatch) -> tuple[PackedBatch, EmbeddingCounts]:
        """Return the batch with vectors, and the counts. Raises EmbeddingRefused."""
        texts = documents(batch.results)
        if not texts:
            return pack(batch), EmbeddingCounts()
        vectors, counts = await self.vectors(texts)
        return pack(with_vectors(batch, vectors), self.centroid), counts

    async def vectors(self, texts: Sequence[str]) -> tuple[Vectors, EmbeddingCounts]:
        """Return the vectors of texts, from the cache or made now."""
        prefix = self.embedder.traits.document_prefix
        digests = [digest_of(prefix + text) for text in texts]
        missing = dict(zip(digests, texts, strict=True))
        dimension = self.embedder.dimension
        vectors = await retry_while_unavailable(
            "look up vectors", lambda: self.cache.find(self._cache_key, list(missing), dimension)
        )
        counts = EmbeddingCounts(reused=sum(digest in vectors for digest in digests))
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
    def _cache_key(self) -> str:
        return cache_key(self.writer.namespace, self.embedder.name)

    async def count(self, counts: EmbeddingCounts) -> None:
        """Add the counts of a committed batch to the job's. A database outage loses them."""
        with contextlib.suppress(StoreUnavailable):
            await self.jobs.count_vectors(
                self.writer.job_id,
                self.writer.attempt,
                made=counts.made,
                reused=counts.reused,
                cut=counts.truncated,
            )

    async def _embed(self, texts: dict[bytes, str], counts: EmbeddingCounts) -> dict[bytes, NDArray[np.float32]]:
        """Embed texts in one call, and cache their vectors."""
        embedded = await self._retry_while_unavailable(lambda: self.embedder.embed(list(texts.values())))
        vectors = dict(zip(texts, embedded.vectors, strict=True))
        await retry_while_unavailable("cache vectors", lambda: self.cache.save(self._cache_key, vectors))
        counts.truncated += embedded.truncated
        return vectors

    async def _retry_while_unavailable(self, call: Callable[[], T]) -> T:
        outage, delays = Outage("embed"), backoff_delays()
        while True:
            try:
                async with self._slots:
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
