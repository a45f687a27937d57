"""Packed postings: which chunks hold a term and how much that says, in numpy arrays. Pure.

The indexer's workers count the terms of a batch and write that down as one *encoded* part (`encode`). Parts are
merged, their frequencies become BM25 impacts, and the result is cut into *blocks* of neighbouring terms: a
*segment*. Search adds up the impacts of a query's terms, times each term's inverse document frequency, over
segments and over the parts that are in no segment yet: a chunk scores the same wherever its terms are.

A *document* is a chunk's place in its part or segment, counted from 0. All numbers are stored little-endian.
"""

import math
import struct
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

MAX_DOCUMENTS: Final = 1 << 16
"""Documents of a part or segment: their numbers are stored in two bytes."""

MAX_FREQUENCY: Final = 255
"""Frequencies are stored in one byte; above it they change no ranking."""

BLOCK_BYTES: Final = 1_000
"""About the size of a block: seven or eight to a page of Postgres, so that little of it is left empty. A term
whose own postings are longer has a block to itself."""

K1: Final = 1.5
B: Final = 0.75
"""BM25's saturation and length normalisation, as in Robertson and Zaragoza, Foundations and Trends 3(4), 2009."""

IMPACT_SCALE: Final = 100
"""Impacts of one term: 250 is BM25's limit for endless repetition, K1 + 1, times this."""

_DENSE: Final = 8
"""A term that is in more than one of so many documents is added up faster over all of them than one by one."""

_MAX_IMPACT: Final = round(IMPACT_SCALE * (K1 + 1))
_SEPARATOR: Final = "\n"  # occurs in no term: terms are letters, digits, marks and underscores
_HEADER: Final = struct.Struct("<III")

Array = NDArray[Any]


@dataclass(frozen=True)
class Encoded:
    """The terms of a batch's chunks as they are stored: `vocabulary` has a term a line, `payload` the numbers.

    `total_length` is the sum of all frequencies.
    """

    chunks: int
    total_length: int
    vocabulary: str
    payload: bytes


@dataclass(frozen=True)
class Occurrences:
    """The terms of `documents` documents, each as often as it occurs.

    Occurrence `i` is that of the term ``names[terms[i]]`` in the document ``of[i]``; `names` may hold others, too.
    """

    documents: int
    of: Array
    terms: Array
    names: Sequence[str]


@dataclass(frozen=True)
class Inverted:
    """Postings in memory. For each term of `terms` (sorted), its documents, ascending, one term after another.

    `counts` says how many documents a term has, shape (terms,); `documents` and `weights`, of shape (postings,),
    which they are, and the term's frequency (in a part) or impact (in a segment) there, 1 to 255.
    """

    terms: Sequence[str]
    counts: Array
    documents: Array
    weights: Array


@dataclass(frozen=True)
class Part:
    """A decoded batch; `lengths` is the sum of the frequencies of each document."""

    postings: Inverted
    lengths: Array


class Lookup:
    """Postings that are asked for term after term: a dictionary answers in a tenth of a bisection's time."""

    def __init__(self, held: Inverted) -> None:
        self._number = {term: number for number, term in enumerate(held.terms)}
        self._ends = np.append(0, np.cumsum(held.counts)).astype(np.uint32)
        self._documents = held.documents
        self._weights = held.weights

    def find(self, term: str) -> tuple[Array, Array] | None:
        """Return the documents of a term, ascending, and its weights there; None where it does not occur."""
        if (number := self._number.get(term)) is None:
            return None
        begin, end = self._ends[number], self._ends[number + 1]
        return self._documents[begin:end], self._weights[begin:end]


@dataclass(frozen=True)
class Block:
    """Some neighbouring terms of a segment, as they are stored."""

    first_term: str
    terms: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class Held:
    """Where a term is in a segment, ready to be added up.

    `impacts` has one for each of `documents`; for a term in many of them one for every document of the segment, 0
    where the term is not, and `documents` is None.
    """

    count: int
    documents: Array | None
    impacts: Array

    @classmethod
    def of(cls, documents: Array, impacts: Array, size: int) -> "Held":
        """Take what a block says of a term, in a segment of `size` documents."""
        if len(documents) * _DENSE < size:
            return cls(len(documents), documents.copy(), impacts.copy())  # without the rest of the block
        every = np.zeros(size, np.uint8)
        every[documents] = impacts
        return cls(len(documents), None, every)

    @property
    def nbytes(self) -> int:
        """Bytes of the numbers."""
        return self.impacts.nbytes + (0 if self.documents is None else self.documents.nbytes)

    def add_to(self, scores: Array, weight: float) -> None:
        """Add the impacts, times a weight, to the scores of the segment's documents."""
        added = np.float32(weight) * self.impacts
        if self.documents is None:
            scores += added
        else:
            # As wide as pointers: numpy would widen them anyhow, in a slower way.
            scores[self.documents.astype(np.intp)] += added

    def holding(self, documents: Array) -> NDArray[np.bool_]:
        """Say of each of some documents of the segment whether the term is in it."""
        return self.impacts.take(documents) > 0 if self.documents is None else among(documents, self.documents)


NOWHERE: Final = Held(0, np.empty(0, "<u2"), np.empty(0, np.uint8))


def encode(occurrences: Occurrences) -> Encoded:
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
    return Encoded(size, len(pairs), _SEPARATOR.join(terms), payload)


