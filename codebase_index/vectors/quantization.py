"""Quantization of vectors to two bits a dimension (RaBitQ): finds candidates before full vectors are read. Pure.

After RaBitQ (Gao and Long, SIGMOD 2024, https://arxiv.org/abs/2405.12497) and its extension to several bits (Gao
and others, SIGMOD 2025, https://arxiv.org/abs/2409.09913). A vector `o` is encoded as its residual `o - c`, where
`c` is the *centroid* of the model's vectors: the inner product of `c` with a query is the same for all vectors, so
a search does not need it. The residual is rotated, and each component quantized to -3, -1, 1 or 3: its sign, and
whether it is *large*. A *scale* per vector turns the inner product of the quantized components with a query into
an estimate of that of the residual. The rotation, a Hadamard matrix after fixed sign flips, spreads the energy
that a model puts into a few dimensions.

A query is answered in two steps, since a popcount handles 64 dimensions in a few cycles: its signs alone select
some percent of the vectors as candidates, and its components, quantized to 16 levels, estimate these.
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
"""Bits to which the components of a query are quantized. Three lose two percent of recall, five gain none."""

MIN_CANDIDATES: Final = 10_000
CANDIDATE_DIVISOR: Final = 50
"""The first step leaves about this many candidates, or one in CANDIDATE_DIVISOR. Fewer would lose near ones."""

_SAMPLE: Final = 8_192
"""Similarities that are sorted to estimate the threshold of the first step."""

ESTIMATE_OFFSET: Final = 2.0
"""Added to every estimate to make it positive: an inner product of unit vectors is at least -1."""

Array = NDArray[Any]


@dataclass(frozen=True)
class QuantizedVectors:
    """n quantized vectors: `signs` and `large` are uint64 of shape (words, n), `scales` float32 of shape (n,)."""

    signs: Array
    large: Array
    scales: Array

    def __len__(self) -> int:
        return len(self.scales)

    @property
    def nbytes(self) -> int:
        """Size of the arrays in bytes."""
        return self.signs.nbytes + self.large.nbytes + self.scales.nbytes

    def select(self, chosen: Array | slice) -> "QuantizedVectors":
        """Return some of the vectors, given by a mask or a slice."""
        return QuantizedVectors(self.signs[:, chosen], self.large[:, chosen], self.scales[chosen])

    def take(self, places: NDArray[np.intp]) -> "QuantizedVectors":
        """Return the vectors at these positions: several times as fast as `select`."""
        return QuantizedVectors(
            self.signs.take(places, axis=1), self.large.take(places, axis=1), self.scales.take(places)
        )


def encode(vectors: NDArray[np.float32], centroid: NDArray[np.float32] | None = None) -> QuantizedVectors:
    """Quantize vectors of shape (n, dimension) relative to `centroid` of shape (dimension,); None: to 0."""
    about = _rotate(vectors if centroid is None else vectors - centroid)
    sizes = np.abs(about)
    squares = np.einsum("ij,ij->i", about, about)
    large = sizes > np.sqrt(squares / about.shape[1])[:, None]
    products = sizes.sum(axis=1) + 2 * np.einsum("ij,ij->i", sizes, large)
    scales = np.divide(squares, products, out=np.zeros(len(about), np.float32), where=products > 0)
    return QuantizedVectors(_words(about > 0), _words(large), scales)


def to_bytes(quantized: QuantizedVectors) -> bytes:
    """Serialize quantized vectors; scales become float16."""
    return b"".join(
        (quantized.signs.tobytes(), quantized.large.tobytes(), quantized.scales.astype("<f2").tobytes())
    )


def word_count(dimension: int) -> int:
    """Return the number of 64-bit words for the signs of a vector of this dimension."""
    return -(-dimension // _WORD_BITS)


def from_bytes(data: bytes, count: int) -> QuantizedVectors:
    """Read the `count` quantized vectors that `to_bytes` wrote. Raises ValueError for data of another length."""
    if count and (len(data) < 2 * count or (len(data) - 2 * count) % (16 * count)):
        raise ValueError(f"{len(data)} bytes cannot be {count} quantized vectors")
    numbers = (len(data) - 2 * count) // 8
    signs, large = np.frombuffer(data, "<u8", numbers).reshape(2, numbers // max(2 * count, 1), count)
    return QuantizedVectors(signs, large, np.frombuffer(data, "<f2", count, 8 * numbers).astype(np.float32))


def check(data: bytes, count: int, dimension: int) -> None:
    """Check that these are `count` quantized vectors, as to_bytes() writes them. Raises ValueError."""
    if len(data) != count * (2 * word_count(dimension) * _WORD_BITS // 8 + 2):
        raise ValueError(f"{len(data)} bytes are not {count} quantized vectors of {dimension} dimensions")
    if not np.isfinite(np.frombuffer(data, "<f2", count, len(data) - 2 * count)).all():
        raise ValueError("a scale is not finite")


def empty(count: int) -> QuantizedVectors:
    """Return `count` quantized vectors of dimension 0, which match no query."""
    return QuantizedVectors(np.empty((0, count), "<u8"), np.empty((0, count), "<u8"), np.zeros(count, np.float32))


def join(parts: Sequence[QuantizedVectors]) -> QuantizedVectors:
    """Concatenate quantized vectors of one dimension."""
    if len(parts) == 1:
        return parts[0]
    return QuantizedVectors(
        np.concatenate([part.signs for part in parts], axis=1),
        np.concatenate([part.large for part in parts], axis=1),
        np.concatenate([part.scales for part in parts]),
    )


class EncodedQuery:
    """A query's vector, encoded for comparison with quantized vectors."""

    def __init__(self, vector: NDArray[np.float32]) -> None:
        vector = _rotate(vector[None])[0]
        self._signs = _words(vector[None] > 0)[:, 0]
        self._lowest = float(vector.min())
        self._step = (float(vector.max()) - self._lowest) / ((1 << _PLANES) - 1)
        steps = np.rint((vector - self._lowest) / (self._step or 1)).astype(np.uint8)
        self._planes = [_words((steps >> bit & 1)[None] > 0)[:, 0] for bit in range(_PLANES)]
        self._sum = float(vector.sum())

    @property
    def words(self) -> int:
        """Number of words of the quantized vectors that it can be compared with."""
        return len(self._signs)

    def estimates(
        self,
        parts: Sequence[QuantizedVectors],
        allowed: NDArray[np.bool_] | None = None,
        *,
        exhaustive: bool = False,
    ) -> tuple[NDArray[np.intp], Array]:
        """Estimate the inner product with each candidate, up to a constant, as a positive number.

        Returns (positions, estimates): the positions run through all parts, ascending. `allowed` is a mask through
        all parts; None: all. Vectors that are too far away to be among the nearest are left out, unless
        `exhaustive`.
        """
        count = sum(map(len, parts)) if allowed is None else int(np.count_nonzero(allowed))
        limit = count if exhaustive else max(MIN_CANDIDATES, count // CANDIDATE_DIVISOR)
        if count <= limit:
            places = np.arange(count) if allowed is None else np.flatnonzero(allowed)
        else:
            similarity = self._sign_similarity(parts)
            if allowed is not None:
                similarity[~allowed] = -np.inf
            sample = (similarity if allowed is None else similarity[allowed])[:: max(1, count // _SAMPLE)]
            rank = int(len(sample) * (1 - limit / count))
            places = np.flatnonzero(similarity >= np.partition(sample, rank)[rank])
        if len(places) < sum(map(len, parts)):
            return places, self._estimate(_take(parts, places))
        return places, np.concatenate([np.empty(0, np.float32), *map(self._estimate, parts)])

    def _sign_similarity(self, parts: Sequence[QuantizedVectors]) -> Array:
        """Score vectors by the number of signs they share with the query."""
        similarity = np.empty(sum(map(len, parts)), np.float32)
        begin = 0
        for quantized in parts:
            differing: Array = np.bitwise_count(quantized.signs[0] ^ self._signs[0]).astype(np.int16)
            for word, signs in zip(quantized.signs[1:], self._signs[1:], strict=True):
                differing += np.bitwise_count(word ^ signs)
            of_part = similarity[begin : begin + len(quantized)]
            np.multiply(quantized.scales, _WORD_BITS * len(quantized.signs) - 2 * differing, out=of_part)
            begin += len(quantized)
        return similarity

    def _estimate(self, quantized: QuantizedVectors) -> Array:
        positive, large, both = self._sums(
            np.stack([quantized.signs, quantized.large, quantized.signs & quantized.large])
        )
        products = (2 * positive - self._sum) + 2 * (2 * both - large)
        estimates: Array = quantized.scales * products + np.float32(ESTIMATE_OFFSET)
        return estimates

    def _sums(self, words: Array) -> Array:
        """Sum the query's components where bits are set: (kinds, words, n) to float32 of shape (kinds, n)."""
        bits = np.bitwise_count(words).sum(axis=1, dtype=np.int32)
        steps = np.zeros_like(bits)
        for bit, plane in enumerate(self._planes):
            steps += np.bitwise_count(words & plane[:, None]).sum(axis=1, dtype=np.int32) << bit
        sums: Array = np.float32(self._lowest) * bits + np.float32(self._step) * steps
        return sums.astype(np.float32)


def _take(parts: Sequence[QuantizedVectors], places: NDArray[np.intp]) -> QuantizedVectors:
    """Return the vectors at these positions, ascending, which run through all parts; joined, since they are few.

    Each of some sixty numpy calls has a fixed cost of microseconds.
    """
    ends = np.cumsum([len(part) for part in parts])
    cuts = pairwise([0, *np.searchsorted(places, ends)])
    return join([
        part.take(places[low:high] - (end - len(part)))
        for part, end, (low, high) in zip(parts, ends, cuts, strict=True)
    ])  # fmt: skip


def _rotate(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rotate vectors, padded with zeros to whole words: an orthogonal transformation."""
    missing = -vectors.shape[1] % _WORD_BITS
    padded = np.pad(vectors, ((0, 0), (0, missing))) if missing else vectors
    flips, matrix = _rotation(padded.shape[1])
    runs: Array = (padded * flips).reshape(-1, len(matrix)) @ matrix
    return runs.reshape(padded.shape)


@cache
def _rotation(dimension: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the sign flips, and the matrix that is applied to each block of as many components as it has rows."""
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
