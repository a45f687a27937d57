import random
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from codebase_index.lexical.words import terms
from codebase_index.store.query.candidate import Candidate
from codebase_mcp.ranking import copies, features
from codebase_mcp.ranking.definitions import chunk_names
from codebase_mcp.ranking.fit import FLOOR, fit
from codebase_mcp.ranking.paths import possible_heads
from codebase_mcp.ranking.query import Query
from codebase_mcp.ranking.ranking import rank
from codebase_mcp.ranking.stems import coarse_stem
from codebase_mcp.ranking.weights import DEFAULT
from codebase_mcp.search.excerpt import CUT, MAX_EXCERPT_CHARACTERS, MAX_EXCERPT_LINES, excerpt


def candidate(path: str = "src/a.py", **values: Any) -> Candidate:
    given = {
        "id": 1, "index_id": 1, "path": path, "language": "python", "start_line": 1, "end_line": 10,
        "symbol": None, "text": "", "vector_score": 0.0, "lexical_score": 0.0,
    }  # fmt: skip
    return Candidate(**{**given, "terms": frozenset(terms(values.get("text", ""))), **values})


NOISE = candidate("noise.py", id=99)
"""Scores are scaled to the range from the worst candidate to the best: this is the worst."""


def order(query: str, *candidates: Candidate) -> list[str]:
    return [r.candidate.path for r in rank(Query.of(query), [*candidates, NOISE], 10) if r.candidate is not NOISE]


# --- what comes first --------------------------------------------------------------------------------


def test_both_arms_together_beat_either_alone() -> None:
    both = candidate("both", vector_score=0.8, lexical_score=4.0)
    lexical, vector = candidate("lexical", lexical_score=5.0), candidate("vector", vector_score=1.0)
    assert order("send the mail", lexical, vector, both)[0] == "both"


def test_a_single_name_trusts_the_lexical_arm() -> None:
    lexical, vector = candidate("lexical", lexical_score=5.0), candidate("vector", vector_score=1.0)
    assert order("sendMail", vector, lexical) == ["lexical", "vector"]


def test_the_definition_comes_before_uses_that_match_better() -> None:
    use = candidate("use.py", text="Basket() Basket() Basket()", lexical_score=9.0, vector_score=0.9)
    definition = candidate("model.py", text="class Basket:\n    pass", lexical_score=6.0, vector_score=0.6)
    assert order("Basket", use, definition)[0] == "model.py"


def test_code_comes_before_its_tests_and_documents() -> None:
    scores = {"vector_score": 0.9, "lexical_score": 9.0}
    code = candidate("src/mail.py", vector_score=0.5, lexical_score=5.0)
    non_source = [candidate(path, **scores) for path in ("tests/test_mail.py", "docs/mail.md", "vendor/mail.py")]
    assert order("send mail", *non_source, code)[0] == "src/mail.py"
    assert order("tests of send mail", *non_source, code)[0] == "tests/test_mail.py"
    assert order("documentation of send mail", *non_source, code)[0] == "docs/mail.md"


@pytest.mark.parametrize("query", ["JSON object with named fields", "fields of the json objects"])
def test_words_in_a_row_spell_a_name(query: str) -> None:
    spelled = candidate("spelled.java", text="class JsonObject {", vector_score=0.5)
    scattered = candidate("scattered.java", text="class ObjectToJson {", vector_score=0.6)
    assert order(query, scattered, spelled)[0] == "spelled.java"


def test_words_that_a_stop_word_divides_spell_nothing() -> None:
    assert Query.of("parse the json of an object").spellings == frozenset()
    assert Query.of("type adapter factories").spellings >= {"typadapt"}


def test_a_file_that_answers_often_comes_first() -> None:
    often = [candidate("often.py", id=i, start_line=10 * i, vector_score=0.8, lexical_score=4.0) for i in range(5)]
    once = candidate("once.py", id=9, vector_score=0.82, lexical_score=4.0)
    assert order("parse the header", once, *often)[0] == "often.py"


