"""Vectors in two bits a dimension, by which the nearest are found before their exact distances are read. Pure.

After RaBitQ (Gao and Long, SIGMOD 2024, https://arxiv.org/abs/2405.12497) and its extension to several bits (Gao
and others, SIGMOD 2025, https://arxiv.org/abs/2409.09913). Of a vector `o` it is `o - c` that counts, where `c` is
a *centre* that all vectors of a model share: its own inner product with a query is the same for all of them, so
that whoever asks needs no centre. `o - c` is rotated, and each number kept as one of -3, -1, 1 and 3: its sign,
and whether it is a *large* one. A *scale* goes with it, by which the inner product of these small numbers with a
query has to be multiplied to estimate that of `o - c`. The rotation spreads what a model puts into a few large
dimensions; it is a Hadamard matrix after fixed flips of signs.

A query looks in two steps, because counting bits is a few cycles for 64 dimensions: its signs alone choose some
percent, and its numbers, rounded to 16 steps, estimate those.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import shake_256
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

_WORD_BITS: Final = 64
_PLANES: Final = 4
"""Bits to which the numbers of a query are rounded. Three find two percent less, five no more."""

LEAST_CHOSEN: Final = 10_000
CHOSEN_SHARE: Final = 50
"""Vectors that the first step leaves, about: so many, or one of so many. It loses 3 % of the nearest."""

_SAMPLE: Final = 8_192
"""Distances that are sorted to learn how near the nearest are."""

ABOVE_ZERO: Final = 2.0
"""Added to every estimate, which thereby is above 0: an inner product of unit vectors is at least -1."""

Array = NDArray[Any]


@dataclass(frozen=True)
class Codes:
    """The codes of n vectors: `signs` and `large` are uint64 of shape (words, n), `scales` float32 of (n,)."""

    signs: Array
    large: Array
    scales: Array

    def __len__(self) -> int:
        return len(self.scales)

    @property
    def nbytes(self) -> int:
        """Bytes of all."""
        return self.signs.nbytes + self.large.nbytes + self.scales.nbytes

    def of(self, chosen: Array | slice) -> "Codes":
        """Return those of some vectors, given by a mask or by a range of places."""
        return Codes(self.signs[:, chosen], self.large[:, chosen], self.scales[chosen])

    def at(self, places: NDArray[np.intp]) -> "Codes":
        """Return those at some places: `take` is several times as fast as an index."""
        return Codes(self.signs.take(places, axis=1), self.large.take(places, axis=1), self.scales.take(places))


def encode(vectors: NDArray[np.float32], centre: NDArray[np.float32] | None = None) -> Codes:
    """Encode vectors of shape (n, dimension), about `centre` of shape (dimension,); None: about 0."""
    about = _rotated(vectors if centre is None else vectors - centre)
    sizes = np.abs(about)
    squares = np.einsum("ij,ij->i", about, about)
    large = sizes > np.sqrt(squares / about.shape[1])[:, None]
    products = sizes.sum(axis=1) + 2 * np.einsum("ij,ij->i", sizes, large)
    scales = np.divide(squares, products, out=np.zeros(len(about), np.float32), where=products > 0)
    return Codes(_words(about > 0), _words(large), scales)


def to_bytes(codes: Codes) -> bytes:
    """Return codes as they are stored: the scales as float16."""
    return b"".join((codes.signs.tobytes(), codes.large.tobytes(), codes.scales.astype("<f2").tobytes()))


def words_of(dimension: int) -> int:
    """Return how many words the signs of a vector of this length take."""
    return -(-dimension // _WORD_BITS)


def from_bytes(data: bytes, count: int) -> Codes:
    """Return the `count` codes that `to_bytes` wrote. Raises ValueError for data of another length."""
    if count and (len(data) < 2 * count or (len(data) - 2 * count) % (16 * count)):
        raise ValueError(f"{len(data)} bytes are not the codes of {count} vectors")
    numbers = (len(data) - 2 * count) // 8
    signs, large = np.frombuffer(data, "<u8", numbers).reshape(2, numbers // max(2 * count, 1), count)
    return Codes(signs, large, np.frombuffer(data, "<f2", count, 8 * numbers).astype(np.float32))


def none(count: int) -> Codes:
    """Return the codes of `count` vectors of no dimension, which are compared with no query."""
    return Codes(np.empty((0, count), "<u8"), np.empty((0, count), "<u8"), np.zeros(count, np.float32))


def join(parts: Sequence[Codes]) -> Codes:
    """Put the codes of vectors of one dimension one after another."""
    if len(parts) == 1:
        return parts[0]
    return Codes(
        np.concatenate([part.signs for part in parts], axis=1),
        np.concatenate([part.large for part in parts], axis=1),
        np.concatenate([part.scales for part in parts]),
    )


class Asked:
    """A query's vector, as codes are compared with it."""

    def __init__(self, vector: NDArray[np.float32]) -> None:
        vector = _rotated(vector[None])[0]
        self._signs = _words(vector[None] > 0)[:, 0]
        self._lowest = float(vector.min())
        self._step = (float(vector.max()) - self._lowest) / ((1 << _PLANES) - 1)
        steps = np.rint((vector - self._lowest) / (self._step or 1)).astype(np.uint8)
        self._planes = [_words((steps >> bit & 1)[None] > 0)[:, 0] for bit in range(_PLANES)]
        self._sum = float(vector.sum())

    @property
    def words(self) -> int:
        """How many words the codes have that can be compared with it."""
        return len(self._signs)

    def estimates(
        self, parts: Sequence[Codes], allowed: NDArray[np.bool_] | None = None, *, every_one: bool = False
    ) -> tuple[NDArray[np.intp], Array]:
        """Estimate the inner product with each vector that may be near, up to a constant, as a number above 0.

        As (places, estimates), the places counted through all parts, ascending, of vectors that are `allowed`, a
        mask through all parts; None: all are. Left out are those that are too far away to be among the nearest,
        except where `every_one` is asked for.
        """
        count = sum(map(len, parts)) if allowed is None else int(np.count_nonzero(allowed))
        most = count if every_one else max(LEAST_CHOSEN, count // CHOSEN_SHARE)
        if count <= most:
            places = np.arange(count) if allowed is None else np.flatnonzero(allowed)
        else:
            rough = self._rough(parts)
            if allowed is not None:
                rough[~allowed] = -np.inf
            sample = (rough if allowed is None else rough[allowed])[:: max(1, count // _SAMPLE)]
            rank = int(len(sample) * (1 - most / count))
            places = np.flatnonzero(rough >= np.partition(sample, rank)[rank])
        if len(places) < sum(map(len, parts)):
            return places, self._estimated(_at(parts, places))
        return places, np.concatenate([np.empty(0, np.float32), *map(self._estimated, parts)])

    def _rough(self, parts: Sequence[Codes]) -> Array:
        """Rank vectors by the signs that they have in common with the query."""
        rough = np.empty(sum(map(len, parts)), np.float32)
        begin = 0
        for codes in parts:
            differing: Array = np.bitwise_count(codes.signs[0] ^ self._signs[0]).astype(np.int16)
            for word, signs in zip(codes.signs[1:], self._signs[1:], strict=True):
                differing += np.bitwise_count(word ^ signs)
            of_part = rough[begin : begin + len(codes)]
            np.multiply(codes.scales, _WORD_BITS * len(codes.signs) - 2 * differing, out=of_part)
            begin += len(codes)
        return rough

    def _estimated(self, codes: Codes) -> Array:
        positive, large, both = self._sums(np.stack([codes.signs, codes.large, codes.signs & codes.large]))
        products = (2 * positive - self._sum) + 2 * (2 * both - large)
        estimates: Array = codes.scales * products + np.float32(ABOVE_ZERO)
        return estimates

    def _sums(self, words: Array) -> Array:
        """Add up the query's numbers where bits are set: of (kinds, words, n), as float32 of (kinds, n)."""
        bits = np.bitwise_count(words).sum(axis=1, dtype=np.int32)
        steps = np.zeros_like(bits)
        for bit, plane in enumerate(self._planes):
            steps += np.bitwise_count(words & plane[:, None]).sum(axis=1, dtype=np.int32) << bit
        sums: Array = np.float32(self._lowest) * bits + np.float32(self._step) * steps
        return sums.astype(np.float32)


def _at(parts: Sequence[Codes], places: NDArray[np.intp]) -> Codes:
    """Return the codes at some places, ascending, counted through all parts: together, since there are few.

    Each of some sixty steps with them costs microseconds to begin.
    """
    ends = np.cumsum([len(part) for part in parts])
    cuts = pairwise([0, *np.searchsorted(places, ends)])
    return join([
        part.at(places[low:high] - (end - len(part)))
        for part, end, (low, high) in zip(parts, ends, cuts, strict=True)
    ])  # fmt: skip


def _rotated(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rotate vectors, padded with zeros to whole words: an orthogonal map."""
    missing = -vectors.shape[1] % _WORD_BITS
    padded = np.pad(vectors, ((0, 0), (0, missing))) if missing else vectors
    flips, matrix = _rotation(padded.shape[1])
    runs: Array = (padded * flips).reshape(-1, len(matrix)) @ matrix
    return runs.reshape(padded.shape)


@cache
def _rotation(dimension: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the flips of signs, and the matrix for each run of as many numbers as it has rows."""
    bits = np.frombuffer(shake_256(b"codes").digest(dimension // 8), np.uint8)
    flips = np.where(np.unpackbits(bits), np.float32(1), np.float32(-1))
    matrix: Array = np.ones((1, 1), np.float32)  # Sylvester's construction
    while dimension % (2 * len(matrix)) == 0:
        matrix = np.block([[matrix, matrix], [matrix, -matrix]])
    return flips, (matrix / np.sqrt(len(matrix))).astype(np.float32)


def _words(bits: NDArray[np.bool_]) -> Array:
    """Pack bits of shape (n, dimension) into words of shape (words, n)."""
    words: Array = np.ascontiguousarray(np.packbits(bits, axis=1, bitorder="little").view("<u8").T)
    return words
