"""Packed postings: which chunks contain a term, and with which weight, in numpy arrays. Pure.

The indexer's workers count the terms of a batch and encode them as one part (`encode`). Parts are merged, their
frequencies become BM25 impacts, and the result is cut into *blocks* of neighbouring terms: a *segment*. Search
adds up the impacts of a query's terms, times each term's inverse document frequency, over segments and over the
parts that are in no segment yet: a chunk has the same score in either.

A *document* is the number of a chunk in its part or segment, from 0. All numbers are stored little-endian.
"""

import math
import struct
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from operator import lt
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

MAX_DOCUMENTS: Final = 1 << 16
"""Documents of a part or segment: document numbers are stored in two bytes."""

MAX_FREQUENCY: Final = 255
"""Frequencies are stored in one byte; higher ones change no ranking."""

BLOCK_BYTES: Final = 1_000
"""Target size of a block: seven or eight fit into a Postgres page, so that little of it stays empty. A longer
posting list has a block of its own."""

K1: Final = 1.5
B: Final = 0.75
"""BM25's saturation and length normalisation, as in Robertson and Zaragoza, Foundations and Trends 3(4), 2009."""

IMPACT_SCALE: Final = 100
"""Impacts of one term: 250 is BM25's limit for endless repetition, K1 + 1, times this."""

_DENSE: Final = 8
"""A term in more than one of this many documents is added up faster over all of them than one by one."""

_MAX_IMPACT: Final = round(IMPACT_SCALE * (K1 + 1))
_SEPARATOR: Final = "\n"  # occurs in no term: terms are letters, digits, marks and underscores
_HEADER: Final = struct.Struct("<III")

Array = NDArray[Any]


@dataclass(frozen=True)
class EncodedTerms:
    """The terms of a batch's chunks in stored form: `vocabulary` has one term a line, `payload` the numbers.

    `total_length` is the sum of all frequencies.
    """

    chunks: int
    total_length: int
    vocabulary: str
    payload: bytes


@dataclass(frozen=True)
class Occurrences:
    """The term occurrences of `documents` documents, one entry for each.

    Occurrence `i` is the term ``names[terms[i]]`` in the document ``of[i]``; `names` may contain further terms.
    """

    documents: int
    of: Array
    terms: Array
    names: Sequence[str]


@dataclass(frozen=True)
class InvertedIndex:
    """Postings in memory: the posting lists of `terms` (sorted), one after another.

    `counts`, shape (terms,), has the document frequency of each term. `documents` and `weights`, shape
    (postings,), have the documents of each term, ascending, and its frequency (in a part) or impact (in a
    segment), 1 to 255.
    """

    terms: Sequence[str]
    counts: Array
    documents: Array
    weights: Array


@dataclass(frozen=True)
class TermFrequencies:
    """The postings of a batch: weights are frequencies, `lengths` their sum in each document."""

    postings: InvertedIndex
    lengths: Array


class TermDictionary:
    """Postings by term: a dictionary look-up is much quicker than a bisection."""

    def __init__(self, inverted: InvertedIndex) -> None:
        self._number = {term: number for number, term in enumerate(inverted.terms)}
        self._ends = np.append(0, np.cumsum(inverted.counts)).astype(np.uint32)
        self._documents = inverted.documents
        self._weights = inverted.weights

    def find(self, term: str) -> tuple[Array, Array] | None:
        """Return the documents of a term, ascending, and its weights there; None where it does not occur."""
        if (number := self._number.get(term)) is None:
            return None
        begin, end = self._ends[number], self._ends[number + 1]
        return self._documents[begin:end], self._weights[begin:end]


