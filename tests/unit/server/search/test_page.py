"""The pure parts of paging and of the modes: cursors, names, places, the budget."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codebase_index.definitions import Definitions, PlacedName, pack
from codebase_index.store.query.symbol_search import DefinitionRow
from codebase_index.store.query.text_search import TextMatch, TextPosition
from codebase_index.symbols import Kind
from codebase_mcp.errors import UserError
from codebase_mcp.search.answers import SearchResult
from codebase_mcp.search.budget import RESULT_TOKENS, allot_characters, count_fitting, estimate_tokens
from codebase_mcp.search.cursor import Cursor, decode, digest
from codebase_mcp.search.excerpt import CUT
from codebase_mcp.search.modes.symbol import best_definitions, defining_line
from codebase_mcp.search.occurrences import MAX_LINE_CHARACTERS, occurrences, surroundings
from codebase_mcp.search.symbol_name import SymbolName

PATHS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=60)
PLACES = st.builds(TextPosition, st.integers(0, 2**63 - 1), PATHS, st.integers(0, 2**31 - 1))


@settings(deadline=None)
@given(st.integers(0, 100_000), st.none() | PLACES)
def test_a_cursor_comes_back_as_it_was(offset: int, place: TextPosition | None) -> None:
    cursor = Cursor(digest("query"), digest("state"), offset, place)
    text = cursor.encode()
    assert decode(text, cursor.request) == cursor
    assert text.replace("-", "").replace("_", "").isalnum()


def packed(*values: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(values).encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "text",
    [
        "", "garbage", "!!", "é" * 10, "A" * 16_000, "[" * 9, base64.b64encode(b"[" * 9_000).decode(),
        packed(2, "r", "s", 0, None), packed(1, "r", "s", -1, None), packed(1, "r", "s", 10**30, None),
        packed(1, "r", "s", True, None), packed(1, "r", "s", 0, [1, "a\0", 1]),
        packed(1, "r", "s", 0, [1, "a", -1]),
        packed(1, "r", "s", 0, [2**63, "a", 1]), packed(1, "r", "s", 0, [1, "\ud800", 1]), packed(1, "r", "s", 0),
        packed(1, "r", "s", 0, {"a": 1}), packed(1, "r", "s", 0, [1, "x" * 4097, 1]),
    ],
)  # fmt: skip
def test_a_cursor_that_was_made_up_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="cursor is invalid"):
        decode(text, "r")


@settings(deadline=None)
@given(st.text(max_size=200))
def test_any_text_is_a_cursor_or_refused(text: str) -> None:
    with pytest.raises(UserError):
        decode(text, "another")


def test_a_cursor_of_another_search_is_refused() -> None:
    with pytest.raises(UserError, match="belongs to another search"):
        decode(Cursor(digest("a"), "s").encode(), digest("b"))


@pytest.mark.parametrize(
    ("query", "parts", "kind"),
    [
        ("parse", ("parse",), None),
        ("Class.method", ("Class", "method"), None),
        ("ns::Type::make(int a)", ("ns", "Type", "make"), None),
        ("Class#method", ("Class", "method"), None),
        (r"App\Http\Kernel", ("App", "Http", "Kernel"), None),
        ("  public static class Cart ", ("Cart",), Kind.CLASS),
        ("def add(", ("add",), Kind.METHOD),
        ("$scope", ("$scope",), None),
        ("größe", ("größe",), None),
    ],
)
def test_names(query: str, parts: tuple[str, ...], kind: Kind | None) -> None:
    name = SymbolName.of(query)
    assert name.parts == parts and ((kind in name.kinds) if kind else not name.kinds)


@pytest.mark.parametrize("query", ["how does it work", "()", "...", "a b", "class", "x" * 300, "\0", "a\ud800"])
def test_what_is_no_name_is_refused(query: str) -> None:
    if query == "class":
        assert SymbolName.of(query).parts == ("class",)
        return
    with pytest.raises(UserError, match="mode=symbol looks up one name"):
        SymbolName.of(query)


def definition(symbol: str) -> DefinitionRow:
    return DefinitionRow(1, 1, "a.py", "python", 1, 9, symbol, "function", "")


def test_definitions_fit_as_written_then_by_plain_name_then_in_any_case() -> None:
    known = [definition("A.put"), definition("B.put"), definition("A.Put")]

    def found(query: str) -> tuple[list[str], bool]:
        best, note = best_definitions(SymbolName.of(query), known)
        return [d.symbol for d in best], note is not None

    assert found("put") == (["A.put", "B.put"], False)
    assert found("A.put") == (["A.put"], False)
    assert found("C.put") == (["A.put", "B.put"], True)
    assert found("PUT") == (["A.put", "B.put", "A.Put"], True)


def test_type_parameters_are_no_part_of_a_name() -> None:
    assert SymbolName.of("Router::route").agreement("Router<S>.route") == (2, True)
    assert SymbolName.of("Outer.Router").agreement("Router<S>") == (1, True)


def test_the_defining_line_is_not_a_comment_nor_a_use() -> None:
    text = "# add: sums up\nprint(addition)\nx = [add]\ndef add(a, b):\n    return a + b"
    assert defining_line(text, "add") == 3
    assert defining_line("var _ = &Mux{}\n// Mux is\ntype Mux struct {", "Mux") == 2
    assert defining_line("let a = B::new(x);\npub fn new() -> Self {", "new") == 1
    assert defining_line("func (m *Mux) Add() {", "Add") == 0
    assert defining_line("return put(1);\n}\nint put(int x) {", "put") in (0, 2)
    assert defining_line("x = [add]", "add") == 0 == defining_line("nothing", "add")


def match(lines: tuple[int, ...], text: str = "\n".join(map(str, range(1, 101)))) -> TextMatch:
    return TextMatch(1, 1, "a.py", None, 1, text.count("\n") + 1, None, text, lines)


def test_neighbouring_lines_are_one_place() -> None:
    assert [o.lines for o in occurrences([match((1, 3, 7, 12, 13, 90))], {})] == [(1, 3), (7,), (12, 13), (90,)]
    many = [o.lines for o in occurrences([match(tuple(range(1, 101)))], {})]
    assert sum(many, ()) == tuple(range(1, 101)) and max(map(len, many)) <= 13


def test_a_place_is_shown_with_the_lines_around_it_and_long_lines_cut_around_the_match() -> None:
    (place,) = occurrences([match((50,))], {})
    assert surroundings(place, "") == (49, "49\n50\n51")
    (place,) = occurrences([match((1,), "x" * 5000 + "NEEDLE" + "y" * 5000)], {})
    first, text = surroundings(place, "needle")
    assert first == 1 and "NEEDLE" in text and len(text) == MAX_LINE_CHARACTERS + 2 * len(CUT)
    assert text.startswith(CUT + "x") and text.endswith("y" + CUT)


def test_neighbouring_lines_of_two_definitions_are_two_places() -> None:
    places = [PlacedName(name, Kind.FUNCTION, -1, "", line, line, line + 1) for name, line in (("a", 1), ("b", 3))]
    found = occurrences([match((1, 2, 3, 5))], {1: Definitions(pack(places))})
    assert [(o.lines, o.definition and o.definition.name) for o in found] == [
        ((1, 2), "a"), ((3,), "b"), ((5,), None)
    ]  # fmt: skip


def test_a_result_says_which_lines_of_its_place_are_not_shown() -> None:
    shown = result("a\nb").model_copy(update={"start_line": 2, "end_line": 9, "text_start_line": 4}).with_cut(9)
    assert shown.cut == "2-3, 6-9"
    assert shown.model_copy(update={"start_line": 4, "end_line": 6}).with_cut(9).cut == "6"
    whole = shown.model_copy(update={"start_line": 4, "end_line": 5}).with_cut(9)
    assert whole.cut is None and "cut" not in whole.model_dump()
    assert "lines 2-3, 6-9 not shown" in shown.as_line()


def test_a_definition_that_goes_on_in_the_next_chunk_says_from_which_line_on() -> None:
    """The text of a stored chunk ends with a line end: here that of line 40."""
    shown = result("def f():\n" + "    ...\n" * 4).model_copy(
        update={"start_line": 36, "end_line": 80, "text_start_line": 36}
    )
    assert shown.with_cut(40).cut == "41-80"
    blank = result("def f():\n").model_copy(update={"start_line": 36, "end_line": 80, "text_start_line": 36})
    assert blank.with_cut(40).cut == "38-80"  # line 37 is shown, and empty


def result(text: str) -> SearchResult:
    return SearchResult(
        path="a", start_line=1, end_line=1, symbol=None, language=None, score=None, text=text,
        text_start_line=1,
    )  # fmt: skip


def test_an_answer_has_at_least_one_result_and_at_most_what_fits() -> None:
    assert count_fitting([]) == 0
    assert count_fitting([result("x" * 1_000_000)]) == 1
    assert count_fitting([result("word " * 2_000)] * 10) == 3
    assert count_fitting([result("語" * 3_000)] * 10) == 2
    assert count_fitting([result("{}" * 1_500)] * 10) == 2


@pytest.mark.parametrize("text", ["\u202ex" * 2_000, "a\x1b" * 2_000, "x\u200b y" * 2_000])
def test_shares_are_measured_as_they_are_sent_with_what_is_invisible_shown(text: str) -> None:
    results = [result(text)] * 10
    cut = [
        one.model_copy(update={"text": text[:room]})
        for one, room in zip(results, allot_characters(results), strict=True)
    ]
    sent = sum(estimate_tokens(one.escape().model_dump_json()) for one in cut)
    assert sent <= 1.1 * RESULT_TOKENS * len(results)


def test_the_first_results_show_the_most_and_short_ones_leave_room() -> None:
    rooms = allot_characters([result("word " * 400)] * 10)
    assert rooms == sorted(rooms, reverse=True) and rooms[0] > 2 * rooms[-1] > 0
    assert allot_characters([result("x")] * 9 + [result("word " * 400)])[9] > rooms[0]
    assert allot_characters([]) == []


def test_an_estimate_of_tokens_is_not_below_a_fourth_of_the_characters() -> None:
    texts = ("responses = []", "語" * 9, " " * 40, "")
    assert [estimate_tokens(text) for text in texts] == [5, 9, 10, 0]
