"""Filters by path, as agents write them, over the paths of a repository."""

import re
from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codebase_mcp.errors import UserError
from codebase_mcp.selection.paths import (
    PathPattern,
    any_of,
    as_stored,
    exactly,
    lines_of,
    pattern_of,
    patterns_of,
    under,
)

FILES = [
    "README.md", "Makefile", "src.py", "src/app.ts", "src/api/users.go", "src/api/users_test.go", "src2/notes.txt",
    "web/src/cart.ts", "web/src/cart.test.ts", "vendor/x/y.go", "web/vendor/z.go", "app/[slug]/page.tsx",
    "docs/a b/c.md", "py/users.py", "lib/users.py", "übung/größe.py",
]  # fmt: skip


def passing(*filters: str) -> list[str]:
    patterns = patterns_of(filters)
    wanted = any_of([p for p in patterns if not p.excludes])
    unwanted = any_of([p for p in patterns if p.excludes])
    return [
        path
        for path in FILES
        if (wanted is None or re.search(wanted, path)) and not (unwanted and re.search(unwanted, path))
    ]


@pytest.mark.parametrize(
    ("filters", "paths"),
    [
        (["src"], ["src.py", "src/app.ts", "src/api/users.go", "src/api/users_test.go"]),
        (["src/"], ["src/app.ts", "src/api/users.go", "src/api/users_test.go"]),
        (["/src/api"], ["src/api/users.go", "src/api/users_test.go"]),
        (["./src/api/"], ["src/api/users.go", "src/api/users_test.go"]),
        (["src//api"], ["src/api/users.go", "src/api/users_test.go"]),
        (["src/api/us"], ["src/api/users.go", "src/api/users_test.go"]),
        (["src/api/users.go"], ["src/api/users.go"]),
        (["src/api/users.go:12"], ["src/api/users.go"]),
        (["src/api/users.go:12-20"], ["src/api/users.go"]),
        (["src/api/users.go#L12-L20"], ["src/api/users.go"]),
        (["users.py"], ["py/users.py", "lib/users.py"]),
        (["/users.py"], []),
        (["Makefile"], ["Makefile"]),
        (["*.go"], ["src/api/users.go", "src/api/users_test.go", "vendor/x/y.go", "web/vendor/z.go"]),
        (["**/*.go"], ["src/api/users.go", "src/api/users_test.go", "vendor/x/y.go", "web/vendor/z.go"]),
        (["*_test.go"], ["src/api/users_test.go"]),
        (["src/**/*.go"], ["src/api/users.go", "src/api/users_test.go"]),
        (["src/**"], ["src/app.ts", "src/api/users.go", "src/api/users_test.go"]),
        (["src/*"], ["src/app.ts", "src/api/users.go", "src/api/users_test.go"]),
        (["**/src/**"], ["src/app.ts", "src/api/users.go", "src/api/users_test.go", "web/src/cart.ts",
                         "web/src/cart.test.ts"]),
        (["*.{ts,tsx}"], ["src/app.ts", "web/src/cart.ts", "web/src/cart.test.ts", "app/[slug]/page.tsx"]),
        (["[a-p]*/users.py"], ["py/users.py", "lib/users.py"]),
        (["[!l]*/users.py"], ["py/users.py"]),
        (["p?/users.py"], ["py/users.py"]),
        (["app/[slug]/page.tsx"], ["app/[slug]/page.tsx"]),
        (["app/[slug]"], ["app/[slug]/page.tsx"]),
        ([r"app/\[slug\]/*"], ["app/[slug]/page.tsx"]),
        (["docs/a b"], ["docs/a b/c.md"]),
        (["übung/größe.py"], ["übung/größe.py"]),
        (["web\\src"], ["web/src/cart.ts", "web/src/cart.test.ts"]),
        (["web\\src\\*.test.ts"], ["web/src/cart.test.ts"]), (["app\\[slug]\\page.tsx"], ["app/[slug]/page.tsx"]),
        (["**\\users.py"], ["py/users.py", "lib/users.py"]), (["src/x/../api/./users.go"], ["src/api/users.go"]),
        (["../src2"], ["src2/notes.txt"]), (["py/users.py(12,5)"], ["py/users.py"]),
        (["py/users.py:12:"], ["py/users.py"]),
        (["py/users.py#L3C1-L9C2"], ["py/users.py"]), (["path:py"], ["py/users.py"]),
        (["file:py/users.py"], ["py/users.py"]),
        ([r"^src/.*\.go$"], ["src/api/users.go", "src/api/users_test.go"]),
        ([r".*_test\.go"], ["src/api/users_test.go"]),
        (["*.go", "!"], ["src/api/users.go", "src/api/users_test.go", "vendor/x/y.go", "web/vendor/z.go"]),
        (["src2", "docs"], ["src2/notes.txt", "docs/a b/c.md"]),
        (["*.go", "!**/*_test.go"], ["src/api/users.go", "vendor/x/y.go", "web/vendor/z.go"]),
        (["*.go", "!vendor"], ["src/api/users.go", "src/api/users_test.go"]),
        (["*.go", "!/vendor"], ["src/api/users.go", "src/api/users_test.go", "web/vendor/z.go"]),
        (["*.go", "-vendor/"], ["src/api/users.go", "src/api/users_test.go"]),
        (["web", "! *.test.ts"], ["web/src/cart.ts", "web/vendor/z.go"]),
        (["[z-a]"], []), (["[]"], []), (["["], []), (["{"], []), (["SRC/"], []),
        (["."], FILES), (["/"], FILES), (["**"], FILES), (["*"], FILES), ([], FILES),
    ],
    ids=str,
)  # fmt: skip
def test_filters(filters: list[str], paths: list[str]) -> None:
    assert passing(*filters) == paths


