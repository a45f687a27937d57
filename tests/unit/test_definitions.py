"""The definitions of a file come back as they were packed, and name the innermost one of each line."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codebase_index.definitions import MAX_QUALIFIED, Definitions, PlacedName, pack
from codebase_index.symbols import Kind


def nested(spans: Sequence[tuple[int, int]]) -> list[PlacedName]:
    """Definitions at some lines, each within those before it that reach over it."""
    places: list[PlacedName] = []
    for first, last in spans:
        around = [n for n, p in enumerate(places) if p.first_line <= first and last <= p.last_line]
        parent = around[-1] if around else -1
        places.append(PlacedName(f"n{len(places)}", Kind.FUNCTION, parent, "", first, first, last))
    return places


@st.composite
def trees(draw: st.DrawFn) -> list[PlacedName]:
    """Definitions that lie within or beside each other, as a syntax tree has them."""
    spans: list[tuple[int, int]] = []
    free = [(1, 60)]
    for _ in range(draw(st.integers(0, 12))):
        if not free:
            break
        low, high = free.pop(draw(st.integers(0, len(free) - 1)))
        if low > high:
            continue
        first = draw(st.integers(low, high))
        last = draw(st.integers(first, high))
        spans.append((first, last))
        free += [(first + 1, last - 1), (last + 1, high)]
    return nested(sorted(spans, key=lambda span: (span[0], -span[1])))


@given(trees())
def test_the_innermost_definition_of_a_line_is_the_smallest_that_reaches_over_it(places: list[PlacedName]) -> None:
    found = Definitions(pack(places))
    for line in range(1, 62):
        over = [p for p in places if p.first_line <= line <= p.last_line]
        innermost = found.innermost(line)
        assert (innermost and innermost.name.rsplit(".", 1)[-1]) == (over[-1].name if over else None)


@given(trees())
def test_definitions_come_back_as_they_were_packed(places: list[PlacedName]) -> None:
    found = list(Definitions(pack(places)))
    assert [(d.first_line, d.line, d.last_line, d.kind) for d in found] == [
        (p.first_line, p.line, p.last_line, p.kind) for p in places
    ]
    for number, place in enumerate(places):
        scope = found[place.parent].name if place.parent >= 0 else ""
        assert found[number].scope == scope
        assert found[number].name == (f"{scope}.{place.name}" if scope else place.name)


def test_a_heading_is_qualified_by_the_headings_above_it() -> None:
    places = [
        PlacedName("Guide", Kind.HEADING, -1, "", 1, 1, 9),
        PlacedName("Start", Kind.HEADING, 0, "", 3, 3, 9),
    ]
    assert [d.name for d in Definitions(pack(places))] == ["Guide", "Guide > Start"]


def test_overloads_are_found_apart_by_their_lines() -> None:
    places = [
        PlacedName("Store", Kind.CLASS, -1, "class Store", 1, 1, 9),
        PlacedName("put", Kind.METHOD, 0, "void put(int a)", 2, 3, 4),
        PlacedName("put", Kind.METHOD, 0, "void put(long a)", 6, 6, 8),
    ]
    found = Definitions(pack(places))
    assert [d.signature for d in found.named("Store.put", 5, 9)] == ["void put(long a)"]
    assert len(list(found.named("Store.put", 1, 9))) == 2


def test_names_of_what_is_nested_without_end_have_one() -> None:
    places = [PlacedName("a", Kind.MODULE, number - 1, "", 1, 1, 9) for number in range(3_000)]
    found = list(Definitions(pack(places)))
    assert [len(d.name) for d in found[:3]] == [1, 3, 5]
    assert {len(d.name) for d in found[MAX_QUALIFIED:]} == {MAX_QUALIFIED}
    assert {len(d.scope) for d in found[MAX_QUALIFIED:]} == {MAX_QUALIFIED}


def test_a_file_without_definitions_has_none() -> None:
    found = Definitions(pack([]))
    assert not found
    assert found.innermost(1) is None


def test_what_a_later_version_has_packed_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="format ff, unknown to this version"):
        Definitions(b"\xff" + pack([])[1:])
