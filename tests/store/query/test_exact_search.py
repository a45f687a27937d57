"""Text search finds every line that Python finds in the same texts, whatever they are indexed in."""

import random
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from codebase_index.lexical.gram_filter import Condition
from codebase_index.pattern import Pattern, literal, regex
from codebase_index.store.database import Database
from codebase_index.store.ingest import segments
from codebase_index.store.ingest.chunks import Writer
from codebase_index.store.ingest.segments import Segments
from codebase_index.store.query import text_search
from codebase_index.store.query.filters import Filters
from codebase_index.store.query.text_search import TextQuery, TextResult, TextSearch
from tests.store.indexed_files import indexed

CHECKOUT = Path(__file__).resolve().parents[3]
CHUNK_LINES = 25
SEED = 16

STRANGE = {
    "strange/punctuation.js": "a->b; x != y !== z\n" * 3 + "=>>===\n/* ***** */ <!-- -->\n$$_$ @@ ## %% ^^\n",
    "strange/unicode.py": "größe = 'STRASSE Straße straẞe'\nпеременная = ПЕРЕМЕННАЯ\nΣΊΣΥΦΟΣ Σίσυφος σίσυφος\n"
    "İstanbul ısı\n"
    "ﬁle Kelvin K 1½ e\u0301te \u00e9t\u00e9 日本語のテキスト 検索エンジン ค้นหา\n",
    "strange/long.txt": "prefix" + "QUJD" * 200 + "needleInside" + "ZGVm" * 200 + "\n"
    + "_" * 300 + "\n" + "0" * 200 + "1\n",
    "strange/space.py": "if  x   ==\ty :\n\treturn\u00a0x\r\nif x == y:\r\n   \n\n\u3000wide\n",
    "strange/case.go": "parseHTTPResponse ParseHttpResponse PARSE_HTTP parse-http\nfooBar FooBAR foo_bar foobar\n",
}  # fmt: skip


def own_files() -> dict[str, str]:
    """Code and prose of this repository."""
    paths = [p for folder in ("codebase_index", "docs") for p in (CHECKOUT / folder).rglob("*")]
    files = [p for p in sorted(paths) if p.suffix in {".py", ".sql", ".md", ".yaml", ".tpl"}]
    return {str(p.relative_to(CHECKOUT)): p.read_text() for p in files}


FILES = {**STRANGE, **own_files()}


@pytest.fixture
async def indexes(database: Database, monkeypatch: pytest.MonkeyPatch) -> Mapping[int, Mapping[str, str]]:
    """The files by index: in pending batches, in segments, in both, and as the release before wrote them."""
    monkeypatch.setattr(segments, "SEGMENT_CHUNKS", 200)
    paths = sorted(FILES)
    contents, writers = {}, []
    for number in range(4):
        own = {path: FILES[path] for path in [*paths[number::4], *STRANGE]}
        writers.append(await indexed(database, own, CHUNK_LINES, name=f"repository{number}", batch=7))
        contents[writers[-1].index_id] = own
    for writer, steps in zip(writers[1:], (99, 1, 99), strict=True):
        await build(database, writer, steps)
    async with database.connection() as connection:
        await connection.execute(
            "UPDATE segments SET grams = NULL WHERE id = (SELECT min(id) FROM segments WHERE index_id = $1)",
            writers[3].index_id,
        )
    return contents


async def build(database: Database, writer: Writer, steps: int) -> None:
    for _ in range(steps):
        if not await Segments(database).build(writer):
            return


async def find(database: Database, indexes: Iterable[int], pattern: Pattern, lines: int) -> TextResult:
    return await TextSearch(database).find(TextQuery(list(indexes), pattern, Filters(), None, lines, 60))


async def found(database: Database, indexes: Iterable[int], pattern: Pattern) -> list[tuple[int, str, int]]:
    """All lines that a search finds."""
    result = await find(database, indexes, pattern, 10**6)
    assert result.stopped_at is None and not result.timed_out and not result.further_lines
    return [(match.index_id, match.path, line) for match in result.matches for line in match.lines]


def scanned(indexes: Mapping[int, Mapping[str, str]], compiled: re.Pattern[str]) -> list[tuple[int, str, int]]:
    """All lines that Python finds."""
    return [
        (index_id, path, number)
        for index_id, files in indexes.items()
        for path in sorted(files)
        for number, line in enumerate(files[path].split("\n"), start=1)
        if compiled.search(line.removesuffix("\r"))
    ]


def literals(rng: random.Random, count: int) -> list[str]:
    """Pieces of lines, of words and across them."""
    lines = [line for text in FILES.values() for line in text.split("\n") if line.strip()]
    pieces: list[str] = []
    while len(pieces) < count:
        line = rng.choice(lines)
        begin = rng.randrange(len(line))
        piece = line[begin : begin + rng.choice((1, 2, 3, 3, 4, 5, 6, 8, 12, 20, 40))].rstrip("\r")
        if piece:
            pieces.append(piece)
    return pieces


