"""Text search in the database against the same search in Python, line by line."""

import re

import pytest

from codebase_index.pattern import Pattern, literal, regex
from codebase_index.store.database import Database
from codebase_index.store.query.hybrid_search import Filters
from codebase_index.store.query.text_search import END, InvalidExpression, TextPosition, TextQuery, TextSearch
from tests.store.indexed_files import indexed

FILES = {
    "a.py": "import os\n\ndef total(x):\n    return x + 1\r\n# Größe: 100%_\n",
    "b/c.go": 'package b\n\nfunc (m *Mux) Handle(p string) {\n\tm.tree[p] = "a\\b"\n}',
    "b/d.txt": "A\nAA\naa\n\n\tTab\n" + "x" * 300 + "needle" + "y" * 300,
}
CHUNK_LINES = 3
NO_FILTERS = Filters()


@pytest.fixture
async def index(database: Database) -> int:
    """The files in chunks of three lines."""
    return (await indexed(database, FILES, CHUNK_LINES)).index_id


async def found(
    database: Database, index: int, pattern: Pattern, *, after: TextPosition | None = None, enough: int = 1000,
    filters: Filters = NO_FILTERS,
) -> list[tuple[str, int]]:  # fmt: skip
    answer = await TextSearch(database).find(TextQuery([index], pattern, filters, after, enough, 20))
    return [(match.path, line) for match in answer.matches for line in match.lines]


def expected(expression: str) -> list[tuple[str, int]]:
    compiled = re.compile(expression)
    return [
        (path, number)
        for path, text in sorted(FILES.items())
        for number, line in enumerate(text.split("\n"), start=1)
        if compiled.search(line.removesuffix("\r"))
    ]


@pytest.mark.parametrize(
    "expression",
    [
        "a", "^$", "A+", "^A+$", "(?i)aa", r"\w+\(", r"\bm\b", r"x \+ 1$", r"[^\W\d]+\[p\]", r"(a|b)\\(a|b)",
        r"\S{200,}", "func .*{", r"\t", "ö", "[à-ü]", r"^\s", ".{0}", "(t|T)a(b|x)?", r"100%_",
        r"\Aimport os\Z", "[A-Z]{2}", "need(?:le)+y*?",
    ],
)  # fmt: skip
async def test_lines_match_as_in_python(expression: str, database: Database, index: int) -> None:
    assert await found(database, index, regex(expression)) == expected(expression)


@pytest.mark.parametrize("text", ["a", "100%_", "\\b", "(m *Mux)", "\t", ". ", "x + 1\r", "***=", "$1"])
async def test_literal_text_is_nothing_else(text: str, database: Database, index: int) -> None:
    lines = [(p, n) for p, n in expected("") if text in FILES[p].split("\n")[n - 1]]
    assert await found(database, index, literal(text)) == lines
    lines = [(p, n) for p, n in expected("") if text.lower() in FILES[p].lower().split("\n")[n - 1]]
    assert await found(database, index, literal(text).in_any_case()) == lines


async def test_a_whole_word_is_no_part_of_another(database: Database, index: int) -> None:
    assert await found(database, index, literal("A", whole_word=True)) == [("b/d.txt", 1)]


async def test_a_search_goes_on_after_any_line(database: Database, index: int) -> None:
    everything = await found(database, index, regex("a"))
    for number, (path, line) in enumerate(everything, start=1):
        rest = await found(database, index, regex("a"), after=TextPosition(index, path, line))
        assert rest == everything[number:]
    assert await found(database, index, regex("a"), after=TextPosition(index, "a.py", END)) == everything[1:]


async def test_a_search_has_enough_says_where_it_stopped(database: Database, index: int) -> None:
    answer = await TextSearch(database).find(TextQuery([index], regex("."), Filters(), None, 1, 20))
    assert answer.stopped_at == TextPosition(index, "b/d.txt", END) and not answer.timed_out
    whole = await TextSearch(database).find(TextQuery([index], regex("."), Filters(), None, 1000, 20))
    assert whole.stopped_at is None


async def test_filters_and_other_indexes(database: Database, index: int) -> None:
    assert await found(database, index, regex("a"), filters=Filters(languages=("go",))) == [
        ("b/c.go", 1),
        ("b/c.go", 3),
        ("b/c.go", 4),
    ]
    assert await found(database, index, regex("x"), filters=Filters(path="^b/d")) == [("b/d.txt", 6)]
    assert await found(database, index + 1, regex("a")) == []


async def test_what_postgres_refuses_is_said_in_its_words(database: Database, index: int) -> None:
    with pytest.raises(InvalidExpression, match="invalid character range"):
        await found(database, index, regex("[z-a]"))


async def test_no_time_is_no_error(database: Database, index: int) -> None:
    answer = await TextSearch(database).find(TextQuery([index], regex("a"), Filters(), None, 10, 0))
    assert (answer.matches, answer.stopped_at, answer.timed_out) == ([], None, True)
