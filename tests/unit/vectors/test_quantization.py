"""Codes of vectors: what they cost, what they estimate, and that they survive being stored and put together."""

from hashlib import sha256

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codebase_index.vectors import quantization
from codebase_index.vectors.centroid import SNIPPETS
from codebase_index.vectors.quantization import ESTIMATE_OFFSET, EncodedQuery


def vectors(count: int, dimension: int = 256, seed: int = 0, about: float = 0.0) -> np.ndarray:
    """Unit vectors in all directions, or about one of them."""
    found = np.random.default_rng(seed).normal(size=(count, dimension)).astype(np.float32)
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    found[:, 0] += about
    return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True))


def estimates(query: np.ndarray, of: np.ndarray, centroid: np.ndarray | None = None) -> np.ndarray:
    return EncodedQuery(query).estimates([quantization.encode(of, centroid)], exhaustive=True)[1]


def test_a_code_is_two_bits_a_dimension_and_two_bytes() -> None:
    assert len(quantization.to_bytes(quantization.encode(vectors(10)))) == 10 * (256 // 4 + 2)
    assert len(quantization.to_bytes(quantization.encode(vectors(10, 65)))) == 10 * (128 // 4 + 2)


@given(st.integers(1, 9), st.integers(1, 200), st.integers(0, 5), st.data())
def test_codes_survive_being_stored_chosen_and_joined(
    count: int, dimension: int, seed: int, data: st.DataObject
) -> None:
    all_of_them = quantization.encode(vectors(count, dimension, seed))
    stored = quantization.from_bytes(quantization.to_bytes(all_of_them), count)
    cut = data.draw(st.integers(0, count))
    joined = quantization.join([stored.select(slice(0, cut)), stored.select(np.arange(count) >= cut)])
    assert quantization.to_bytes(joined) == quantization.to_bytes(all_of_them)


@pytest.mark.parametrize("dimension", [256, 100, 768])
@pytest.mark.parametrize("about", [0.0, 1.0])
def test_estimates_are_the_inner_products_up_to_a_constant(dimension: int, about: float) -> None:
    known, query = vectors(2_000, dimension, about=about), vectors(1, dimension, seed=7, about=about)[0]
    centroid = known.mean(axis=0)
    off = estimates(query, known, centroid) - ESTIMATE_OFFSET - (known - centroid) @ query
    # The error falls with the root of the dimension (theorem 3.2 of RaBitQ's paper); the second bit halves it.
    assert np.sqrt((off**2).mean()) < 0.5 / np.sqrt(dimension)


def test_without_their_centre_vectors_that_point_one_way_are_told_apart_less_well() -> None:
    known, query = vectors(2_000, about=1.5), vectors(1, seed=7, about=1.5)[0]
    products = known @ query

    def correlation(centroid: np.ndarray | None) -> float:
        return float(np.corrcoef(estimates(query, known, centroid), products)[0, 1])

    assert correlation(known.mean(axis=0)) > correlation(None) + 0.02


def test_the_nearest_are_among_those_that_are_chosen_from_many() -> None:
    known, query = vectors(60_000), vectors(1, seed=7)[0]
    encoded = quantization.encode(known)
    parts = [encoded.select(slice(0, 25_000)), encoded.select(slice(25_000, 60_000))]
    places, found = EncodedQuery(query).estimates(parts)
    chosen = len(places) / quantization.MIN_CANDIDATES
    assert 0.9 < chosen < 1.5  # a sample tells where to cut
    every, everything = EncodedQuery(query).estimates(parts, exhaustive=True)
    assert np.array_equal(every, np.arange(60_000))
    assert np.array_equal(found, everything[places])
    nearest = np.argsort(-(known @ query))[:70]
    assert len(np.intersect1d(nearest, places)) >= 65


@pytest.mark.parametrize("few", [50, 3], ids=["few of which are left out", "of which all are estimated"])
def test_only_those_that_are_allowed_are_estimated(few: int) -> None:
    known, query = vectors(60_000), vectors(1, seed=7)[0]
    encoded = quantization.encode(known)
    parts = [encoded.select(slice(0, 25_000)), encoded.select(slice(25_000, 60_000))]
    allowed = np.random.default_rng(3).random(60_000) < few / 100
    places, found = EncodedQuery(query).estimates(parts, allowed)
    assert allowed[places].all()
    assert len(places) == min(allowed.sum(), len(places))
    assert np.array_equal(found, EncodedQuery(query).estimates(parts, exhaustive=True)[1][places])
    nearest = np.argsort(np.where(allowed, -(known @ query), np.inf))[:70]
    assert len(np.intersect1d(nearest, places)) >= 65


def test_codes_that_indexes_hold_stay_comparable() -> None:
    """When one of these changes, so must CHUNKER_VERSION: what was encoded before is encoded anew then."""
    whole = (np.arange(20 * 192) * 7 % 19 - 9).reshape(20, 192).astype(np.float32)  # no sum is rounded
    assert sha256(quantization.encode(whole).signs.tobytes()).hexdigest()[:16] == "cd4f84c8144f7672"
    assert sha256("".join(SNIPPETS).encode()).hexdigest()[:16] == "b2f33b876fd600fc"


def test_vectors_without_direction_are_far_from_nothing() -> None:
    """The centroid itself has no signs, and a query may have the same number everywhere."""
    known = vectors(3)
    assert np.isfinite(estimates(known[0], np.concatenate([known, known[:1]]), known[0])).all()
    assert np.isfinite(estimates(np.full(256, 1 / 16, np.float32), known)).all()
    assert [len(found) for found in EncodedQuery(known[0]).estimates([])] == [0, 0]
