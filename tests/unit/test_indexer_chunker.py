# ruff: noqa: E501 - the samples of code are easier to read in whole lines
"""The chunker: nothing lost, nothing twice, whatever the bytes; cuts and symbols as a reader expects them."""

from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from codebase_indexer import chunker, grammars
from codebase_indexer.chunker import MAX_BYTES, MIN_BYTES, chunk

GRAMMARS = [
    "python", "javascript", "typescript", "tsx", "go", "rust", "java", "c", "cpp", "ruby", "php", "csharp", "bash",
]  # fmt: skip

FILL = 45  # lines of body that make a definition about 1,200 bytes long: a chunk of its own


def body(statement: str, indent: str = "    ") -> str:
    return "".join(f"{indent}{statement.format(i)}\n" for i in range(FILL))


SOURCES: dict[str, tuple[str, list[str]]] = {
    "python": (
        '"""Module."""\nimport os\n\nLIMIT = 3\n\n'
        "# about first\n@cache\ndef first(a):\n" + body("value_{0} = compute(a, {0})")
        + "\n\nclass Store:\n    '''Keeps things.'''\n\n    def get(self):\n" + body("v_{0} = self.x[{0}]", " " * 8)
        + "\n    async def put(self):\n" + body("v_{0} = self.y[{0}]", " " * 8)
        + "\n\nif __name__ == '__main__':\n    first(LIMIT)\n",
        ["first", "Store", "Store.put"],
    ),
    "javascript": (
        "import x from 'x';\n\n/** about */\nexport function first(a) {\n" + body("const v{0} = a + {0};") + "}\n\n"
        "export const second = async (b) => {\n" + body("const w{0} = b * {0};") + "};\n\n"
        "class Store {\n  get() {\n" + body("this.v{0} = {0};") + "  }\n\n  put() {\n" + body("this.w{0} = {0};")
        + "  }\n}\n",
        ["first", "second", "Store", "Store.put"],
    ),
    "typescript": (
        "export interface Shape {\n" + body("side{0}: number;") + "}\n\n"
        "export abstract class Store<T> {\n  private get(a: T): void {\n" + body("this.v{0} = {0};") + "  }\n}\n\n"
        "namespace Deep {\n  export function inner() {\n" + body("let w{0} = {0};") + "  }\n}\n",
        ["Shape", "Store", "Deep.inner"],
    ),
    "tsx": (
        "const App: FC = () => {\n" + body("const v{0} = use({0});") + "  return <div>hello</div>;\n};\n\n"
        "export function Page() {\n" + body("const w{0} = use({0});") + "  return <App />;\n}\n",
        ["App", "Page"],
    ),
    "go": (
        "package main\n\nimport \"fmt\"\n\n// Server serves.\ntype Server struct {\n" + body("field{0} int64 // note {0}", "\t")
        + "}\n\n// Run runs.\nfunc (s *Server) Run(n int) error {\n" + body("fmt.Println(n, {0}, s)", "\t")
        + "}\n\nfunc (l List[T]) Len() int {\n" + body("fmt.Println(l, {0})", "\t") + "}\n\nfunc main() {\n"
        + body("fmt.Println(\"main\", {0})", "\t") + "}\n",
        ["Server", "Server.Run", "List.Len", "main"],
    ),
    "rust": (
        "use std::io;\n\n/// About.\n#[derive(Debug)]\npub struct Store {\n" + body("field_{0}: Vec<u8>, // {0}")
        + "}\n\nimpl Store {\n    pub fn get(&self) {\n" + body("let v{0} = self.field_{0};", " " * 8)
        + "    }\n\n    fn put(&mut self) {\n" + body("let w{0} = self.field_{0};", " " * 8) + "    }\n}\n",
        ["Store", "Store.get", "Store.put"],
    ),
    "java": (
        "package a.b;\n\n/** About. */\n@Entity\npublic class Store {\n    @Override\n    public void get() {\n"
        + body("int v{0} = {0};", " " * 8) + "    }\n\n    Store() {\n" + body("int w{0} = {0} + 1;", " " * 8)
        + "    }\n}\n\nenum Colour {\n" + ",\n".join(f"    COLOUR_NUMBER_{i}" for i in range(FILL)) + "\n}\n",
        ["Store", "Store.Store", "Colour"],
    ),
    "c": (
        "#include <x.h>\n\n/* about */\nstatic char *first(int a)\n{\n" + body("int v{0} = a + {0} * 2;") + "}\n\n"
        "struct point {\n" + body("int coordinate_{0}; /* {0} */") + "};\n\nint second(struct point *p)\n{\n"
        + body("p->coordinate_{0} = {0};") + "}\n",
        ["first", "point", "second"],
    ),
    "cpp": (
        "namespace app {\n\ntemplate <typename T>\nclass Store {\n public:\n  void get() {\n" + body("int v{0} = {0};")
        + "  }\n};\n\nvoid Store::put(int a) {\n" + body("int w{0} = a + {0};") + "}\n\n}  // namespace app\n",
        ["app.Store", "app.Store::put"],
    ),
    "ruby": (
        "module App\n  class Store\n    # about\n    def get(a)\n" + body("v{0} = a + {0}", " " * 6)
        + "    end\n\n    def self.put(b)\n" + body("w{0} = b + {0}", " " * 6) + "    end\n  end\nend\n",
        ["App.Store", "App.Store.put"],
    ),
    "php": (
        "<?php\nnamespace App;\n\n/** about */\nclass Store {\n    public function get($a) {\n"
        + body("$v{0} = $a + {0};", " " * 8) + "    }\n\n    private function put($b) {\n"
        + body("$w{0} = $b + {0};", " " * 8) + "    }\n}\n\nfunction first() {\n" + body("echo {0} + 100;") + "}\n",
        ["Store", "Store.put", "first"],
    ),
    "csharp": (
        "using System;\n\nnamespace App\n{\n    /// <summary>About</summary>\n    [Serializable]\n    public class Store\n"
        "    {\n        public int Get(int a)\n        {\n" + body("var v{0} = a + {0};", " " * 12)
        + "        }\n\n        void Put()\n        {\n" + body("var w{0} = {0};", " " * 12) + "        }\n    }\n}\n",
        ["App.Store", "App.Store.Put"],
    ),
    "bash": (
        "#!/bin/bash\nset -eu\n\n# about\nfirst() {\n" + body("echo value {0} of many") + "}\n\nfunction second {\n"
        + body("echo other value {0} of many") + "}\n\nfirst; second\n",
        ["first", "second"],
    ),
}  # fmt: skip