@pytest.mark.parametrize(
    ("path", "lines"),
    [
        ("a.py", None), ("a.py:", None), ("a.py:3", (3, None)), ("a.py:3:14", (3, None)), ("a.py:3-9", (3, 9)),
        ("a.py#L3", (3, None)), ("a.py#L3-L9", (3, 9)), ("a.py#L3C1-L9C2", (3, 9)), ("a.py(12,5)", (12, None)),
    ],
)  # fmt: skip
def test_lines_after_a_path(path: str, lines: tuple[int, int | None] | None) -> None:
    assert (lines_of(path), as_stored(path)) == (lines, "a.py")


def test_a_folder_has_a_fixed_beginning_which_is_a_range_of_the_key() -> None:
    for text, beginning in {"src": "^src(?:/", "src/api": "^src/api(?:/", "src/": "^src/"}.items():
        assert pattern_of(text).expression.startswith(beginning)


def test_a_folder_of_a_repository_and_a_glob_hold_together() -> None:
    for glob in ("*.go", "*.{go,md}"):
        expression = re.compile(under("src/api", any_of([pattern_of(glob), pattern_of("*.rs")])))
        assert [path for path in FILES if expression.search(path)] == ["src/api/users.go", "src/api/users_test.go"]
    assert re.search(under(""), "x")


@given(st.text("ab/.-", min_size=1))
def test_a_path_matches_itself(text: str) -> None:
    path = str(PurePosixPath(text.strip("/")))
    if not {".", ".."} & set(path.split("/")) and not path.startswith(("-", "!")):
        assert re.search(pattern_of(path).expression, path)


@given(st.text("a[]{}!*?\\/^-|().", max_size=12), st.booleans())
def test_every_pattern_is_an_expression(text: str, excludes: bool) -> None:
    re.compile(PathPattern(text, excludes).expression)


def test_numbers_of_lines_are_looked_for_at_the_end_alone() -> None:
    assert as_stored("a.py:3-9") == "a.py"
    for number in range(20):  # seconds each, if all of it were looked through from each colon
        path = ":1" * 2000 + f"x{number}"
        assert as_stored(path) == path


@pytest.mark.parametrize(
    ("glob", "plain"),
    [("**" * 500, "**"), ("**/" * 500 + "*.go", "**/*.go"), ("**/**", "**"), ("src/**/**", "src/**"),
     ("a**/**/b", "a**/b"), ("/**/**/", "**/"), ("a/**/b", "a/**/b"), ("*/*", "*/*")],
    ids=lambda text: text[:12],
)  # fmt: skip
def test_stars_that_add_nothing_are_left_out(glob: str, plain: str) -> None:
    assert pattern_of(glob).text.strip("/") == plain.strip("/")


@pytest.mark.parametrize(
    ("filters", "problem"),
    [
        (["*a" * 500], "has 500 wildcards; at most 32"),
        (["[ab]" * 40], "has 40 wildcards"),
        (["?" * 40], "has 40 wildcards"),
        (["*.{" + ",".join(map(str, range(40))) + "}"], "has 41 wildcards"),
        ([f"{n}/" + "*a" * 30 for n in range(20)], "600 wildcards in all; at most 160"),
        ([f"{n}" + "b/" * 2000 for n in range(20)], "characters in all; at most 4096"),
    ],
    ids=["stars", "sets", "single characters", "alternatives", "in all", "characters"],
)
def test_a_filter_that_costs_too_much_is_refused_with_what_to_do(filters: list[str], problem: str) -> None:
    with pytest.raises(UserError, match="validation: path") as refused:
        patterns_of(filters)
    assert problem in str(refused.value)


def test_twenty_usual_globs_are_few_enough() -> None:
    assert len(patterns_of(["**/*.{ts,tsx,js,jsx}"] * 10 + ["!**/*.test.*"] * 10)) == 20


def test_a_path_with_characters_that_nobody_sees_is_found_as_answers_show_it() -> None:
    for pattern, path in (
        (r"src/a\x1b.py", "src/a\x1b.py"),
        (r"*\u202e*", "src/a\u202eb.py"),
        (r"a\nb/", "a\nb/c.py"),
    ):
        expression = any_of(patterns_of([pattern]))
        assert expression and re.search(expression, path)
    assert re.fullmatch(exactly(["a.", "b"]), "a.--b") and not re.fullmatch(exactly(["a.", "b"]), "ax-b")
