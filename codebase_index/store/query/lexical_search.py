"""The lexical side of a search: BM25 over the segments and the pending batches of some indexes."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import asyncpg
import numpy as np
from numpy.typing import NDArray

from codebase_index.lexical import postings
from codebase_index.lexical.documents import Ids
from codebase_index.lexical.postings import PostingList
from codebase_index.lexical.stemming import stem
from codebase_index.store.query.index_cache import IndexCache, Parts
from codebase_index.store.query.scores import Scores

MAX_TERMS = 64
"""Terms of a query that count, from its first on: a long question with its identifiers split."""


@dataclass(frozen=True)
class Places:
    """Where a term is: in each segment, and in which documents of the pending batches, with its impact there."""

    of_segments: Sequence[PostingList]
    pending: Ids
    impacts: postings.Array

    def __len__(self) -> int:
        return len(self.pending) + sum(held.count for held in self.of_segments)


@dataclass(frozen=True)
class Matches:
    """What the terms of a query say of every chunk of the searched indexes."""

    scores: Scores
    parts: Parts
    terms: Sequence[frozenset[str]]
    """The terms of the query, those that are one word to the index together."""

    places: Sequence[Places]
    """Where each of these words is."""

    def terms_of(self, ids: Sequence[int]) -> list[frozenset[str]]:
        """Return which terms of the query each of some chunks holds, in any inflection."""
        documents = self.parts.doc_ids.documents(np.asarray(ids, np.int64))
        masks = np.empty(len(documents), np.uint64)
        order = np.argsort(documents)
        masks[order] = self._masks(documents[order])
        of_mask = {mask: self._terms_in(mask) for mask in set(masks.tolist())}  # few: most chunks hold the same
        return [of_mask[mask] for mask in masks.tolist()]

    def _masks(self, documents: Ids) -> NDArray[np.uint64]:
        """Return for each of some documents, given in ascending order, a bit for each word that it holds."""
        masks = np.zeros(len(documents), np.uint64)
        bits = [np.uint64(1 << number) for number in range(len(self.places))]
        for bit, places in zip(bits, self.places, strict=True):
            masks |= postings.is_in_sorted(documents, places.pending) * bit
        for number, (begin, segment) in enumerate(self.parts.segments_with_offsets):
            low, high = np.searchsorted(documents, (begin, begin + segment.chunks))
            within = documents[low:high] - begin
            for bit, places in zip(bits, self.places, strict=True):
                if len(within) and places.of_segments[number].count:
                    masks[low:high] |= places.of_segments[number].contains_documents(within) * bit
        return masks

    def _terms_in(self, mask: int) -> frozenset[str]:
        return frozenset().union(*(terms for number, terms in enumerate(self.terms) if mask >> number & 1))


async def matches(
    connection: asyncpg.Connection,
    parts: Parts,
    allowed: NDArray[np.bool_] | None,
    terms: Sequence[str],
    cache: IndexCache,
) -> Matches:
    """Look for the terms of a query in every chunk of the searched indexes.

    `allowed` says which documents have a score; None: all. It changes no score.
    """
    of_stem: dict[str, set[str]] = defaultdict(set)
    for term in terms:
        of_stem[stem(term)].add(term)
    stems = list(of_stem)[:MAX_TERMS]
    held = await cache.postings(connection, parts.segments, stems)
    # On the loop, a millisecond or two: a thread would wait for the interpreter after each step of numpy, which
    # costs ten clients at once a sixth of what the server can do.
    places = [Places(held[stem], *_pending(parts, stem)) for stem in stems]
    scores = Scores(parts.doc_ids, _scored(parts, allowed, places))
    return Matches(scores, parts, [frozenset(of_stem[stem]) for stem in stems], places)


def _scored(parts: Parts, allowed: NDArray[np.bool_] | None, words: Iterable[Places]) -> NDArray[np.float32]:
    """Add up what each word says. Chunks that are not allowed count for the words' rarity alone."""
    total = parts.doc_ids.total
    scores = np.zeros(total, np.float32)
    slices = [slice(begin, begin + segment.chunks) for begin, segment in parts.segments_with_offsets]
    asked = [allowed is None or bool(allowed[of_segment].any()) for of_segment in slices]
    for places in words:
        weight = postings.idf(total, len(places)) / postings.IMPACT_SCALE
        for of_segment, is_asked, held in zip(slices, asked, places.of_segments, strict=True):
            if held.count and is_asked:
                held.add_to(scores[of_segment], weight)
        scores[places.pending] += np.float32(weight) * places.impacts
    if allowed is not None:
        scores *= allowed
    return scores


def _pending(parts: Parts, term: str) -> tuple[Ids, postings.Array]:
    """Return where a term is in the pending batches, ascending, and its impacts there."""
    found = [(begin, batch.terms.find(term)) for begin, batch in parts.pending_with_offsets]
    held = [(begin, *places) for begin, places in found if places]
    if not held:
        return np.empty(0, np.int64), np.empty(0, np.uint8)
    begins, documents, frequencies = zip(*held, strict=True)
    shifts = np.repeat(np.array(begins, np.int64), [len(some) for some in documents])
    numbers = np.concatenate(documents) + shifts
    lengths = parts.pending_lengths[numbers - parts.in_segments]
    return numbers, postings.impact(np.concatenate(frequencies), lengths, parts.average_length)