def check_whole(data: bytes, pieces: list[chunker.Piece]) -> None:
    """What holds for every file: covered exactly once, in order, in bounded pieces with true line numbers."""
    assert all(a.end <= b.start for a, b in pairwise(pieces))
    gaps = zip([0, *(p.end for p in pieces)], [*(p.start for p in pieces), len(data)], strict=True)
    assert all(not data[a:b].strip() for a, b in gaps)
    for piece in pieces:
        assert 0 < piece.end - piece.start <= MAX_BYTES
        assert piece.start_line == 1 + data.count(b"\n", 0, piece.start)
        assert piece.end_line == 1 + data.count(b"\n", 0, piece.end - 1)
        assert "\0" not in piece.text
        assert piece.text.encode()  # no lone surrogates


@pytest.mark.parametrize("grammar", GRAMMARS)
def test_definitions_are_cut_apart_and_named(grammar: str) -> None:
    source, names = SOURCES[grammar]
    data = source.encode()
    tree = grammars.load(grammar).parse(data)
    assert tree is not None
    assert not tree.root_node.has_error, "the sample must be valid"
    pieces = chunk(data, grammar)
    check_whole(data, pieces)
    assert "".join(p.text for p in pieces) == source
    symbols = [p.symbol for p in pieces]
    for name in names:
        assert name in symbols