def test_further_chunks_of_a_file_give_way_to_other_files() -> None:
    same = [
        candidate("same.py", id=i, start_line=10 * i, vector_score=0.9, lexical_score=5.0) for i in range(1, 4)
    ]
    other = candidate("other.py", id=9, vector_score=0.7, lexical_score=4.0)
    assert order("parse the header", *same, other)[:2] == ["same.py", "other.py"]


def test_a_file_that_is_nearly_all_there_is_keeps_its_places() -> None:
    tool = [candidate("tool.py", id=i, start_line=10 * i, vector_score=0.9, lexical_score=5.0) for i in range(30)]
    completions = [candidate(f"{i}.bash", id=40 + i, vector_score=0.6, lexical_score=3.0) for i in range(8)]
    assert order("parse the header", *tool, *completions)[:3] == ["tool.py"] * 3


def test_the_parts_of_a_file_lift_it() -> None:
    whole = candidate("Mapper.cs", id=1, vector_score=0.8, lexical_score=4.0)
    other = candidate("Buffer.cs", id=2, vector_score=0.82, lexical_score=4.1)
    parts = [candidate(f"Mapper.{i}.cs", id=10 + i, vector_score=0.6, lexical_score=3.0) for i in range(4)]
    assert order("parse the header", whole, other)[0] == "Buffer.cs"
    assert order("parse the header", whole, other, *parts)[0] == "Mapper.cs"


def test_a_document_called_like_the_query_is_its_answer() -> None:
    page = candidate("docs/decisions/0002-fencing-token-in-postgres.md", vector_score=0.8, lexical_score=4.0)
    code = candidate("store/jobs.py", vector_score=0.8, lexical_score=4.0)
    assert order("fencing token", code, page)[0] == page.path
    assert order("fencing", code, page)[0] == code.path


def test_a_score_says_how_much_of_the_query_and_its_meaning_was_found() -> None:
    weights = {"parse": 1.0, "header": 3.0}
    near = candidate(terms=frozenset(["header"]), vector_score=0.65, model="static/a")
    far = candidate(terms=frozenset(), vector_score=0.2, model="static/a")
    assert fit([near, far], [near, far], weights) == pytest.approx((0.75 + 0.65) / 2)
    assert fit([far], [far], weights) == pytest.approx(0.1) and FLOOR > 0.1
    other_model = candidate(terms=frozenset(["parse"]), vector_score=0.9, model="openai/b")
    assert fit([other_model], [other_model], weights) == pytest.approx(0.25)
    assert fit([], [], {}) == 0


HEADER = "def parse_header(line):\n    name, _, value = line.partition(':')\n    return name, value.strip()\n"


def places(query: str, *found: Candidate) -> list[list[int]]:
    """Return the index of each result, and those of its copies."""
    return [[c.index_id for c in (r.candidate, *r.copies)] for r in rank(Query.of(query), found, 10)]


def test_the_same_code_in_several_indexes_is_one_result() -> None:
    refs = [candidate("header.py", id=i, index_id=i, text=HEADER, vector_score=0.8) for i in (1, 2)]
    fork = candidate("lib/header.py", id=3, index_id=3, text=HEADER, vector_score=0.8)
    other = candidate(
        "other.py", id=4, index_id=2, text="def render(page):\n    return page.lines[:40] + page.end\n"
    )
    assert places("parse header", *refs, fork, other) == [[1, 2, 3], [2]]


@pytest.mark.parametrize(
    ("added", "count"), [("", 1), ("    # a remark\n", 1), ("    f(1)\n    f(2)\n    f(3)\n", 2)]
)
def test_a_version_with_nearly_the_same_lines_is_no_further_result(added: str, count: int) -> None:
    base = HEADER + "\n".join(f"line_{n} = {n}" for n in range(4)) + "\n"
    versions = [
        candidate("header.py", id=i, index_id=i, text=text) for i, text in enumerate((base, base + added), 1)
    ]
    assert len(places("parse header", *versions)) == count


