"""Patterns of text search: what is understood, what is refused, what is known of every match."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codebase_index.pattern import PatternRefused, literal, regex


@pytest.mark.parametrize(
    ("written", "translated"),
    [
        (r"\bfoo\B", r"(?n)\yfoo\Y"),
        (r"(?P<name>a)(b)(?:c)", "(?n)(?:a)(?:b)(?:c)"),
        (r"(?i)abc", "(?ni)abc"),
        (r"a+?b{2,3}?", "(?n)a+b{2,3}"),
        (r"\Aa\z", r"(?n)^a\r?$"),
        ("func main() {", r"(?n)func main(?:) \{"),
        ("a{x}", r"(?n)a\{x\}"),
        (r"[^\]a-c\d[:alpha:]]", r"(?n)[^\]a-c\d[:alpha:]]"),
        (r"[[x]", r"(?n)[\[x]"),
        (r"\x41\u00e9\x{1F600}\t", "(?n)Aé😀\t"),
        ("***=x", None),
        (r"(a)\1", None),
        ("(?=a)", None),
        ("(?<!a)b", None),
        ("a(?i)b", None),
        ("(a", None),
        ("a)", None),
        ("[a", None),
        ("*a", None),
        ("a**", None),
        ("a{256}", None),
        ("a{3,2}", None),
        (r"\p{Greek}", None),
        (r"[\p]", None),
        ("a\\", None),
        (r"\x{110000}", None),
        (r"\ud800", None),
        (r"\x00", None),
        (r"[\x{0}]", None),
        (r"a\nb", None),
        ("a\0b", None),
        (r"[\x00-]", None),
        (r"[^\x00-\x7f]", "(?n)[^\x01-\x7f]"),
        ("\n", None),
    ],
)
def test_expressions_are_translated_or_refused(written: str, translated: str | None) -> None:
    if translated is None:
        with pytest.raises(PatternRefused):
            regex(written)
    else:
        assert regex(written).expression == translated


@pytest.mark.parametrize("text", ["a?" * 201, "a*" * 900, f"(?:{'a?' * 150}){{2}}", "(((a?b){9}){9}){9}"])
def test_many_parts_that_may_be_missing_are_refused(text: str) -> None:
    with pytest.raises(PatternRefused, match="more than 200 of its parts may be missing; simplify it"):
        regex(text)
    regex("a?" * 200)
    regex("(?:a?b){200}c+(d{2,255}e){3}")


def test_a_refusal_says_where_why_and_what_to_do() -> None:
    with pytest.raises(PatternRefused, match=r"near .*back references are not supported; or use mode=text"):
        regex(r"(\w+) = \1")


@pytest.mark.parametrize(
    ("written", "required"),
    [
        (r"raise \w+Error\(", [["raise "], ["Error("]]),
        ("colou?r", [["colo"], ["r"]]),
        ("ab*c+d", [["a"], ["c"], ["d"]]),
        ("ab{0,3}c{2}", [["a"], ["c"]]),
        ("foo|bar", [["foo", "bar"]]),
        ("foo|b*", []),
        ("x(foo|bar)y", [["x"], ["foo", "bar"], ["y"]]),
        ("(ab.*long|cd)+", [["long", "cd"]]),
        ("(ab)?(cd)x?", [["cd"]]),
        ("(a(bc|de)f)*g", [["g"]]),
        ("(|ab)c", [["c"]]),
        (r"\bfoo\b\(", [["foo("]]),
        ("[abc]", []),
    ],
)
def test_required_texts(written: str, required: list[list[str]]) -> None:
    assert [list(clause) for clause in regex(written).required] == required


ATOMS = st.sampled_from(
    ["a", "b", "xy", r"\.", r"\w", ".", "[ab]", "(?:a|bc)", "(ab)", "(?:x(?:y|z))", "(?:ab.c|d)"]
)
EXPRESSIONS = st.lists(st.tuples(ATOMS, st.sampled_from(["", "*", "+", "?", "{2}", "{0,2}"])), min_size=1).map(
    lambda parts: "".join(atom + quantifier for atom, quantifier in parts)
)


@settings(deadline=None)
@given(st.data(), EXPRESSIONS)
def test_every_match_holds_the_required_pieces(data: st.DataObject, expression: str) -> None:
    line = data.draw(st.from_regex(re.compile(expression, re.ASCII)))
    assert all(any(text in line for text in clause) for clause in regex(expression).required)


@settings(deadline=None)
@given(st.text(max_size=40))
def test_any_text_is_understood_or_refused(text: str) -> None:
    for read in (regex, literal):
        try:
            pattern = read(text)
        except PatternRefused:
            continue
        assert "\0" not in pattern.expression and pattern.expression.startswith("(?n")


def test_a_literal_of_several_lines_is_refused() -> None:
    with pytest.raises(PatternRefused, match="several lines"):
        literal("a\nb")