@dataclass(frozen=True)
class Block:
    """Some neighbouring terms of a segment, in stored form."""

    first_term: str
    terms: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class PostingList:
    """The documents of a segment that contain a term, and its impacts there.

    `impacts` is parallel to `documents`. A frequent term has a dense list: `documents` is None, and `impacts` has
    an entry for every document of the segment, 0 where the term does not occur.
    """

    count: int
    documents: Array | None
    impacts: Array

    @classmethod
    def of(cls, documents: Array, impacts: Array, size: int) -> "PostingList":
        """Copy a term's postings out of a block of a segment of `size` documents."""
        if len(documents) * _DENSE < size:
            return cls(len(documents), documents.copy(), impacts.copy())  # without the rest of the block
        every = np.zeros(size, np.uint8)
        every[documents] = impacts
        return cls(len(documents), None, every)

    @property
    def nbytes(self) -> int:
        """Size of the arrays in bytes."""
        return self.impacts.nbytes + (0 if self.documents is None else self.documents.nbytes)

    def add_to(self, scores: Array, weight: float) -> None:
        """Add the impacts, times a weight, to the scores of the segment's documents."""
        added = np.float32(weight) * self.impacts
        if self.documents is None:
            scores += added
        else:
            # As wide as pointers: numpy would widen them anyhow, in a slower way.
            scores[self.documents.astype(np.intp)] += added

    def contains_documents(self, documents: Array) -> NDArray[np.bool_]:
        """Return a mask: which of these documents of the segment contain the term."""
        if self.documents is None:
            return self.impacts.take(documents) > 0
        return is_in_sorted(documents, self.documents)


EMPTY_POSTING_LIST: Final = PostingList(0, np.empty(0, "<u2"), np.empty(0, np.uint8))


def encode(occurrences: Occurrences) -> EncodedTerms:
    """Encode how often each term occurs in each document. Raises ValueError for more than MAX_DOCUMENTS."""
    size = occurrences.documents
    if size > MAX_DOCUMENTS:
        raise ValueError(f"{size} chunks in one batch; at most {MAX_DOCUMENTS} can be numbered")
    terms, rank = _ranked(occurrences)
    # Term and document as one number, in half the bytes where that is enough: sorted in half the time.
    wide = np.dtype(np.uint32 if len(terms) <= 1 << 16 else np.uint64)
    pairs = rank.astype(wide)[occurrences.terms] << 16 | occurrences.of.astype(wide)
    pairs.sort()
    firsts = np.flatnonzero(np.append(True, np.diff(pairs) != 0)[: len(pairs)])
    counted = np.diff(np.append(firsts, len(pairs)))
    distinct = pairs[firsts]
    counts = np.bincount((distinct >> 16).astype(np.int64), minlength=len(terms))
    lengths = np.bincount(occurrences.of, minlength=size).astype("<u4")
    payload = b"".join(
        (
            _HEADER.pack(size, len(terms), len(distinct)),
            lengths.tobytes(),
            (counts - 1).astype("<u2").tobytes(),  # 1 to 65,536 in two bytes
            distinct.astype("<u2").tobytes(),  # what is left of a pair is the document
            np.minimum(counted, MAX_FREQUENCY).astype("u1").tobytes(),
        )
    )
    return EncodedTerms(size, len(pairs), _SEPARATOR.join(terms), payload)


def _ranked(occurrences: Occurrences) -> tuple[list[str], Array]:
    """Return the terms that occur, sorted, and the rank of each term number among them."""
    names = occurrences.names
    present = np.flatnonzero(np.bincount(occurrences.terms, minlength=len(names)))
    in_order = sorted(present.tolist(), key=names.__getitem__)
    rank = np.zeros(len(names), np.int64)
    rank[in_order] = np.arange(len(in_order))
    return [names[number] for number in in_order], rank


def decode(vocabulary: str, payload: bytes) -> TermFrequencies:
    """Return the postings that `encode` wrote."""
    documents, terms, size = _HEADER.unpack_from(payload)
    at = _HEADER.size
    lengths = np.frombuffer(payload, "<u4", documents, at)
    at += lengths.nbytes
    counts = np.frombuffer(payload, "<u2", terms, at).astype(np.int64) + 1
    at += 2 * terms
    posting_documents = np.frombuffer(payload, "<u2", size, at)
    at += posting_documents.nbytes
    weights = np.frombuffer(payload, "u1", size, at)
    return TermFrequencies(InvertedIndex(_split(vocabulary), counts, posting_documents, weights), lengths)


