"""The forms in which agents send arguments: what is meant is taken, what is not clear is noted or refused."""

from datetime import UTC, datetime
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codebase_mcp.arguments.kinds import Choice, Flag, Number, Text, Texts, Time, is_blank, split
from codebase_mcp.arguments.signature import Signature
from codebase_mcp.errors import UserError

MODE = Choice(("auto", "symbol"), others={"semantic": "auto"})
NOTHING: list[object] = [None, "", "  ", [], {}, "null", "None", "undefined", "[]"]


async def tool(
    query: Annotated[str, Text(20, example="<query>", verbatim=True)],
    repo: Annotated[tuple[str, ...], Texts(3, 10)] = (),
    limit: Annotated[int, Number(1, 50)] = 10,
    mode: Annotated[str, MODE] = "auto",
    force_it: Annotated[bool, Flag()] = False,
) -> None:
    """Stand for a tool."""


SIGNATURE = Signature.of(tool)


def read(**arguments: Any) -> tuple[dict[str, Any], list[str]]:
    notes: list[str] = []
    return SIGNATURE.read({"query": "x", **arguments}, notes), notes


@pytest.mark.parametrize("nothing", NOTHING, ids=repr)
def test_a_blank_optional_argument_is_the_default(nothing: object) -> None:
    assert read(repo=nothing, limit=nothing, mode=nothing, force_it=nothing) == ({"query": "x"}, [])


@pytest.mark.parametrize("nothing", [None, "", " \n", [], {}], ids=repr)
def test_a_required_argument_that_says_nothing_is_asked_for(nothing: object) -> None:
    with pytest.raises(UserError, match="query is missing") as error:
        read(query=nothing)
    assert error.value.repair == {"query": "<query>"}


@pytest.mark.parametrize(
    ("sent", "problem"),
    [
        ({"q": "x" * 21}, "query has 21 characters; at most 20"),
        ({"query": "x" * 21}, "query has 21 characters; at most 20"),
        ({"query": "x", "repository": "x" * 11}, "repo has 11 characters; at most 10"),
        ({"query": "x", "repos": ["a", "b", "c", "d"]}, "repo has 4 values, and at most 3"),
    ],
    ids=["required, by another name", "required", "optional, by another name", "too many, by another name"],
)
def test_an_argument_that_is_too_long_is_told_so_and_never_taken_as_missing(
    sent: dict[str, Any], problem: str
) -> None:
    with pytest.raises(UserError, match=problem):
        SIGNATURE.read(sent, [])


@pytest.mark.parametrize("word", ["null", "None", "undefined", "[]"])
def test_a_required_argument_may_be_the_word_null(word: str) -> None:
    assert is_blank(word) and read(query=word)[0]["query"] == word


@pytest.mark.parametrize(
    ("sent", "meant"),
    [
        ("a", ("a",)), (["a"], ("a",)), (["a", "b"], ("a", "b")), ("a,b", ("a", "b")), (" a , b ,", ("a", "b")),
        ('["a", "b"]', ("a", "b")), ("['a', 'b']", ("a", "b")), ("[a, b]", ("a", "b")), ('"a"', ("a",)),
        (["a", "a", ""], ("a",)), (["a", None], ("a",)), ("[slug]", ("[slug]",)), ("*.{a,b},c", ("*.{a,b}", "c")),
        (7, ("7",)), (("a", "b"), ("a", "b")), ("a\nb", ("a", "b")),
    ],
    ids=repr,
)  # fmt: skip
def test_a_list_in_any_form_is_a_list(sent: object, meant: tuple[str, ...]) -> None:
    assert read(repo=sent) == ({"query": "x", "repo": meant}, [])


@pytest.mark.parametrize(
    ("sent", "meant", "is_noted"),
    [
        (5, 5, False), ("5", 5, False), (5.0, 5, False), (" 7 ", 7, False), (500, 50, True), (0, 1, True),
        (-3, 1, True), ("1000", 50, True), (10**30, 50, True), (10**400, 50, True),
        ("1,000", 50, True), ([7], 7, False),
    ],
    ids=repr,
)  # fmt: skip
def test_a_number_beyond_its_bounds_is_taken_as_the_bound_with_a_note(
    sent: object, meant: int, is_noted: bool
) -> None:
    values, notes = read(limit=sent)
    assert values["limit"] == meant
    assert notes == ([f"limit was taken as {meant}: it may be 1 to 50"] if is_noted else [])


@pytest.mark.parametrize("sent", ["many", 1.5, True, [1, 2], {"n": 1}, "1e999", "nan"], ids=repr)
def test_what_is_no_number_is_refused_with_one_that_would_be(sent: object) -> None:
    with pytest.raises(UserError, match="limit must be a whole number from 1 to 50") as error:
        read(limit=sent)
    assert error.value.repair == {"limit": 10}


@pytest.mark.parametrize(
    ("sent", "meant"),
    [("Symbol", "symbol"), (" AUTO ", "auto"), ("semantic", "auto"), ('"symbol"', "symbol"), (["auto"], "auto")],
)
def test_a_choice_is_read_in_any_letter_case_and_by_its_other_names(sent: object, meant: str) -> None:
    assert read(mode=sent) == ({"query": "x", "mode": meant}, [])