def expressions(rng: random.Random, count: int) -> list[str]:
    """Expressions made of pieces: parts that may be missing, alternatives, groups, any case."""
    pieces = [re.escape(piece).replace("\\\n", "") for piece in literals(rng, 4 * count) if piece.isascii()]
    joints = (r"\w*", ".*", r"\s+", "[a-z_]+", "?", r"\b", "", r"\S{0,3}", "+")
    made = []
    for number in range(count):
        a, b, c = rng.sample(pieces, 3)
        shape = rng.choice(("{a}{j}{b}", "{a}{j}", "({a}|{b})", "(?:{a}|{b}{j}){c}", "(?:{a})?{b}", "{a}|{b}|{c}"))
        made.append(("(?i)" if number % 4 == 0 else "") + shape.format(a=a, b=b, c=c, j=rng.choice(joints)))
    return [expression for expression in made if not re.search(expression, "")]  # else all lines match


async def test_every_literal_is_found_where_python_finds_it(
    database: Database, indexes: Mapping[int, Mapping[str, str]]
) -> None:
    rng = random.Random(SEED)
    strange = [piece for text in STRANGE.values() for line in text.split("\n") for piece in line.split() if piece]
    for text in [*literals(rng, 80), *(piece[:50] for piece in strange), "->", "!=", "needleInside", "xqzvw"]:
        assert await found(database, indexes, literal(text)) == scanned(
            indexes, re.compile(re.escape(text))
        ), text  # fmt: skip


async def test_every_expression_is_found_where_python_finds_it(
    database: Database, indexes: Mapping[int, Mapping[str, str]]
) -> None:
    # Python has case pairs of its own beyond ASCII: an i without a dot is an i.
    ascii_lines = {
        index_id: {
            path: "\n".join(line if line.isascii() else "" for line in text.split("\n"))
            for path, text in files.items()
        }
        for index_id, files in indexes.items()
    }
    for expression in expressions(random.Random(SEED), 80):
        lines = [
            (index_id, path, line)
            for index_id, path, line in await found(database, indexes, regex(expression))
            if indexes[index_id][path].split("\n")[line - 1].isascii()
        ]
        assert lines == scanned(ascii_lines, re.compile(expression)), expression


async def test_any_case_is_found_in_other_scripts_too(
    database: Database, indexes: Mapping[int, Mapping[str, str]]
) -> None:
    for text, lines in {"straße": 1, "ПЕРЕМЕННАЯ": 1, "сизиф": 0, "parse_HTTP PARSE-http": 1, "ıSı": 1}.items():
        places = await found(database, indexes, literal(text).in_any_case())
        assert len([path for _, path, _ in places if path in STRANGE]) == lines * len(indexes), text


async def test_a_first_page_counts_all_others_exactly(
    database: Database, indexes: Mapping[int, Mapping[str, str]]
) -> None:
    every = scanned(indexes, re.compile("dataclass"))
    result = await find(database, indexes, literal("dataclass"), 5)
    shown = sum(len(match.lines) for match in result.matches)
    assert result.stopped_at is None and 5 <= shown < len(every) == shown + result.further_lines


async def test_a_common_text_is_read_file_by_file(
    database: Database, indexes: Mapping[int, Mapping[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_search, "MAX_TOGETHER", 3)
    monkeypatch.setattr(text_search, "_FIRST_FILES", 2)
    for text in ("return", "dataclass", "needleInside"):
        assert await found(database, indexes, literal(text)) == scanned(indexes, re.compile(text))


async def test_pages_of_any_size_show_each_line_once(
    database: Database, indexes: Mapping[int, Mapping[str, str]]
) -> None:
    query = TextQuery(list(indexes), literal("import"), Filters(), None, 7, 60)
    seen: list[tuple[int, str, int]] = []
    while True:
        result = await TextSearch(database).find(query)
        places = [text_search.TextPosition(m.index_id, m.path, line) for m in result.matches for line in m.lines]
        seen += [(place.index_id, place.path, place.line) for place in places]
        if result.stopped_at is None and not result.further_lines:
            break
        query = replace(query, after=places[-1] if places else result.stopped_at)
    assert seen == scanned(indexes, re.compile("import"))


async def test_what_the_release_before_wrote_is_completed_by_the_next_job(
    database: Database, indexes: Mapping[int, Mapping[str, str]]
) -> None:
    *_, old = indexes
    before = await find(database, [old], literal("needleInside"), 10)
    assert set(before.unfiltered) == {old}
    async with database.connection() as connection:
        job = await connection.fetchrow("SELECT id, attempt FROM jobs WHERE source = '/work/repository3'")
    await Segments(database).fill_grams(Writer(job["id"], job["attempt"], old, "m", "f"))
    after = await find(database, [old], literal("needleInside"), 10)
    assert not after.unfiltered and after.matches == before.matches


def test_all_but_the_shortest_texts_are_looked_up() -> None:
    assert all(Condition.of([(text,)]) for text in ("abc", "==>", "語", "x = y"))
    assert not any(Condition.of([(text,)]) for text in ("->", "a b", "  \t  "))