def check(encoded: EncodedTerms) -> None:
    """Check what an untrusted process encoded, so that whoever decodes, merges and adds it up can believe it.

    Raises ValueError.
    """
    payload = encoded.payload
    if len(payload) < _HEADER.size:
        raise ValueError(f"postings of {len(payload)} bytes")
    documents, terms, size = _HEADER.unpack_from(payload)
    if documents != encoded.chunks or documents > MAX_DOCUMENTS:
        raise ValueError(f"postings of {documents} chunks, not of {encoded.chunks}")
    if len(payload) != _HEADER.size + 4 * documents + 2 * terms + 3 * size:
        raise ValueError(f"postings of {len(payload):,} bytes, which is not what they say")
    found = decode(encoded.vocabulary, payload)
    names, counts = found.postings.terms, found.postings.counts
    if len(names) != terms or not all(map(lt, names, names[1:])) or (names and not names[0]):
        raise ValueError("terms that are not sorted, or not as many as they say")
    if "\0" in encoded.vocabulary:
        raise ValueError("a term holds NUL, which Postgres refuses")
    if int(counts.sum()) != size or int(found.lengths.sum(dtype=np.int64)) != encoded.total_length:
        raise ValueError("postings whose counts do not add up")
    if not size:
        return
    place = found.postings.documents.astype(np.int64)
    ascending = np.diff(place) > 0
    ascending[np.cumsum(counts)[:-1] - 1] = True  # another term begins
    if place.max() >= documents or not ascending.all() or not found.postings.weights.all():
        raise ValueError("postings of chunks that are not there, or out of order")


def impact(frequencies: Array, lengths: Array, average_length: float) -> Array:
    """Return BM25 impacts as integers from 1: without the inverse document frequency, which is not known yet.

    `lengths` is parallel to `frequencies`: the length of the document. `average_length` is that of all chunks so
    far.
    """
    frequency = frequencies.astype(np.float32)
    norm = (K1 * (1 - B + B * lengths / max(average_length, 1.0))).astype(np.float32)
    found: Array = np.clip(np.rint(_MAX_IMPACT * frequency / (frequency + norm)), 1, _MAX_IMPACT).astype(np.uint8)
    return found


def impacts(part: TermFrequencies, average_length: float) -> InvertedIndex:
    """Turn the frequencies of a part into impacts."""
    inverted = part.postings
    weights = impact(inverted.weights, part.lengths[inverted.documents], average_length)
    return InvertedIndex(inverted.terms, inverted.counts, inverted.documents, weights)


def merge(parts: Sequence[InvertedIndex], sizes: Sequence[int]) -> InvertedIndex:
    """Merge postings; the documents of each part, `sizes` of them, follow those of the parts before it.

    Linear in the number of postings. Raises ValueError for more than MAX_DOCUMENTS documents.
    """
    if sum(sizes) > MAX_DOCUMENTS:
        raise ValueError(f"{sum(sizes)} chunks for one segment; at most {MAX_DOCUMENTS} can be numbered")
    terms = sorted(set().union(*(part.terms for part in parts)))
    number = {term: i for i, term in enumerate(terms)}
    numbers = [np.fromiter(map(number.__getitem__, part.terms), np.int64, len(part.terms)) for part in parts]
    counts = np.zeros(len(terms), np.int64)
    for of_part, part in zip(numbers, parts, strict=True):
        counts[of_part] += part.counts
    free = _starts(counts)  # where the next posting of each term goes
    documents = np.empty(int(counts.sum()), "<u2")
    weights = np.empty(len(documents), np.uint8)
    first = 0
    for of_part, part, size in zip(numbers, parts, sizes, strict=True):
        places = np.arange(len(part.documents)) + np.repeat(free[of_part] - _starts(part.counts), part.counts)
        documents[places] = part.documents + np.uint16(first) if first else part.documents
        weights[places] = part.weights
        free[of_part] += part.counts
        first += size
    return InvertedIndex(terms, counts, documents, weights)