@pytest.mark.parametrize("count", [300, 600])
def test_versions_of_a_large_file_are_compared_with_their_neighbours_alone(
    count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared = 0
    shares_lines = copies._shares_lines

    def counted(*versions: Any) -> bool:
        nonlocal compared
        compared += 1
        return shares_lines(*versions)

    monkeypatch.setattr(copies, "_shares_lines", counted)
    parts = {i: "".join(f"{i // 2}: {n}\n" for n in range(9)) + "#\n" * (i % 2) for i in range(count)}
    found = [candidate("a.md", id=i, index_id=i % 2, start_line=i, text=text) for i, text in parts.items()]
    assert copies.group(found) == [[i, i + 1] for i in range(0, count, 2)]
    assert compared <= 2 * copies.MAX_NEIGHBORS * count


def test_equal_code_in_one_repository_is_two_places() -> None:
    same = [candidate(path, id=i, text=HEADER) for i, path in enumerate(("a.py", "b.py"))]
    assert places("parse header", *same) == [[1], [1]]


@pytest.mark.parametrize(
    ("path", "heads"),
    [
        ("Dapper/SqlMapper.Async.cs", ("Dapper/SqlMapper.cs", "Dapper.cs")),
        ("lib/engine/configuration.rb", ("lib/engine.rb",)),
        ("a.test.ts", ("a.ts",)),
        ("a.py", ()),
        (".gitignore", ()),
        ("x/.a.b", ("x.b",)),
        ("x/Makefile", ()),
    ],
)
def test_a_file_may_be_a_part_of_another(path: str, heads: tuple[str, ...]) -> None:
    assert possible_heads(path) == heads


# --- what always holds -------------------------------------------------------------------------------

CANDIDATES = st.lists(
    st.builds(
        candidate,
        path=st.sampled_from(["a.py", "b/mod.rs", "tests/c.go", "README.md", "d/e/f.c"]),
        id=st.integers(1, 10**6),
        index_id=st.integers(1, 2),
        start_line=st.integers(1, 500),
        symbol=st.sampled_from([None, "Basket", "Basket.total"]),
        text=st.sampled_from(["", "class Basket:", "def total(self):", "x = 1"]),
        vector_score=st.floats(-1, 1, width=32),
        lexical_score=st.floats(0, 100, width=32),
    ),
    max_size=40,
    unique_by=lambda c: c.id,
)
QUERIES = st.one_of(st.sampled_from(["Basket", "total of the basket", "tests"]), st.text(max_size=50))


@given(QUERIES, CANDIDATES, st.integers(1, 50))
def test_a_ranking_is_a_sorted_choice_of_the_candidates(query: str, found: list[Candidate], limit: int) -> None:
    read = Query.of(query)
    every = rank(read, found, len(found))
    told = [candidate.id for r in every for candidate in (r.candidate, *r.copies)]
    assert sorted(told) == sorted(c.id for c in found)  # each once: as a result, or as a copy of one
    ranked = rank(read, found, limit)
    assert ranked == every[:limit]
    assert [r.score for r in ranked] == sorted((r.score for r in ranked), reverse=True)


@given(QUERIES, CANDIDATES, st.randoms(use_true_random=False))
def test_the_order_in_which_candidates_come_does_not_matter(
    query: str, found: list[Candidate], random_: random.Random
) -> None:
    shuffled = random_.sample(found, len(found))
    read = Query.of(query)
    assert rank(read, found, 50) == rank(read, shuffled, 50)


@given(QUERIES, CANDIDATES, st.integers(1, 20))
def test_a_smaller_limit_only_cuts(query: str, found: list[Candidate], limit: int) -> None:
    read = Query.of(query)
    assert rank(read, found, limit) == rank(read, found, 50)[:limit]


def test_equal_candidates_come_by_path_and_line() -> None:
    places = [("b.py", 1), ("a.py", 20), ("c.py", 1)]
    same = [candidate(path, id=i, start_line=line) for i, (path, line) in enumerate(places)]
    assert order("x", *same) == ["a.py", "b.py", "c.py"]


# --- features ----------------------------------------------------------------------------------------


class _AllAlike(features.Idf):
    def weighted_share(self, stems: frozenset[str], among: Iterable[str]) -> float:
        return len(stems.intersection(among)) / len(stems) if stems else 0.0


ALIKE = _AllAlike([], [])


def definitions(query: str, text: str, symbol: str | None = None, path: str = "a.py") -> float:
    return features.definition_score(Query.of(query), chunk_names(path, text, symbol), ALIKE, DEFAULT)


def location(query: str, path: str) -> float:
    return features.path_score(Query.of(query), path, ALIKE, DEFAULT)


def kind_factor(query: str, path: str) -> float:
    return features.kind_factor(Query.of(query), path, DEFAULT)


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("Basket", "class Basket:"),
        ("Basket", "pub struct Basket {"),
        ("Basket", "type Basket interface {"),
        ("uv_run", "#define uv_run(x) x"),
        ("total_price", "def total_price(self):"),
        ("ServeHTTP", "func (mx *Mux) ServeHTTP(w http.ResponseWriter) {"),
        ("where is total_price", "fn total_price() -> u32 {"),
    ],
)
def test_a_definition_of_what_is_named_is_seen(query: str, text: str) -> None:
    assert definitions(query, text) >= DEFAULT.name_definition


