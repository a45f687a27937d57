"""The chunker: nothing lost, nothing twice, whatever the bytes; cuts and symbols as a reader expects them."""

import itertools
import subprocess
import sys
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from codebase_index.languages import LANGUAGES
from codebase_indexer.chunking import chunker, grammars
from codebase_indexer.chunking.chunker import MIN_BYTES, SourceChunk
from codebase_indexer.chunking.outline import MAX_BYTES
from codebase_indexer.chunking.prose import FORMATS
from tests.fixtures.snippets import LONG as SOURCES
from tests.fixtures.snippets import SHORT, SNIPPETS, body

GRAMMARS = sorted({language.grammar for language in LANGUAGES.values() if language.grammar} - {"notebook"})


def split(data: bytes, grammar: str | None) -> list[SourceChunk]:
    return chunker.split(data, grammar).chunks


def check_whole(data: bytes, chunks: list[SourceChunk]) -> None:
    """What holds for every file: covered exactly once, in order, in bounded pieces with true line numbers."""
    if not data or data.isspace():
        assert chunks == []
        return
    ends = [(chunk.start, chunk.end) for chunk in chunks]
    assert [start for start, _ in ends] == [0, *(end for _, end in ends[:-1])] and ends[-1][1] == len(data)
    for chunk in chunks:
        assert 0 < len(data[chunk.start : chunk.end].strip()) <= MAX_BYTES
        assert chunk.start_line == 1 + data.count(b"\n", 0, chunk.start)
        assert chunk.end_line == 1 + data.count(b"\n", 0, chunk.end - 1)
        assert "\0" not in chunk.text
        assert chunk.text.encode()  # no lone surrogates


@pytest.mark.parametrize("grammar", SOURCES)
def test_definitions_are_cut_apart_and_named(grammar: str) -> None:
    source, names = SOURCES[grammar]
    data = source.encode()
    tree = grammars.load(grammar).parse(data)
    assert tree is not None
    assert not tree.root_node.has_error, "the sample must be valid"
    chunks = split(data, grammar)
    check_whole(data, chunks)
    assert "".join(p.text for p in chunks) == source
    symbols = [p.symbol for p in chunks]
    for name in names:
        assert name in symbols


@pytest.mark.parametrize("grammar", SHORT)
def test_every_definition_of_a_chunk_is_noted_with_its_kind(grammar: str) -> None:
    source, defined = SHORT[grammar]
    (chunk,) = split(source.encode(), grammar)
    assert [f"{symbol.kind} {symbol.name}" for symbol in chunk.defines] == defined


def test_every_grammar_has_a_sample() -> None:
    assert set(GRAMMARS) - {"asciidoc"} <= SNIPPETS.keys()


