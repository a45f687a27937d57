"""Lines of a file from its chunks: none lost, none twice, as many as fit."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codebase_index.store.query.files import StoredText
from codebase_indexer.chunking.chunker import split
from codebase_mcp.reading.passages import Passage, fit, join, lines_of, select
from codebase_mcp.search.budget import estimate_tokens

TEXTS = st.lists(
    st.one_of(
        st.sampled_from(["", "    return 1", "\t", "\r", "def f():", " " * 400, "x" * 2000]), st.text(max_size=60)
    ),
    max_size=200,
).map(lambda lines: "\n".join(lines).replace("\0", "").encode(errors="ignore").decode())


def stored(text: str) -> list[StoredText]:
    return [StoredText(c.start_line, c.end_line, c.text) for c in split(text.encode(), "python").chunks]


@given(TEXTS, st.integers(1, 210), st.integers(0, 60))
def test_any_lines_are_those_of_the_file(text: str, first: int, more: int) -> None:
    shown = select(join(stored(text)), first, first + more)
    lines = lines_of(text)[first - 1 : first + more] if text.strip(" \t\n\r\x0b\x0c") else []
    assert "".join(passage.text for passage in shown) == "".join(lines)
    assert [(p.start_line, p.end_line) for p in shown] == ([(first, first + len(lines) - 1)] if lines else [])


@given(TEXTS, st.integers(20, 400))
def test_whoever_goes_on_where_it_says_reads_the_whole_file(text: str, room: int) -> None:
    whole = join(stored(text))
    read, line = "", 1
    while whole:
        shown = fit(select(whole, line, 10**6), room)
        assert sum(estimate_tokens(p.text) for p in shown.passages) <= room
        if shown.is_cut:  # longer than an answer: only such a line is not read whole
            beginning = shown.passages[-1].text
            assert lines_of(text)[line - 1].startswith(beginning)
            read += lines_of(text)[line - 1]
        else:
            read += "".join(p.text for p in shown.passages)
        if shown.next_line is None:
            break
        assert shown.next_line > line
        line = shown.next_line
    assert read == (text if whole else "")


def test_lines_that_an_earlier_release_left_out_are_empty_ones() -> None:
    chunks = [StoredText(1, 2, "a\nb\n"), StoredText(6, 6, "c"), StoredText(6, 7, "d\ne\n")]
    assert join(chunks) == [Passage(1, 7, "a\nb\n\n\n\ncd\ne\n")]
    assert join([StoredText(1, 1, "a"), StoredText(2, 2, "b")]) == [Passage(1, 2, "a\nb")]


def test_the_cells_of_a_notebook_are_passages() -> None:
    chunks = [StoredText(4, 5, "a\nb"), StoredText(12, 12, "one string\nof two lines"), StoredText(30, 30, "c\n")]
    passages = join(chunks, is_notebook=True)
    assert passages == [Passage(4, 5, "a\nb"), Passage(12, 12, "one string\nof two lines"), Passage(30, 30, "c\n")]
    assert select(passages, 5, 12) == [Passage(5, 5, "b"), passages[1]]


@pytest.mark.parametrize("text", ["word " * 60_000, "日本語" * 30_000, "{[(" * 30_000, " " * 200_000 + "x"])
def test_a_line_longer_than_an_answer_is_cut_to_it(text: str) -> None:
    passages = join([StoredText(1, 1, text + "\n"), StoredText(2, 2, "next\n")])
    shown = fit(passages, 1000)
    assert (shown.is_cut, shown.next_line) == (True, 2)
    (passage,) = shown.passages
    assert text.startswith(passage.text) and 990 <= estimate_tokens(passage.text) <= 1000
    rest = fit(select(passages, 2, 9), 1000)
    assert (rest.passages, rest.next_line) == ([Passage(2, 2, "next\n")], None)


def test_passages_are_consecutive() -> None:
    shown = select(join(stored("a = 1\n" * 900)), 100, 700)
    assert all(a.end_line + 1 == b.start_line for a, b in pairwise(shown))
