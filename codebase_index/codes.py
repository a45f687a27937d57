"""Vectors in one bit a dimension, by which the nearest are found before their exact distances are read. Pure.

RaBitQ (Gao and Long, SIGMOD 2024, https://arxiv.org/abs/2405.12497). A vector `o` is kept as the signs of `o - c`,
rotated, where `c` is a *centre* that all vectors of a model share, and a *scale*: the number by which the inner
product of those signs with a query has to be multiplied to estimate that of `o - c`. The centre's own inner
product is the same for all of them and changes no order, so that whoever asks needs no centre. The rotation
spreads what a model puts into a few large dimensions; it is a Hadamard matrix after fixed flips of signs.

Two steps, because counting bits is a few cycles for 64 dimensions: the signs of the query choose some percent, and
its numbers, rounded to 16 steps, estimate those.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import shake_256
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

_WORD_BITS: Final = 64
_PLANES: Final = 4
"""Bits to which the numbers of a query are rounded. Three find two percent less, five no more."""

LEAST_CHOSEN: Final = 10_000
CHOSEN_SHARE: Final = 50
"""Vectors that the first step leaves, at least: so many, and one of so many. It loses 2 % of the nearest."""

_SAMPLE: Final = 8_192
"""Distances that are sorted to learn how near the nearest are."""

ABOVE_ZERO: Final = 2.0
"""Added to every estimate, which thereby is above 0: an inner product of unit vectors is at least -1."""

Array = NDArray[Any]


@dataclass(frozen=True)
class Codes:
    """The codes of some vectors: `words` is uint64 of shape (words, n), `scales` float16 of shape (n,)."""

    words: Array
    scales: Array

    def __len__(self) -> int:
        return len(self.scales)

    @property
    def nbytes(self) -> int:
        """Bytes of both."""
        return self.words.nbytes + self.scales.nbytes

    def of(self, chosen: Array | slice) -> "Codes":
        """Return those of some vectors, given by a mask, by their places or by a range of these."""
        return Codes(np.ascontiguousarray(self.words[:, chosen]), self.scales[chosen])


def encode(vectors: NDArray[np.float32], centre: NDArray[np.float32] | None = None) -> Codes:
    """Encode vectors of shape (n, dimension), about `centre` of shape (dimension,); None: about 0."""
    about = _rotated(vectors if centre is None else vectors - centre)
    lengths = np.abs(about).sum(axis=1)
    squares = np.einsum("ij,ij->i", about, about)
    scales = np.divide(squares, lengths, out=np.zeros(len(about), np.float32), where=lengths > 0)
    return Codes(_words(about > 0), scales.astype("<f2"))


def to_bytes(codes: Codes) -> bytes:
    """Return codes as they are stored."""
    return codes.words.astype("<u8", copy=False).tobytes() + codes.scales.astype("<f2", copy=False).tobytes()


def from_bytes(data: bytes, count: int) -> Codes:
    """Return the `count` codes that `to_bytes` wrote."""
    words = np.frombuffer(data, "<u8", (len(data) - 2 * count) // 8)
    scales = np.frombuffer(data, "<f2", count, words.nbytes)
    return Codes(words.reshape(len(words) // max(count, 1), count), scales)


def join(parts: Sequence[Codes]) -> Codes:
    """Put the codes of vectors of one dimension one after another."""
    if len(parts) == 1:
        return parts[0]
    return Codes(np.concatenate([p.words for p in parts], axis=1), np.concatenate([p.scales for p in parts]))


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

    def estimates(self, parts: Sequence[Codes], *, all_of_them: bool = False) -> list[Array]:
        """Estimate the inner product with each vector of each part, up to a constant, as numbers above 0.

        0 for those that are too far away to be among the nearest, unless it is asked for all of them. The parts
        together are what the nearest are sought in.
        """
        total = sum(map(len, parts))
        most = max(LEAST_CHOSEN, total // CHOSEN_SHARE)
        if all_of_them or total <= most:
            return [self._estimated(part) for part in parts]
        distances = [self._distances(part) for part in parts]
        step = max(1, total // _SAMPLE)
        sample = np.concatenate([of_part[::step] for of_part in distances])
        farthest = np.partition(sample, rank := most * len(sample) // total)[rank]
        found = []
        for part, of_part in zip(parts, distances, strict=True):
            estimates = np.zeros(len(part), np.float32)
            near = np.flatnonzero(of_part <= farthest)
            estimates[near] = self._estimated(part.of(near))
            found.append(estimates)
        return found

    def _distances(self, codes: Codes) -> Array:
        """Count the signs that differ."""
        differing: Array = np.bitwise_count(codes.words[0] ^ self._signs[0]).astype(np.uint16)
        for word, signs in zip(codes.words[1:], self._signs[1:], strict=True):
            differing += np.bitwise_count(word ^ signs)
        return differing

    def _estimated(self, codes: Codes) -> Array:
        steps = np.zeros(len(codes), np.int32)  # of the query's numbers where the vector's sign is positive
        positive = np.zeros(len(codes), np.int32)
        for i, word in enumerate(codes.words):
            positive += np.bitwise_count(word)
            for bit, plane in enumerate(self._planes):
                steps += np.bitwise_count(word & plane[i]).astype(np.int32) << bit
        products = 2 * (self._lowest * positive.astype(np.float32) + self._step * steps) - self._sum
        estimates: Array = (codes.scales * products + ABOVE_ZERO).astype(np.float32)
        return estimates


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
