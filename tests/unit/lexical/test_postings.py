"""Packed postings: what is written is what is read, and a score does not depend on where a chunk's terms are."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codebase_index.lexical import postings
from codebase_index.lexical.documents import NO_CHUNK, DocIdMap, IdRanges
from codebase_index.lexical.postings import InvertedIndex, PostingList, TermDictionary, TermFrequencies
from codebase_index.lexical.stemming import stem
from tests.support.terms import encode

TERMS = st.text(st.characters(categories=["L", "N", "M"], include_characters="_"), min_size=1, max_size=64)
FEW = ["self", "cart", "carts", "caching", "cache", "tax", "größe", "漢字", "x" * 64]
FEW_TERMS = st.sampled_from(FEW)
CHUNK = st.dictionaries(FEW_TERMS | TERMS, st.integers(1, 300), max_size=20)
BATCH = st.lists(CHUNK, max_size=12)


def part_of(batch: Sequence[dict[str, int]]) -> TermFrequencies:
    encoded = encode(batch)
    return postings.decode(encoded.vocabulary, encoded.payload)


def as_dicts(inverted: InvertedIndex, documents: int) -> list[dict[str, int]]:
    """Turn postings back into what was counted for each document."""
    found: list[dict[str, int]] = [{} for _ in range(documents)]
    for term in inverted.terms:
        for document, weight in zip(*postings.find(inverted, term), strict=True):
            found[document][term] = int(weight)
    return found


def stemmed(chunk: dict[str, int]) -> dict[str, int]:
    """What is counted for a chunk: the sum of the terms of each stem."""
    found: Counter[str] = Counter()
    for term, n in chunk.items():
        found[stem(term)] += n
    return dict(found)


def capped(batch: Sequence[dict[str, int]]) -> list[dict[str, int]]:
    return [{t: min(n, postings.MAX_FREQUENCY) for t, n in stemmed(chunk).items()} for chunk in batch]


@given(BATCH)
def test_a_batch_is_read_as_it_was_written(batch: list[dict[str, int]]) -> None:
    encoded = encode(batch)
    part = postings.decode(encoded.vocabulary, encoded.payload)
    assert as_dicts(part.postings, len(batch)) == capped(batch)
    assert part.lengths.tolist() == [sum(chunk.values()) for chunk in batch]
    assert (encoded.chunks, encoded.total_length) == (len(batch), sum(part.lengths.tolist()))


@given(BATCH, TERMS)
def test_a_dictionary_finds_what_a_bisection_finds(batch: list[dict[str, int]], other: str) -> None:
    inverted = part_of(batch).postings
    lookup = TermDictionary(inverted)
    for term in {*inverted.terms, other, *FEW}:
        places, weights = postings.find(inverted, term)
        found = lookup.find(term)
        assert (found is None) == (len(places) == 0)
        if found is not None:
            assert (found[0].tolist(), found[1].tolist()) == (places.tolist(), weights.tolist())


@given(st.lists(BATCH, max_size=5))
def test_merged_parts_are_the_batches_one_after_another(batches: list[list[dict[str, int]]]) -> None:
    merged = postings.merge([part_of(b).postings for b in batches], [len(b) for b in batches])
    together = [chunk for batch in batches for chunk in batch]
    assert as_dicts(merged, len(together)) == capped(together)
    assert list(merged.terms) == sorted(set().union(*map(stemmed, together)))


@given(BATCH.flatmap(lambda batch: st.tuples(st.just(batch), st.lists(st.booleans(), min_size=len(batch)))))
def test_what_is_dead_is_left_out(case: tuple[list[dict[str, int]], list[bool]]) -> None:
    batch, live = case[0], case[1][: len(case[0])]
    left = [chunk for chunk, lives in zip(batch, live, strict=True) if lives]
    inverted = postings.select_documents(part_of(batch).postings, np.array(live, bool))
    assert as_dicts(inverted, len(left)) == capped(left)
    assert list(inverted.terms) == sorted(set().union(*map(stemmed, left)))


@given(st.lists(BATCH, max_size=5))
def test_blocks_hold_the_segment_in_the_order_of_the_terms(batches: list[list[dict[str, int]]]) -> None:
    merged = postings.merge([part_of(b).postings for b in batches], [len(b) for b in batches])
    blocks = list(postings.blocks(merged))
    read = [postings.read_block(block.terms, block.payload) for block in blocks]
    assert [block.first_term for block in blocks] == [inverted.terms[0] for inverted in read]
    joined = postings.join(read)
    total = sum(map(len, batches))
    assert list(joined.terms) == list(merged.terms)
    assert as_dicts(joined, total) == as_dicts(merged, total)


def test_blocks_are_small_and_a_common_term_has_one_to_itself() -> None:
    batch = [{"common": 1, f"rare{n:04}": 1, f"seldom{n // 2:04}": 1} for n in range(2_000)]
    blocks = list(postings.blocks(part_of(batch).postings))
    assert [b.terms for b in blocks if "common" in b.terms] == ["common"]
    assert all(len(b.terms) + len(b.payload) < 2 * postings.BLOCK_BYTES for b in blocks if b.terms != "common")
    assert len(blocks) < 60


@given(st.lists(BATCH, min_size=1, max_size=4), st.lists(FEW_TERMS, min_size=1, max_size=4, unique=True))
def test_a_segment_scores_like_the_batches_that_it_was_built_from(
    batches: list[list[dict[str, int]]], query: list[str]
) -> None:
    parts, sizes = [part_of(b) for b in batches], [len(b) for b in batches]
    average = sum(p.lengths.sum() for p in parts) / max(1, sum(sizes))
    merged = TermFrequencies(
        postings.merge([p.postings for p in parts], sizes), np.concatenate([p.lengths for p in parts])
    )
    segment = postings.impacts(merged, average)
    for term in query:
        pending: list[int] = []
        for part in parts:
            inverted, frequencies = postings.find(part.postings, term)
            pending += postings.impact(frequencies, part.lengths[inverted], average).tolist()
        assert postings.find(segment, term)[1].tolist() == pending


@given(st.integers(1, 255), st.integers(1, 5_000), st.floats(1, 5_000))
def test_an_impact_is_bm25_rounded_to_a_hundredth(frequency: int, length: int, average: float) -> None:
    exact = frequency * 2.5 / (frequency + 1.5 * (0.25 + 0.75 * length / average))
    (found,) = postings.impact(np.array([frequency], np.uint8), np.array([length]), average)
    assert abs(found / postings.IMPACT_SCALE - exact) <= 0.0101


def test_a_rarer_term_weighs_more_and_none_weighs_less_than_nothing() -> None:
    weights = [postings.idf(1000, having) for having in (0, 1, 10, 500, 1000)]
    assert weights == sorted(weights, reverse=True)
    assert weights[-1] > 0


@given(st.integers(1, 100).flatmap(lambda size: st.dictionaries(st.integers(0, size - 1), st.integers(1, 250)).map(
    lambda impacts: (size, dict(sorted(impacts.items()))))), st.floats(0.001, 0.2))  # fmt: skip
def test_a_term_adds_its_impacts_where_it_is_and_nothing_elsewhere(
    inverted: tuple[int, dict[int, int]], weight: float
) -> None:
    size, impacts = inverted
    scores = np.ones(size, np.float32)
    of_term = PostingList.of(np.array(list(impacts), "<u2"), np.array(list(impacts.values()), np.uint8), size)
    of_term.add_to(scores, weight)
    added = np.float32(weight) * np.array([impacts.get(n, 0) for n in range(size)], np.uint8)
    assert scores.tolist() == (1 + added).tolist()
    assert of_term.contains_documents(np.arange(size)).tolist() == [n in impacts for n in range(size)]
    assert of_term.count == len(impacts)
    assert of_term.nbytes <= max(size, 3 * len(impacts))


def test_the_largest_part_is_numbered_and_a_larger_one_refused() -> None:
    batch = [{"x": 1}] * postings.MAX_DOCUMENTS
    (inverted, _) = postings.find(part_of(batch).postings, "x")
    assert (inverted[0], inverted[-1], len(inverted)) == (0, 65_535, 65_536)
    (block,) = postings.blocks(part_of(batch).postings)
    assert len(postings.find(postings.read_block(block.terms, block.payload), "x")[0]) == 65_536
    with pytest.raises(ValueError, match="at most 65536"):
        encode([*batch, {"x": 1}])
    with pytest.raises(ValueError, match="at most 65536"):
        postings.merge([part_of(batch).postings, part_of([{}]).postings], [len(batch), 1])


@given(st.lists(st.integers(1, 40), unique=True), st.lists(st.integers(0, 30)))
def test_ids_and_documents_are_each_others_inverse(ids: list[int], dead: list[int]) -> None:
    for place in dead:
        ids.insert(place % (len(ids) + 1), NO_CHUNK)
    cut = len(ids) // 2
    parts = [IdRanges.of(ids[:cut]), IdRanges.of(ids[cut:])]
    assert IdRanges.concatenate(parts).ids.tolist() == ids
    doc_ids = DocIdMap(parts)
    assert doc_ids.total == len(ids)
    assert doc_ids.ids(np.arange(len(ids))).tolist() == ids
    live = [chunk for chunk in ids if chunk != NO_CHUNK]
    assert doc_ids.documents(np.array(live, np.int64)).tolist() == [ids.index(chunk) for chunk in live]
    missing = sorted(set(range(1, 45)) - set(live))
    assert set(doc_ids.documents(np.array(missing, np.int64)).tolist()) <= {-1}


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3)), max_size=12), st.data())
def test_a_mask_has_the_chunks_of_the_given_files_wherever_they_are(
    sizes: list[tuple[int, int]], data: st.DataObject
) -> None:
    """Files one after another, with gaps between them, divided into parts at random and put in any order."""
    first, files = 1, []
    for size, gap in sizes:
        if size:
            files.append((first, size))
        first += size + gap
    ids = [first + n for first, size in files for n in range(size)]
    cut = data.draw(st.integers(0, len(ids)))
    doc_ids = DocIdMap(data.draw(st.permutations([IdRanges.of(ids[:cut]), IdRanges.of(ids[cut:])])))
    chosen = data.draw(st.lists(st.sampled_from(files), unique=True)) if files else []
    there = {first + n for first, size in chosen for n in range(size)}
    gone = [(first + 10, 3)]  # of an index that was not read, or in no part yet
    mask = doc_ids.mask(IdRanges(*map(list, zip(*chosen, *gone, strict=True))))
    assert mask.tolist() == [chunk in there for chunk in doc_ids.ids(np.arange(doc_ids.total)).tolist()]


def test_consecutive_ids_are_one_run() -> None:
    assert IdRanges.of([7, 8, 9, 3, 4]) == IdRanges([7, 3], [3, 2])
    assert Counter(IdRanges.of([]).firsts) == Counter()