def test_a_symbol_counts_where_it_begins_and_not_where_it_goes_on() -> None:
    assert definitions("uv_run", "int uv_run(uv_loop_t* loop) {", "uv_run") >= DEFAULT.name_definition
    assert definitions("uv_run", "  r = poll();", "uv_run") == 0


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("Mapper.cs", "namespace Basket\n{\n    public class Mapper {"),
        ("mail.rb", "#   class Basket < Mail::Basket\n#   end\nmodule Mail"),
        ("mail.ts", "/**\n * class Basket extends Mail {}\n */\nclass Mail {"),
        ("mail.cc", "  // struct Basket { int n; };"),
    ],
)
def test_a_namespace_and_an_example_in_a_comment_define_nothing(path: str, text: str) -> None:
    assert definitions("Basket", text, path=path) == 0


def test_a_macro_is_no_comment() -> None:
    assert definitions("Basket", "#define Basket(x) x", path="mail.h") >= DEFAULT.name_definition


def test_an_english_word_that_is_also_a_name_counts_little() -> None:
    assert definitions("how is a request parsed", "class request:") < DEFAULT.name_definition


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("extract/mod.rs", "pub use axum_core::extract::{FromRef, FromRequest};"),
        ("src/index.ts", "export { FromRequest } from './extract'"),
        ("src/index.ts", "export type { FromRequest } from './extract'"),
        ("pkg/__init__.py", "from .extract import FromRequest as FromRequest"),
        ("pkg/__init__.py", "from .extract import (\n    FromRef,\n    FromRequest,\n)"),
    ],
)
def test_a_name_that_is_passed_on_counts_less_than_its_definition(path: str, text: str) -> None:
    assert definitions("FromRequest", text, path=path) == DEFAULT.reexports
    assert definitions("FromRequest", "class FromRequest:") > DEFAULT.reexports


def test_an_import_passes_nothing_on() -> None:
    assert definitions("FromRequest", "from .extract import FromRequest", path="pkg/app.py") == 0
    assert definitions("FromRequest", "use axum_core::extract::FromRequest;", path="src/a.rs") == 0


def test_a_term_set_has_the_stems_of_terms_that_are_no_stop_words() -> None:
    query = Query.of("how are the cookies parsed")
    assert query.term_set({"the", "cookies", "are"}) == {coarse_stem("cookies")}


def test_each_term_once_is_better_than_one_term_often() -> None:
    once = candidate("once.py", text="parse the cookie header", lexical_score=5.0)
    often = candidate("often.py", text="cookie cookie cookie cookie", lexical_score=5.2)
    assert order("parse cookie header", often, once)[0] == "once.py"


def test_a_term_that_few_candidates_hold_tells_more() -> None:
    idf = features.Idf({"request", "cookie"}, [{"request"}, {"request"}, {"request", "cookie"}])
    stems = frozenset({"request", "cookie"})
    cookie, request = (idf.weighted_share(stems, frozenset({stem})) for stem in ("cookie", "request"))
    assert cookie > request > 0