def test_grammars_are_loaded_when_they_are_needed() -> None:
    code = (
        "import sys, codebase_indexer.pipeline.files\n"
        "from codebase_indexer.chunking import grammars\n"
        "print(grammars.load.cache_info().currsize,"
        " sum('language_pack.bindings.' in name for name in sys.modules))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.split() == ["0", "0"]


def test_members_of_small_classes_are_noted() -> None:
    (chunk,) = split(b"LIMIT = 1\nclass Store:\n    size = 2\n    def put(self):\n        x = 1\n", "python")
    assert [(s.name, s.plain, s.kind) for s in chunk.defines] == [
        ("LIMIT", "LIMIT", "constant"), ("Store", "Store", "class"), ("Store.put", "put", "method"),
    ]  # fmt: skip
    assert (chunk.symbol, chunk.kind) == ("Store", "class")


@pytest.mark.parametrize(
    ("grammar", "source", "name", "plain"),
    [
        ("cpp", b"void app::Store::put(int a) { }\n", "app::Store::put", "put"),
        ("go", b"package a\nfunc (s *Server[T]) Run() {}\n", "Server.Run", "Run"),
        ("lua", b"function M.sub:put() end\n", "M.sub:put", "put"),
        ("hcl", b'data "aws_ami" "web" { }\n', "data.aws_ami.web", "web"),
        ("markdown", b"# v1.2: what is new\n", "v1.2: what is new", "v1.2: what is new"),
    ],
)
def test_a_name_has_a_plain_form(grammar: str, source: bytes, name: str, plain: str) -> None:
    (chunk,) = split(source, grammar)
    assert [(s.name, s.plain) for s in chunk.defines] == [(name, plain)]


@pytest.mark.parametrize("grammar", ["javascript", "typescript"])
@pytest.mark.parametrize(
    ("source", "defined"),
    [
        ("app.use = function use(fn) {};", ["method app.use"]),
        ("Mux.prototype.run = async () => {};", ["method Mux.run"]),
        ("exports.parse = function () {};", ["function parse"]),
        ("load('x').use = function () {};", ["function use"]),
        ("module.exports = function serve(root) {};", ["function serve"]),
        ("module.exports = class Queue { push(x) {} };", ["class Queue", "method Queue.push"]),
        ("module.exports = { parse: function () {}, stop() {}, limit: 3 };", ["method parse", "method stop"]),
        ("class A { go = () => {}; size = 2; #own = () => {}; }", ["class A", "method A.go", "method A.own"]),
        ("function load() { $.ajax({ success: function () {} }); this.x = () => {}; }",
         ["function load", "method load.success", "function load.x"]),
        ("app.get('/', function () {}); a[0] = function () {}; total = a + b;", []),
    ],
)  # fmt: skip
def test_functions_are_known_by_what_they_are_assigned_to(grammar: str, source: str, defined: list[str]) -> None:
    (chunk,) = split(source.encode(), grammar)
    assert [f"{symbol.kind} {symbol.name}" for symbol in chunk.defines] == defined


def test_a_heading_is_named_by_its_path_and_not_looked_for_in_code() -> None:
    text = "Guide\n=====\n\n## Install\n\n```sh\n# not a heading\n```\n\n### Linux\n\n## Use\n"
    (chunk,) = split(text.encode(), "markdown")
    names = [symbol.name for symbol in chunk.defines]
    assert names == ["Guide", "Guide > Install", "Guide > Install > Linux", "Guide > Use"]


def test_comments_and_decorators_stay_with_what_they_are_about() -> None:
    source, _ = SOURCES["python"]
    first = next(p for p in split(source.encode(), "python") if "def first" in p.text)
    assert "# about first\n@cache\ndef first" in first.text


def test_a_definition_that_fits_is_never_cut() -> None:
    functions = [f"def function_{i}(a):\n" + body(f"x{i}_{{0}} = {{0}}")[: 400 + 60 * i] + "\n" for i in range(10)]
    source = "\n".join(functions)
    chunks = split(source.encode(), "python")
    for function in functions:
        if len(function) <= MAX_BYTES - MIN_BYTES:
            assert sum(function.splitlines()[0] in p.text for p in chunks) == 1
            assert any(function.strip() in p.text for p in chunks)


@pytest.mark.parametrize("blank", [b"\n" * 4000, b" \t\n" * 2000, b"\r\n" * 3000, b" " * 5000])
@pytest.mark.parametrize("form", [b"%ba = 1\n", b"a = 1\n%b", b"a = 1\n%bb = 2\n", b"%ba = 1\n%bb = 2\n%b"])
def test_blank_lines_are_kept_however_many(blank: bytes, form: bytes) -> None:
    data = form.replace(b"%b", blank)
    chunks = split(data, "python")
    check_whole(data, chunks)
    assert "".join(chunk.text for chunk in chunks).encode() == data
    assert len(chunks) <= 2  # white space is nothing to embed


def test_module_level_code_is_not_dropped() -> None:
    source = "A = 1\n\ndef f():\n    pass\n\nprint('side effect')\n" * 60
    chunks = split(source.encode(), "python")
    assert "".join(p.text for p in chunks) == source


def test_small_files_are_one_chunk_named_after_their_first_definition() -> None:
    (chunk,) = split(b"import os\n\n\ndef main():\n    pass\n", "python")
    assert (chunk.start_line, chunk.end_line, chunk.symbol) == (1, 5, "main")


def test_a_part_of_a_long_function_is_named_after_it_not_after_its_neighbour() -> None:
    source = "def long():\n" + body("value_{0} = something({0})") * 3 + "\ndef other():\n    pass\n"
    assert [p.symbol for p in split(source.encode(), "python")] == ["long"] * len(split(source.encode(), "python"))


def test_crlf_keeps_its_line_numbers() -> None:
    source = SOURCES["python"][0]
    unix, windows = split(source.encode(), "python"), split(source.replace("\n", "\r\n").encode(), "python")
    assert {p.symbol for p in windows} >= {"first", "Store.put"}
    check_whole(source.replace("\n", "\r\n").encode(), windows)
    assert windows[-1].end_line == unix[-1].end_line


def test_markdown_is_cut_at_headings() -> None:
    text = "".join(f"# Heading {i}\n\n" + "words of a paragraph that goes on\n" * 30 + "\n" for i in range(5))
    for grammar in ("markdown", None):
        assert all(p.text.startswith("# Heading") for p in split(text.encode(), grammar))


def test_a_paragraph_in_one_line_is_cut_between_words() -> None:
    text = "Whoever holds the attempt may write, and all the others have to stop at once. " * 60
    chunks = split(text.encode(), "markdown")
    assert len(chunks) > 2
    assert all(chunk.text.endswith(" ") and not chunk.text.startswith(" ") for chunk in chunks)
    assert "".join(chunk.text for chunk in chunks) == text


def test_a_long_line_is_cut_between_characters() -> None:
    data = ("é" * 5000).encode()
    chunks = split(data, None)
    check_whole(data, chunks)
    assert "".join(p.text for p in chunks) == "é" * 5000
    assert {(p.start_line, p.end_line) for p in chunks} == {(1, 1)}


def test_a_parse_that_takes_too_long_ends_in_chunks_by_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    source = SOURCES["go"][0].encode() * 20
    with monkeypatch.context() as patch:
        patch.setattr(grammars, "PARSE_SECONDS", -1.0)
        chunks = split(source, "go")
    check_whole(source, chunks)
    assert {p.symbol for p in chunks} == {None}
    # The parser is fit for the next file.
    assert "Server.Run" in {p.symbol for p in split(SOURCES["go"][0].encode(), "go")}


def test_a_parse_that_waits_for_the_processor_is_not_late(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(time, "monotonic", itertools.count(0, 10).__next__)  # ten seconds go by between two looks
        chunks = split(SOURCES["go"][0].encode() * 20, "go")
    assert "Server.Run" in {p.symbol for p in chunks}


@pytest.mark.parametrize(
    ("grammar", "data"),
    [
        pytest.param("python", b"x = [" + b"(1+" * 200_000, id="nesting without end"),
        pytest.param("javascript", b"[" * 300_000, id="brackets alone"),
        pytest.param("c", b"a" * 1_000_000, id="one word of a megabyte"),
        pytest.param("python", b"def f():\n" + b" " * 500_000, id="blank tail"),
        pytest.param("go", b"\n" * 1_000_000, id="blank lines alone"),
        pytest.param("java", b"\xff\xfe\x00" * 100_000, id="not text"),
        pytest.param("rust", b"/*" * 200_000, id="comments that do not end"),
        pytest.param("cpp", b"template<" * 100_000, id="templates that do not end"),
        pytest.param("php", b"<?php " * 100_000, id="php over and over"),
        pytest.param("bash", b"$(" * 100_000, id="substitutions that do not end"),
        pytest.param("ruby", b"#{" * 100_000, id="interpolations"),
        pytest.param("python", b"x = {" + b"'key': 'value',\n" * 60_000 + b"}", id="a megabyte of data"),
        pytest.param(None, b"a\r" * 500_000, id="old Mac line ends"),
    ],
)
def test_hostile_files_are_cut_all_the_same(grammar: str | None, data: bytes) -> None:
    check_whole(data, split(data, grammar))


LINES = st.lists(
    st.one_of(
        st.sampled_from(
            ["def f(a):", "class A:", "    return 1", "{", "}", "# note", "", "fn x() {", "if (a) {", "*/"]
        ),
        st.text(max_size=120),
    ),
    max_size=150,
).map("\n".join)


@st.composite
def mutated(draw: st.DrawFn) -> tuple[str, bytes]:
    """Real code of a language with some of its bytes removed, doubled or changed."""
    grammar = draw(st.sampled_from(sorted(SNIPPETS)))
    data = SNIPPETS[grammar].encode() * draw(st.integers(1, 3))
    for _ in range(draw(st.integers(1, 12))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.integers(0, 40)))
        data = (
            data[:start]
            + draw(st.sampled_from([b"", data[start:end] * 2, b"{", b'"', b"(", b"\0", b"\r\n"]))
            + data[end:]
        )
    return grammar, data


@settings(max_examples=300, deadline=None)
@given(mutated())
def test_damaged_code_is_covered_exactly_once(damaged: tuple[str, bytes]) -> None:
    grammar, data = damaged
    check_whole(data, split(data, grammar))


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from([*GRAMMARS, *sorted(FORMATS), None]),
    st.one_of(LINES.map(str.encode), st.binary(max_size=6000)),
)
@example("python", b"")
@example("python", b"\n")
@example("go", b"\xef\xbb\xbfpackage main\n")
@example(None, b"\x80" * 4000)
def test_every_file_is_covered_exactly_once(grammar: str | None, data: bytes) -> None:
    check_whole(data, split(data, grammar))


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=9000), st.dictionaries(st.integers(0, 9000), st.integers(0, 5), max_size=60))
def test_spans_cover_a_file_whatever_the_cuts(data: bytes, cuts: dict[int, int]) -> None:
    cuts = {offset: depth for offset, depth in cuts.items() if offset <= len(data)}
    spans = list(chunker.spans(data, cuts))
    assert b"".join(data[a:b] for a, b in spans) == data
    assert all(0 < b - a <= MAX_BYTES for a, b in spans)


def test_the_outermost_cut_wins_and_the_last_of_equal_ones() -> None:
    data = b"x" * 99 + b"\n"
    cuts = {1000: 1, 1100: 0, 1200: 0, 1300: 1}
    assert next(chunker.spans(data * 30, cuts)) == (0, 1200)


def test_a_parsed_file_is_let_go() -> None:
    """tree-sitter's binding keeps what its callback returns: 30 KB of each file, and 2 GB of 50,000."""
    data = b"def f():\n    return 1\n" * 100 + b"x = 1\n"
    held = sys.getrefcount(data)
    assert grammars.load("python").parse(data) is not None
    assert sys.getrefcount(data) == held