def test_what_is_no_choice_is_refused_with_the_nearest() -> None:
    with pytest.raises(UserError, match="mode must be one of auto, symbol, not 'symbl'") as error:
        read(mode="symbl")
    assert error.value.repair == {"mode": "symbol"}


@pytest.mark.parametrize(("sent", "meant"), [("true", True), ("No", False), (1, True), (0, False), (True, True)])
def test_a_flag_is_read_from_words_and_numbers(sent: object, meant: bool) -> None:
    assert read(force_it=sent)[0]["force_it"] is meant


def test_names_of_arguments_are_read_in_camel_case() -> None:
    assert read(forceIt=True) == ({"query": "x", "force_it": True}, [])
    assert read(forceIt=True, force_it=False)[0]["force_it"] is False  # as it is told comes first


@pytest.mark.parametrize(
    ("sent", "meant"),
    [
        ({"q": "y"}, {"query": "y"}), ({"Repository": "a"}, {"repo": ("a",)}),
        ({"repos": ["a"]}, {"repo": ("a",)}),
        ({"maxResults": 5}, {"limit": 5}), ({"top_k": "7", "limit": None}, {"limit": 7}),
    ],
    ids=str,
)  # fmt: skip
def test_an_argument_by_the_name_that_it_has_in_other_tools_is_taken_with_a_note(
    sent: dict[str, Any], meant: dict[str, Any]
) -> None:
    notes: list[str] = []
    assert SIGNATURE.read({"query": "x"} | sent if "q" not in sent else sent, notes) == {"query": "x"} | meant
    assert notes == [f"'{next(iter(sent))}' was taken as {next(iter(meant))}"]


def test_what_another_name_cannot_mean_is_ignored() -> None:
    values, (note,) = read(limit=5, top_k=7, max_results="all", text=True)
    assert values == {"query": "x", "limit": 5}
    assert note.startswith("ignored unknown arguments 'top_k', 'max_results', 'text';")


def test_the_end_counted_backwards_is_the_default() -> None:
    assert Number(1, 9, is_end=True).read("end_line", -1, []) is None


def test_unknown_arguments_are_ignored_with_a_note_that_names_those_there_are() -> None:
    values, (note,) = read(toolCallId="1", limt=3)
    assert values == {"query": "x"}
    assert note.startswith(
        "ignored unknown arguments 'toolCallId', 'limt'; limit may have been meant; there are query,"
    )


@pytest.mark.parametrize(
    ("sent", "problem"),
    [("x" * 21, "has 21 characters"), ("a\0b", "holds a character that no text has"), ({"a": 1}, "one text"),
     (["a", "b"], "one text"), ("\ud800", "holds a character that no text has")],
    ids=repr,
)  # fmt: skip
def test_what_is_no_text_is_refused(sent: object, problem: str) -> None:
    with pytest.raises(UserError, match=problem):
        read(query=sent)


def test_text_is_taken_as_it_is_only_where_it_is_searched_for() -> None:
    assert read(query="  x ")[0]["query"] == "  x "
    assert Text(9).read("name", "  x ", []) == "x"


@pytest.mark.parametrize(
    ("sent", "meant", "is_noted"),
    [
        ("2026-11-29T18:00:00Z", datetime(2026, 11, 29, 18, tzinfo=UTC), False),
        ("2026-11-29T18:00:00+02:00", datetime(2026, 11, 29, 16, tzinfo=UTC), False),
        ("2026-11-29", datetime(2026, 11, 29, tzinfo=UTC), True),
        (1795975200, datetime(2026, 11, 29, 18, tzinfo=UTC), False),
        ("2026-11-29 18:00", datetime(2026, 11, 29, 18, tzinfo=UTC), True),
    ],
)
def test_a_time_without_a_zone_is_in_utc_with_a_note(sent: str, meant: datetime, is_noted: bool) -> None:
    notes: list[str] = []
    assert Time().read("after", sent, notes) == meant
    assert bool(notes) is is_noted


@pytest.mark.parametrize("sent", ["yesterday", "9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59", 5, []])
def test_what_is_no_time_is_refused_with_one_that_would_be(sent: object) -> None:
    with pytest.raises(UserError) as error:
        Time().read("after", sent, [])
    assert Time().read("after", error.value.repair["after"], [])


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists, max_leaves=4))
def test_nothing_that_is_sent_breaks_the_reading(value: object) -> None:
    for name, kind in {**SIGNATURE.kinds, "time": Time(), "name": Text(5, one_line=True)}.items():
        try:
            kind.read(name, value, [])
        except UserError as error:
            assert str(error).startswith(f"validation: {name} ")


@given(st.lists(st.text("abc./*", min_size=1), min_size=1))
def test_texts_without_commas_come_back_from_a_list_with_commas(texts: list[str]) -> None:
    assert split(", ".join(texts)) == texts
