"""The lexical arm of a search: BM25 over the segments and the pending batches of some indexes."""

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
from codebase_index.store.query.index_cache import IndexCache, IndexParts
from codebase_index.store.query.scores import Scores

MAX_TERMS = 64
"""The first terms of a query that are searched: as many as a long question with its identifiers split has."""


@dataclass(frozen=True)
class TermPostings:
    """The postings of a term: a list for each segment, and documents with impacts in the pending batches."""

    of_segments: Sequence[PostingList]
    pending: Ids
    impacts: postings.Array

    def __len__(self) -> int:
        return len(self.pending) + sum(posting_list.count for posting_list in self.of_segments)


@dataclass(frozen=True)
class Matches:
    """The scores of every chunk of the searched indexes for the terms of a query."""

    scores: Scores
    parts: IndexParts
    terms: Sequence[frozenset[str]]
    """The terms of the query, grouped by stem."""

    postings_of_terms: Sequence[TermPostings]
    """The postings of each stem."""

    def weights(self) -> dict[str, float]:
        """Return the inverse document frequency of each term of the query in all that was searched."""
        total = self.parts.doc_ids.total
        return {
            term: postings.idf(total, len(of_stem))
            for terms, of_stem in zip(self.terms, self.postings_of_terms, strict=True)
            for term in terms
        }

    def terms_of(self, ids: Sequence[int]) -> list[frozenset[str]]:
        """Return the terms of the query that each of these chunks contains, in any inflection."""
        documents = self.parts.doc_ids.documents(np.asarray(ids, np.int64))
        masks = np.empty(len(documents), np.uint64)
        order = np.argsort(documents)
        masks[order] = self._masks(documents[order])
        of_mask = {mask: self._terms_in(mask) for mask in set(masks.tolist())}  # few: most chunks hold the same
        return [of_mask[mask] for mask in masks.tolist()]

    def _masks(self, documents: Ids) -> NDArray[np.uint64]:
        """Return a bit mask for each of these documents, given in ascending order: a bit for each stem it
        contains.
        """
        masks = np.zeros(len(documents), np.uint64)
        bits = [np.uint64(1 << number) for number in range(len(self.postings_of_terms))]
        for bit, term_postings in zip(bits, self.postings_of_terms, strict=True):
            masks |= postings.is_in_sorted(documents, term_postings.pending) * bit
        for number, (begin, segment) in enumerate(self.parts.segments_with_offsets):
            low, high = np.searchsorted(documents, (begin, begin + segment.chunks))
            within = documents[low:high] - begin
            for bit, term_postings in zip(bits, self.postings_of_terms, strict=True):
                if len(within) and term_postings.of_segments[number].count:
                    masks[low:high] |= term_postings.of_segments[number].contains_documents(within) * bit
        return masks

    def _terms_in(self, mask: int) -> frozenset[str]:
        return frozenset().union(*(terms for number, terms in enumerate(self.terms) if mask >> number & 1))


async def matches(
    connection: asyncpg.Connection,
    parts: IndexParts,
    allowed: NDArray[np.bool_] | None,
    terms: Sequence[str],
    cache: IndexCache,
) -> Matches:
    """Score every chunk of the searched indexes for the terms of a query.

    `allowed` is a mask of the documents that may have a score; None: all. It changes no score.
    """
    of_stem: dict[str, set[str]] = defaultdict(set)
    for term in terms:
        of_stem[stem(term)].add(term)
    stems = list(of_stem)[:MAX_TERMS]
    posting_lists = await cache.postings(connection, parts.segments, stems)
    # On the loop, since it is short: a thread would wait for the interpreter after each step of numpy, and slow
    # down all other searches.
    postings_of_terms = [TermPostings(posting_lists[stem], *_pending(parts, stem)) for stem in stems]
    scores = Scores(parts.doc_ids, _score(parts, allowed, postings_of_terms))
    return Matches(scores, parts, [frozenset(of_stem[stem]) for stem in stems], postings_of_terms)


def _score(
    parts: IndexParts, allowed: NDArray[np.bool_] | None, words: Iterable[TermPostings]
) -> NDArray[np.float32]:
    """Add up the impacts of each stem. Chunks that are not allowed count for the document frequencies alone."""
    total = parts.doc_ids.total
    scores = np.zeros(total, np.float32)
    slices = [slice(begin, begin + segment.chunks) for begin, segment in parts.segments_with_offsets]
    any_allowed = [allowed is None or bool(allowed[of_segment].any()) for of_segment in slices]
    for term_postings in words:
        weight = postings.idf(total, len(term_postings)) / postings.IMPACT_SCALE
        for of_segment, is_allowed, posting_list in zip(
            slices, any_allowed, term_postings.of_segments, strict=True
        ):
            if posting_list.count and is_allowed:
                posting_list.add_to(scores[of_segment], weight)
        scores[term_postings.pending] += np.float32(weight) * term_postings.impacts
    if allowed is not None:
        scores *= allowed
    return scores


def _pending(parts: IndexParts, term: str) -> tuple[Ids, postings.Array]:
    """Return the documents of the pending batches that contain a term, ascending, and its impacts there."""
    found = [(begin, batch.terms.find(term)) for begin, batch in parts.pending_with_offsets]
    containing = [(begin, *term_postings) for begin, term_postings in found if term_postings]
    if not containing:
        return np.empty(0, np.int64), np.empty(0, np.uint8)
    begins, documents, frequencies = zip(*containing, strict=True)
    shifts = np.repeat(np.array(begins, np.int64), [len(some) for some in documents])
    numbers = np.concatenate(documents) + shifts
    lengths = parts.pending_lengths[numbers - parts.in_segments]
    return numbers, postings.impact(np.concatenate(frequencies), lengths, parts.average_length)
