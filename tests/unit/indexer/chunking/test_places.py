"""Where each definition begins and ends, and which one a line lies in."""

import pytest

from codebase_index.definitions import Definitions, pack
from codebase_indexer.chunking import chunker, nested
from tests.fixtures.places import PLACES


def definitions_of(source: str, grammar: str) -> Definitions:
    return Definitions(pack(chunker.split(source.encode(), grammar).definitions))


@pytest.mark.parametrize("grammar", PLACES)
def test_every_line_names_the_innermost_definition_that_it_lies_in(grammar: str) -> None:
    """The sample says beside each line what it lies in: after `@@`, nothing for no definition."""
    lines = [line.partition("@@") for line in PLACES[grammar].splitlines()]
    found = definitions_of("".join(f"{code.rstrip()}\n" for code, _, _ in lines), grammar)
    innermost = [found.innermost(number) for number in range(1, len(lines) + 1)]
    assert [
        f"{code}@@ {inner.name if inner else ''}" for (code, _, _), inner in zip(lines, innermost, strict=True)
    ] == [f"{code}@@ {name.strip()}" for code, _, name in lines]


def test_a_definition_begins_with_its_decorators_and_its_name_is_declared_below() -> None:
    (found,) = definitions_of("# about\n@a\n@b(1)\ndef f(x,\n      y) -> int:\n    return 1\n\n\n", "python")
    assert (found.first_line, found.line, found.last_line) == (2, 4, 6)
    assert found.signature == "@a @b(1) def f(x, y) -> int:"


def test_the_only_definition_of_a_section_does_not_reach_over_the_section() -> None:
    source = "#ifdef LINUX\n// about\nint f(void)\n{\n    return 1;\n}\n#endif\n"
    (found,) = definitions_of(source, "c")
    assert (found.first_line, found.last_line, found.signature) == (3, 6, "int f(void)")


def test_definitions_in_a_small_function_are_found() -> None:
    names = [d.name for d in definitions_of("def a():\n    def b():\n        def c(): pass\n", "python")]
    assert names == ["a", "a.b", "a.b.c"]


@pytest.mark.parametrize("grammar", sorted(PLACES))
def test_marks_are_made_in_time_that_grows_with_the_file(grammar: str) -> None:
    """A hostile file: what begins a definition, again and again, and nothing that ends it."""
    for text in (b"x=(a=>", b"\tfunction a(", b"type a<b ", b"struct a ", b"  a b(", b"def a ", b"\n  a("):
        nested.Marks(text * 50_000, grammar)  # minutes, if a pattern looked far from each of many places