@pytest.mark.parametrize(
    ("path", "name"),
    [("src/throttle.go", "throttling"), ("src/throttle/mod.rs", "throttling"), ("throttle/index.js", "throttler")],
)
def test_a_file_is_named_like_what_it_is_about(path: str, name: str) -> None:
    assert location(f"{name} of calls", path) >= DEFAULT.file_name
    assert location("logging of calls", path) == 0


@pytest.mark.parametrize(
    "path",
    ["tests/a.py", "a/test_b.py", "pkg/mux_test.go", "src/Foo.spec.ts", "BasketTest.java", "_examples/a/main.go",
     "node_modules/x/i.js", "README.md", "package-lock.json", "net/doc.go"],
)  # fmt: skip
def test_what_is_no_source_is_recognised_by_its_path(path: str) -> None:
    assert kind_factor("basket", path) == DEFAULT.non_source


@pytest.mark.parametrize(
    ("path", "asks"),
    [("src/win/pipe.c", "named pipes on windows"), ("os/exec_windows.go", "windows processes"),
     ("src/unix/aix.c", "aix"), ("os/dir_plan9.go", "plan9")],
)  # fmt: skip
def test_a_platform_of_few_counts_less_unless_it_is_asked_for(path: str, asks: str) -> None:
    assert kind_factor("pipe", path) == DEFAULT.platform
    assert kind_factor(asks, path) == 1


@pytest.mark.parametrize("path", ["a/b.pyi", "a/b.pxd", "types/index.d.ts", "user/lookup_stubs.go"])
def test_declarations_without_code_count_less(path: str) -> None:
    assert kind_factor("lookup", path) == DEFAULT.declarations


@pytest.mark.parametrize(
    "path",
    ["src/latest.py", "contest/a.py", "protest.go", "src/attestation/mod.rs", "a.py", "src/window.c", "winner.py",
     "src/unix/core.c", "src/linux/epoll.c", "doc.py"],
)  # fmt: skip
def test_code_is_not_taken_for_a_test_or_example(path: str) -> None:
    assert kind_factor("basket", path) == 1


# --- stems -------------------------------------------------------------------------------------------


@given(st.text(max_size=30))
@example("AAAERR")
def test_stems_are_stable_and_no_longer_than_the_word(word: str) -> None:
    for term in terms(word):
        assert coarse_stem(coarse_stem(term)) == coarse_stem(term) or not term.isascii()
        assert 0 < len(coarse_stem(term)) <= len(term)


def test_relatives_share_a_stem() -> None:
    for family in (["throttle", "throttling", "throttler"], ["log", "logs", "logger", "logging"],
                   ["resolve", "resolver", "resolved"], ["cancel", "cancellation", "cancelled"],
                   ["query", "queries"], ["factory", "factories"]):  # fmt: skip
        assert len({coarse_stem(word) for word in family}) == 1, family


# --- excerpts ----------------------------------------------------------------------------------------


def test_an_excerpt_shows_the_lines_that_match() -> None:
    lines = [f"line {i} of something" for i in range(60)]
    lines[40] = "the needle is here"
    first, text, best = excerpt("\n".join(lines), set(terms("needle")))
    assert best == 40
    assert "the needle is here" in text and text.splitlines() == lines[first : first + len(text.splitlines())]


def test_a_short_text_is_its_own_excerpt() -> None:
    assert excerpt("def f():\n    return 1", {"f"}) == (0, "def f():\n    return 1", 0)


@given(st.text(alphabet="ab \n\r\t\x0b\x85é", max_size=3000), st.sets(st.sampled_from(["a", "b"])))
def test_an_excerpt_is_bounded_whole_lines_of_the_text(text: str, query_terms: set[str]) -> None:
    first, shown, best = excerpt(text, query_terms)
    lines = text.split("\n")
    whole = shown.removesuffix(CUT)
    assert len(whole) <= MAX_EXCERPT_CHARACTERS and shown.count("\n") < MAX_EXCERPT_LINES
    got = whole.split("\n")
    assert first <= best < first + len(got)
    assert (whole != shown) == (len(got[-1]) < len(lines[first + len(got) - 1]))
    assert got[:-1] == lines[first : first + len(got) - 1]
    assert lines[first + len(got) - 1].startswith(got[-1])
