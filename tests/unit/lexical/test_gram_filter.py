"""A gram filter leaves out no chunk that holds the text, and few others stay."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codebase_index.lexical import gram_filter
from codebase_index.lexical.gram_filter import Condition

TEXTS = st.lists(st.text("abAB ßıİſKΣς_-\n語é\u0301", max_size=12), min_size=1, max_size=20)


def documents(stored: bytes, chunks: int, condition: Condition) -> list[int]:
    width = gram_filter.row_bytes(chunks)
    rows = b"".join(stored[row * width : (row + 1) * width] for row in condition.rows)
    found: list[int] = condition.documents(rows, chunks).tolist()
    return found


@given(TEXTS, st.data())
def test_no_chunk_that_holds_a_text_is_left_out(texts: list[str], data: st.DataObject) -> None:
    whole = data.draw(st.sampled_from(texts))
    begin = data.draw(st.integers(0, len(whole)))
    text = whole[begin : data.draw(st.integers(begin, len(whole)))]
    condition = Condition.of([(text,)])
    if condition is None:
        return
    found = documents(gram_filter.encode(texts), len(texts), condition)
    assert {number for number, other in enumerate(texts) if text in other} <= set(found)
    for other_case in (text.lower(), text.upper()):
        if len(other_case) == len(text) and (condition := Condition.of([(other_case,)])):
            assert texts.index(whole) in documents(gram_filter.encode(texts), len(texts), condition)


@given(st.lists(TEXTS, min_size=1, max_size=4))
def test_filters_are_joined_as_if_made_together(several: list[list[str]]) -> None:
    joined = gram_filter.join([(gram_filter.encode(texts), len(texts)) for texts in several])
    assert joined == gram_filter.encode([text for texts in several for text in texts])


@given(TEXTS, st.data())
def test_a_selection_is_as_if_the_others_had_never_been(texts: list[str], data: st.DataObject) -> None:
    mask = data.draw(st.lists(st.booleans(), min_size=len(texts), max_size=len(texts)))
    selected = gram_filter.select(gram_filter.encode(texts), len(texts), np.array(mask))
    assert selected == gram_filter.encode([text for text, chosen in zip(texts, mask, strict=True) if chosen])


def test_many_chunks_are_encoded_as_few_are() -> None:
    texts = [f"def function_{number}(): return {number}" for number in range(1000)]
    stored = gram_filter.encode(texts)
    assert len(stored) == gram_filter.ROWS * gram_filter.row_bytes(1000)
    condition = Condition.of([("function_777(",), ("RETURN",)])
    assert condition is not None and documents(stored, 1000, condition) == [777]


@pytest.mark.parametrize(
    ("required", "found"),
    [
        ([("alpha", "gamma")], [0, 2]),
        ([("alpha", "gamma"), ("common",)], [0, 2]),
        ([("alpha",), ("delta",)], []),
        ([("alpha", "no")], None),
        ([("alpha",), ("no",)], [0]),
        ([], None),
        ([tuple(f"text{n}" for n in range(99))], None),
    ],
)
def test_one_text_of_each_clause_is_required(required: list[tuple[str, ...]], found: list[int] | None) -> None:
    texts = ["alpha common", "beta common", "gamma common"]
    condition = Condition.of(required)
    assert (condition and documents(gram_filter.encode(texts), 3, condition)) == found


def test_long_and_many_texts_ask_for_a_bounded_number_of_rows() -> None:
    words = [(f"{chr(97 + n % 26)}{n}{'xyz' * n}quite_long_{n * n}",) for n in range(100)]
    condition = Condition.of(words)
    assert condition is not None
    assert len(condition.rows) <= gram_filter.MAX_ROWS + gram_filter.MAX_ROWS_OF_TEXT