def select_documents(postings: InvertedIndex, mask: NDArray[np.bool_]) -> InvertedIndex:
    """Drop the other documents, and the terms that only they have; the rest are renumbered in order."""
    selected = mask[postings.documents]
    numbers = np.cumsum(mask) - 1
    of_term = np.repeat(np.arange(len(postings.terms)), postings.counts)
    counts = np.bincount(of_term[selected], minlength=len(postings.terms))
    terms = [term for term, count in zip(postings.terms, counts.tolist(), strict=True) if count]
    documents = numbers[postings.documents[selected]].astype("<u2")
    return InvertedIndex(terms, counts[counts > 0], documents, postings.weights[selected])


def blocks(postings: InvertedIndex) -> Iterator[Block]:
    """Cut a segment into blocks, in term order."""
    starts = np.append(_starts(postings.counts), len(postings.documents))
    letters = np.fromiter(map(len, postings.terms), np.int64, len(postings.terms))
    sizes = letters + 1 + 2 + 3 * postings.counts
    large = sizes > BLOCK_BYTES
    number = (np.cumsum(np.where(large, 0, sizes)) // BLOCK_BYTES) + np.cumsum(
        large | np.append(False, large[:-1])
    )
    cuts = [*(np.flatnonzero(np.diff(number)) + 1).tolist(), len(postings.terms)]
    documents = postings.documents.astype("<u2", copy=False)
    begin = 0
    for end in cuts if postings.terms else ():
        low, high = starts[begin], starts[end]
        payload = b"".join(
            (
                (postings.counts[begin:end] - 1).astype("<u2").tobytes(),
                documents[low:high].tobytes(),
                postings.weights[low:high].tobytes(),
            )
        )
        yield Block(postings.terms[begin], _SEPARATOR.join(postings.terms[begin:end]), payload)
        begin = end


def read_block(terms: str, payload: bytes) -> InvertedIndex:
    """Return the postings of a block."""
    names = terms.split(_SEPARATOR)
    counts = np.frombuffer(payload, "<u2", len(names)).astype(np.int64) + 1
    at, size = 2 * len(names), int(counts.sum())
    documents = np.frombuffer(payload, "<u2", size, at)
    return InvertedIndex(names, counts, documents, np.frombuffer(payload, "u1", size, at + documents.nbytes))


def join(of_blocks: Sequence[InvertedIndex]) -> InvertedIndex:
    """Join the blocks of one segment, given in term order."""
    if not of_blocks:
        return InvertedIndex([], np.empty(0, np.int64), np.empty(0, "<u2"), np.empty(0, np.uint8))
    return InvertedIndex(
        list(chain.from_iterable(block.terms for block in of_blocks)),
        np.concatenate([block.counts for block in of_blocks]),
        np.concatenate([block.documents for block in of_blocks]),
        np.concatenate([block.weights for block in of_blocks]),
    )


def find(postings: InvertedIndex, term: str) -> tuple[Array, Array]:
    """Return the documents and the weights of a term; both are empty where it does not occur."""
    at = bisect_left(postings.terms, term)
    if at == len(postings.terms) or postings.terms[at] != term:
        return postings.documents[:0], postings.weights[:0]
    begin = int(postings.counts[:at].sum())
    end = begin + int(postings.counts[at])
    return postings.documents[begin:end], postings.weights[begin:end]


def is_in_sorted(documents: Array, ascending: Array) -> NDArray[np.bool_]:
    """Return a mask: which of these documents are in an ascending array."""
    if not len(ascending):
        return np.zeros(len(documents), np.bool_)
    wanted = documents.astype(ascending.dtype)  # the shorter array: else numpy would convert the longer one
    mask: NDArray[np.bool_] = ascending.take(np.searchsorted(ascending, wanted), mode="clip") == wanted
    return mask


def idf(documents: int, frequency: int) -> float:
    """Return BM25's inverse document frequency of a term that `frequency` documents contain; never negative."""
    return math.log(1 + (documents - frequency + 0.5) / (frequency + 0.5))


def _starts(counts: Array) -> Array:
    """Return the offset of each term's first posting."""
    starts: Array = np.cumsum(counts) - counts
    return starts


def _split(vocabulary: str) -> list[str]:
    return vocabulary.split(_SEPARATOR) if vocabulary else []