def test_comments_and_decorators_stay_with_what_they_are_about() -> None:
    source, _ = SOURCES["python"]
    first = next(p for p in chunk(source.encode(), "python") if "def first" in p.text)
    assert "# about first\n@cache\ndef first" in first.text


def test_a_definition_that_fits_is_never_cut() -> None:
    functions = [f"def function_{i}(a):\n" + body(f"x{i}_{{0}} = {{0}}")[: 400 + 60 * i] + "\n" for i in range(10)]
    source = "\n".join(functions)
    pieces = chunk(source.encode(), "python")
    for function in functions:
        if len(function) <= MAX_BYTES - MIN_BYTES:
            assert sum(function.splitlines()[0] in p.text for p in pieces) == 1
            assert any(function.strip() in p.text for p in pieces)


def test_module_level_code_is_not_dropped() -> None:
    source = "A = 1\n\ndef f():\n    pass\n\nprint('side effect')\n" * 60
    pieces = chunk(source.encode(), "python")
    assert "".join(p.text for p in pieces) == source


def test_small_files_are_one_chunk_named_after_their_first_definition() -> None:
    (piece,) = chunk(b"import os\n\n\ndef main():\n    pass\n", "python")
    assert (piece.start_line, piece.end_line, piece.symbol) == (1, 5, "main")


def test_a_part_of_a_long_function_is_named_after_it_not_after_its_neighbour() -> None:
    source = "def long():\n" + body("value_{0} = something({0})") * 3 + "\ndef other():\n    pass\n"
    assert [p.symbol for p in chunk(source.encode(), "python")] == ["long"] * len(chunk(source.encode(), "python"))


def test_crlf_keeps_its_line_numbers() -> None:
    source = SOURCES["python"][0]
    unix, windows = chunk(source.encode(), "python"), chunk(source.replace("\n", "\r\n").encode(), "python")
    assert {p.symbol for p in windows} >= {"first", "Store.put"}
    check_whole(source.replace("\n", "\r\n").encode(), windows)
    assert windows[-1].end_line == unix[-1].end_line


def test_markdown_is_cut_at_headings() -> None:
    text = "".join(f"# Heading {i}\n\n" + "words of a paragraph that goes on\n" * 30 + "\n" for i in range(5))
    assert all(p.text.startswith("# Heading") for p in chunk(text.encode(), None))


def test_a_long_line_is_cut_between_characters() -> None:
    data = ("é" * 5000).encode()
    pieces = chunk(data, None)
    check_whole(data, pieces)
    assert "".join(p.text for p in pieces) == "é" * 5000
    assert {(p.start_line, p.end_line) for p in pieces} == {(1, 1)}


def test_a_parse_that_takes_too_long_ends_in_chunks_by_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    source = SOURCES["go"][0].encode() * 20
    with monkeypatch.context() as patch:
        patch.setattr(grammars, "PARSE_SECONDS", -1.0)
        pieces = chunk(source, "go")
    check_whole(source, pieces)
    assert {p.symbol for p in pieces} == {None}
    # The parser is fit for the next file.
    assert "Server.Run" in {p.symbol for p in chunk(SOURCES["go"][0].encode(), "go")}


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
    check_whole(data, chunk(data, grammar))


LINES = st.lists(
    st.one_of(
        st.sampled_from(
            ["def f(a):", "class A:", "    return 1", "{", "}", "# note", "", "fn x() {", "if (a) {", "*/"]
        ),
        st.text(max_size=120),
    ),
    max_size=150,
).map("\n".join)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from([*GRAMMARS, None]), st.one_of(LINES.map(str.encode), st.binary(max_size=6000)))
@example("python", b"")
@example("python", b"\n")
@example("go", b"\xef\xbb\xbfpackage main\n")
@example(None, b"\x80" * 4000)
def test_every_file_is_covered_exactly_once(grammar: str | None, data: bytes) -> None:
    check_whole(data, chunk(data, grammar))


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
