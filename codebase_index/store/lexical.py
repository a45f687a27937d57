"""The lexical side of a search: BM25 over the segments and the pending batches of some indexes."""

from collections.abc import Mapping, Sequence

import asyncpg
import numpy as np

from codebase_index import postings
from codebase_index.postings import Held
from codebase_index.stemming import stem
from codebase_index.store import queries
from codebase_index.store.index_cache import Batch, IndexCache, Parts
from codebase_index.store.scope import Scope
from codebase_index.store.scores import Scores

SQL = queries.load("search")

MAX_TERMS = 64
"""Terms of a query that count, from its first on: a long question with its identifiers split."""


async def scores(
    connection: asyncpg.Connection, scope: Scope, parts: Parts, terms: Sequence[str], cache: IndexCache
) -> Scores:
    """Score every chunk of the searched indexes for the terms of a query.

    Filters change no score, except that chunks of indexes of which they leave nothing have none.
    """
    asked = list(dict.fromkeys(map(stem, terms)))[:MAX_TERMS]
    held = await cache.postings(connection, parts.segments, asked)
    # On the loop, a millisecond or two: a thread would wait for the interpreter after each step of numpy, which
    # costs ten clients at once a sixth of what the server can do.
    return _scored(frozenset(scope.asked), parts, held)


def _scored(indexes: frozenset[int], parts: Parts, of_terms: Mapping[str, Sequence[Held]]) -> Scores:
    """Add up what each term says; `of_terms` tells where it is in each of the segments.

    The chunks of other indexes than these count for the words' rarity alone.
    """
    numbering = parts.numbering
    begins = [begin for begin, _ in parts.numbered]
    segments = list(zip(begins, parts.segments, strict=False))
    waiting = list(zip(begins[len(segments) :], parts.pending, strict=True))
    length = sum(part.total_length for _, part in parts.numbered) / max(1, numbering.total)
    scores = np.zeros(numbering.total, np.float32)
    for term, of_term in of_terms.items():
        documents, impacts = _pending(waiting, term, length)
        having = len(documents) + sum(held.count for held in of_term)
        weight = postings.idf(numbering.total, having) / postings.IMPACT_SCALE
        for (begin, segment), held in zip(segments, of_term, strict=True):
            if held.count and segment.index_id in indexes:
                held.add_to(scores[begin : begin + segment.chunks], weight)
        scores[documents] += np.float32(weight) * impacts
    for begin, batch in waiting:
        if batch.index_id not in indexes:
            scores[begin : begin + batch.chunks] = 0
    return Scores(numbering, scores, sum(part.chunks for _, part in parts.numbered if part.index_id in indexes))


def _pending(
    waiting: Sequence[tuple[int, Batch]], term: str, average_length: float
) -> tuple[postings.Array, postings.Array]:
    """Return where a term is in the pending batches, and its impacts there."""
    documents, frequencies, lengths = [np.empty(0, np.int64)], [np.empty(0, np.uint8)], [np.empty(0, "<u4")]
    for begin, batch in waiting:
        held, weights = postings.find(batch.part.postings, term)
        if len(held):
            documents.append(held.astype(np.int64) + begin)
            frequencies.append(weights)
            lengths.append(batch.part.lengths[held])
    impacts = postings.impact(np.concatenate(frequencies), np.concatenate(lengths), average_length)
    return np.concatenate(documents), impacts