def _ranked(occurrences: Occurrences) -> tuple[list[str], Array]:
    """Return the terms that occur, sorted, and for the number of each its place among them."""
    names = occurrences.names
    present = np.flatnonzero(np.bincount(occurrences.terms, minlength=len(names)))
    in_order = sorted(present.tolist(), key=names.__getitem__)
    rank = np.zeros(len(names), np.int64)
    rank[in_order] = np.arange(len(in_order))
    return [names[number] for number in in_order], rank


def decode(vocabulary: str, payload: bytes) -> Part:
    """Return what `encode` was given, inverted."""
    documents, terms, size = _HEADER.unpack_from(payload)
    at = _HEADER.size
    lengths = np.frombuffer(payload, "<u4", documents, at)
    at += lengths.nbytes
    counts = np.frombuffer(payload, "<u2", terms, at).astype(np.int64) + 1
    at += 2 * terms
    held = np.frombuffer(payload, "<u2", size, at)
    at += held.nbytes
    weights = np.frombuffer(payload, "u1", size, at)
    return Part(Inverted(_split(vocabulary), counts, held, weights), lengths)


def impact(frequencies: Array, lengths: Array, average_length: float) -> Array:
    """Return BM25 without the inverse document frequency, which is not known yet, as whole numbers from 1.

    `lengths` are those of the documents where the term has these frequencies; `average_length` is that of all
    chunks, as far as they are known.
    """
    frequency = frequencies.astype(np.float32)
    norm = (K1 * (1 - B + B * lengths / max(average_length, 1.0))).astype(np.float32)
    found: Array = np.clip(np.rint(_MAX_IMPACT * frequency / (frequency + norm)), 1, _MAX_IMPACT).astype(np.uint8)
    return found


def impacts(part: Part, average_length: float) -> Inverted:
    """Turn the frequencies of a part into impacts."""
    held = part.postings
    weights = impact(held.weights, part.lengths[held.documents], average_length)
    return Inverted(held.terms, held.counts, held.documents, weights)


def merge(parts: Sequence[Inverted], sizes: Sequence[int]) -> Inverted:
    """Put postings together; the documents of each part, `sizes` of them, follow those of the parts before it.

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
    return Inverted(terms, counts, documents, weights)


def without(postings: Inverted, alive: NDArray[np.bool_]) -> Inverted:
    """Leave documents out, and the terms that only they had; the others are numbered anew, in order."""
    kept = alive[postings.documents]
    numbers = np.cumsum(alive) - 1
    of_term = np.repeat(np.arange(len(postings.terms)), postings.counts)
    counts = np.bincount(of_term[kept], minlength=len(postings.terms))
    terms = [term for term, count in zip(postings.terms, counts.tolist(), strict=True) if count]
    documents = numbers[postings.documents[kept]].astype("<u2")
    return Inverted(terms, counts[counts > 0], documents, postings.weights[kept])


def blocks(postings: Inverted) -> Iterator[Block]:
    """Cut a segment into blocks, in the order of their terms."""
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


def read_block(terms: str, payload: bytes) -> Inverted:
    """Return the postings of a block."""
    names = terms.split(_SEPARATOR)
    counts = np.frombuffer(payload, "<u2", len(names)).astype(np.int64) + 1
    at, size = 2 * len(names), int(counts.sum())
    documents = np.frombuffer(payload, "<u2", size, at)
    return Inverted(names, counts, documents, np.frombuffer(payload, "u1", size, at + documents.nbytes))


def join(of_blocks: Sequence[Inverted]) -> Inverted:
    """Put the blocks of one segment together again, given in the order of their terms."""
    if not of_blocks:
        return Inverted([], np.empty(0, np.int64), np.empty(0, "<u2"), np.empty(0, np.uint8))
    return Inverted(
        list(chain.from_iterable(block.terms for block in of_blocks)),
        np.concatenate([block.counts for block in of_blocks]),
        np.concatenate([block.documents for block in of_blocks]),
        np.concatenate([block.weights for block in of_blocks]),
    )


def find(postings: Inverted, term: str) -> tuple[Array, Array]:
    """Return the documents of a term and its weights there; both are empty where it does not occur."""
    at = bisect_left(postings.terms, term)
    if at == len(postings.terms) or postings.terms[at] != term:
        return postings.documents[:0], postings.weights[:0]
    begin = int(postings.counts[:at].sum())
    end = begin + int(postings.counts[at])
    return postings.documents[begin:end], postings.weights[begin:end]


def among(documents: Array, holding: Array) -> NDArray[np.bool_]:
    """Say of each of some documents whether it is among those that hold a term, in ascending order."""
    if not len(holding):
        return np.zeros(len(documents), np.bool_)
    asked = documents.astype(holding.dtype)  # few: else numpy would convert the many
    found: NDArray[np.bool_] = holding.take(np.searchsorted(holding, asked), mode="clip") == asked
    return found


def idf(documents: int, having: int) -> float:
    """Weigh a term by how few of the documents have it: BM25's inverse document frequency, never negative."""
    return math.log(1 + (documents - having + 0.5) / (having + 0.5))


def _starts(counts: Array) -> Array:
    """Return where each term's postings begin."""
    starts: Array = np.cumsum(counts) - counts
    return starts


def _split(vocabulary: str) -> list[str]:
    return vocabulary.split(_SEPARATOR) if vocabulary else []
