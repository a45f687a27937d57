"""Regular expressions in the habits of grep and JavaScript."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codebase_index.pattern import regex
from codebase_mcp.errors import UserError
from codebase_mcp.search.expression import read, suggestion
from codebase_mcp.search.request import SearchRequest


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (r"parse\|render", "parse|render"), (r"\(foo\|bar\)baz", "(foo|bar)baz"), (r"foo(\|bar(", r"foo\(|bar\("),
        (r"foo\(\|bar", r"foo\(|bar"), (r"\bfoo\b\|\s+bar", r"\bfoo\b|\s+bar"), (r"foo\|ba+r", "foo|ba+r"),
        (r"\<foo\>\|bar", r"\<foo\>|bar"), ("/SERVE/i", "(?i)SERVE"),
        ("/a b/gi", "(?i)a b"), (r"/a\/b/g", "a/b"), ("/x+/gim", "(?i)x+"),
    ],
)  # fmt: skip
def test_an_expression_of_grep_or_javascript_is_read_as_it_is_meant_with_a_note(written: str, meant: str) -> None:
    expression, note = read(written)
    assert expression == meant and note is not None
    assert SearchRequest(written, mode="regex").pattern == regex(meant)
    assert SearchRequest(written, mode="regex").notes == [note]
    assert SearchRequest(written, mode="text").notes == []


@pytest.mark.parametrize(
    "written",
    [
        "/static/img",
        "/src/ui",
        "/my app/sys",
        "a|b",
        r"a \|\| b",
        r"a|b\|c",
        "/orders/",
        "/api/v1/i",
        "/usr/lib",
        r"a\\|b",
        "foo",
        r"x \| y",
        r"\d+",
        "/",
    ],
)
def test_any_other_expression_is_taken_as_it_is_written(written: str) -> None:
    assert read(written) == (written, None)


def test_the_note_says_how_to_mean_a_path() -> None:
    _, note = read("/img.*/gi")
    assert note is not None and note.endswith("write [/] for a slash")
    assert read("[/]img/gi") == ("[/]img/gi", None)


@pytest.mark.parametrize(
    ("written", "repaired"),
    [("foo(?=bar)", "foo"), ("a(?i)b", "(?i)ab"), ("a++b", "a+b"), (r"(?<!x)foo\w", r"foo\w"), ("foo(", None),
     (r"(a)\1", None)],
)  # fmt: skip
def test_what_cannot_be_searched_for_is_answered_with_what_can(written: str, repaired: str | None) -> None:
    assert suggestion(written) == repaired
    with pytest.raises(UserError) as error:
        _ = SearchRequest(written, mode="regex").pattern
    assert error.value.repair == ({"query": repaired} if repaired else {"mode": "text"})


def test_a_text_of_several_lines_is_answered_with_its_longest() -> None:
    with pytest.raises(UserError, match="several lines") as error:
        _ = SearchRequest("if x:\n    return compute(x)\n", mode="text").pattern
    assert error.value.repair == {"query": "return compute(x)"}


@given(st.text("ab\\|/()+?{}[]i^.* ", max_size=14))
def test_reading_is_stable(text: str) -> None:
    expression, note = read(text)
    assert note is not None or expression == text
    suggestion(text)
