"""Which indexes and files a call means, by the names that agents write."""

import re
from datetime import UTC, datetime
from typing import Any

import pytest

from codebase_index.api.job import JobState
from codebase_index.languages import LANGUAGES, NAMES
from codebase_index.store.catalog.indexes import IndexRow
from codebase_mcp.errors import UserError
from codebase_mcp.selection.repositories import inside
from codebase_mcp.selection.scope import languages_of, scope_of


def index(number: int, source: str, **fields: Any) -> IndexRow:
    values: dict[str, Any] = {
        "target": f"{number:016}", "ref": None, "name": None, "model": "static/x", "commit": None,
        "indexed_at": datetime(2026, 11, 29, tzinfo=UTC), "job_id": None, "job_state": JobState.COMPLETED,
        "job_percent": 100.0, "job_commit": None, "job_files_total": 1, "job_files_done": 1, **fields,
    }  # fmt: skip
    return IndexRow(id=number, source=source, **values)


SHOP, TILL, TILL_2 = index(1, "/srv/acme/shop"), index(2, "/srv/beta/till"), index(3, "/srv/beta/Till")
API, API_FIX = (
    index(4, "https://github.com/corp/api", commit="abcdef12" * 5),
    index(5, "https://github.com/corp/api.git", ref="fix/#123"),
)
SSH, NAMED = index(6, "ssh://git@git.example.org:2222/team/tool"), index(7, "/srv/x/y", name="billing")
UMLAUT, AT = index(8, "/srv/acme/shop", ref="übersicht"), index(9, "/srv/@scope/ui")
ALL = [SHOP, TILL, TILL_2, API, API_FIX, SSH, NAMED, UMLAUT, AT]


@pytest.mark.parametrize(
    ("repo", "meant"),
    [
        ("/srv/acme/shop", [SHOP]), ("/srv/acme/shop/", [SHOP]), ("acme/shop", [SHOP]), ("shop", [SHOP]),
        ("SHOP", [SHOP]), ("Acme/Shop", [SHOP]), (" shop ", [SHOP]), ("`shop`", [SHOP]), ("till", [TILL]),
        ("Till", [TILL_2]), ("/srv/beta/Till", [TILL_2]), ("beta/till", [TILL]), ("corp/api", [API]),
        ("github.com/corp/api", [API]), ("https://github.com/corp/api", [API]),
        ("https://github.com/corp/api.git", [API]), ("http://github.com/corp/api/", [API]),
        ("HTTPS://GitHub.com/corp/api", [API]), ("https://www.github.com/corp/api", [API]),
        ("git@github.com:corp/api.git", [API]), ("ssh://git@github.com/corp/api", [API]),
        ("git+https://github.com/corp/api.git", [API]), ("https://user@github.com/corp/api", [API]),
        ("https://github.com/corp/api?tab=readme#top", [API]), ("api@fix/#123", [API_FIX]),
        ("corp/api@refs/heads/fix/#123", [API_FIX]), ("api@origin/fix/#123", [API_FIX]),
        ("api@FIX/#123", [API_FIX]),
        ("https://github.com/corp/api.git@fix/#123", [API_FIX]),
        ("git@github.com:corp/api@fix/#123", [API_FIX]),
        ("api@HEAD", [API]), ("api@abcdef1", [API]), ("shop@übersicht", [UMLAUT]), ("team/tool", [SSH]),
        ("git@git.example.org:team/tool.git", [SSH]), ("ssh://git@git.example.org:2222/team/tool", [SSH]),
        ("billing", [NAMED]), ("Billing", [NAMED]), ("@scope/ui", [AT]), ("/srv/@scope/ui", [AT]),
        ("/srv/beta", [TILL, TILL_2]), ("*", ALL), ("all", ALL), ("~/acme/shop", [SHOP]), ("../shop", [SHOP]),
        ("github.com:corp/api", [API]), ("repo:corp/api", [API]), ("corp/api#fix/#123", [API_FIX]),
        ("api@", [API]),
        ("api@heads/fix/#123", [API_FIX]), ("file:///srv/acme/shop", [SHOP]), ("acme\\shop", [SHOP]),
        ("https://github.com/corp/api/commit/abcdef1", [API]), ("github.com/corp", [API, API_FIX]),
        ("https://raw.githubusercontent.com/corp/api/HEAD", [API]), ("corp/*", [API, API_FIX]),
        ("TIL?", [TILL, TILL_2]),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)  # fmt: skip
def test_a_repository_by_name(repo: str, meant: list[IndexRow]) -> None:
    scope = scope_of(ALL, [repo])
    assert (scope.indexes, scope.notes) == (meant, [])


@pytest.mark.parametrize(
    ("repo", "meant", "folder"),
    [
        ("/srv/acme/shop/py", SHOP, "py/"), ("acme/shop/py/api", SHOP, "py/api/"), ("shop/py", SHOP, "py/"),
        ("https://github.com/corp/api/internal", API, "internal/"),
        ("https://github.com/corp/api/tree/HEAD/internal/x", API, "internal/x/"),
        ("/srv/acme/shop/packages/@scope/ui", SHOP, "packages/@scope/ui/"),
        ("https://github.com/corp/api/src/handlers", API, "src/handlers/"),
        ("https://github.com/corp/api/blob/fix/%23123/internal", API_FIX, "internal/"),
        ("https://github.com/corp/api/src/commit/abcdef12/internal", API, "internal/"),
        ("https://git.example.org/team/tool/-/tree/HEAD/internal", SSH, "internal/"),
    ],
)  # fmt: skip
def test_a_folder_of_a_repository_is_a_filter(repo: str, meant: IndexRow, folder: str) -> None:
    scope = scope_of(ALL, [repo])
    assert scope.indexes == [meant]
    assert scope.filters.path is not None
    assert re.search(scope.filters.path, f"{folder}a.py") and not re.search(scope.filters.path, "other/a.py")


def test_folders_of_several_repositories_hold_for_each_by_itself() -> None:
    scopes = dict(scope_of(ALL, ["/srv/acme/shop/py", "till"], ["*.go"]).filters.scopes)
    assert re.search(scopes[1], "py/a.go") and not re.search(scopes[1], "a.go") and re.search(scopes[2], "a.go")


def test_an_absolute_path_is_one_in_its_repository() -> None:
    scope = scope_of(ALL, [], ["/srv/beta/till/src"])
    assert scope.indexes == [TILL] and scope.filters.path == "^src(?:/|[^/]*$)"
    assert scope_of(ALL, ["till"], ["/src"]).filters.path == "^src(?:/|[^/]*$)"
    assert scope_of(ALL, ["till"], ["/srv/beta/till"]).filters.path == "^"
    assert scope_of(ALL, ["till"], ["!/srv/beta/till/src"]).filters.not_path is not None


@pytest.mark.parametrize(
    ("repo", "says", "repair"),
    [
        ("shp", "not indexed: repo 'shp'; indexed are /srv/acme/shop,", "/srv/acme/shop"),
        ("https://github.com/corp/apis", "not indexed", "https://github.com/corp/api"),
        ("nothing-like-it", "not indexed", None),
        ("TILL", "ambiguous: repo 'TILL' means /srv/beta/till, ", ["/srv/beta/till", "/srv/beta/Till"]),
        ("shop@v9", "not indexed: ref 'v9' of /srv/acme/shop; indexed is what is checked out", "/srv/acme/shop"),
    ],
)  # fmt: skip
def test_what_is_not_clear_is_refused_with_what_would_be(repo: str, says: str, repair: object) -> None:
    with pytest.raises(UserError, match=re.escape(says)) as error:
        scope_of([SHOP, TILL, TILL_2, API], [repo])
    assert error.value.repair["repo"] in (repair, "https://github.com/corp/api.git")


@pytest.mark.parametrize(
    ("path", "meant", "rest"),
    [
        ("/srv/beta/till/src/a.py", [TILL], "src/a.py"), ("/srv/acme/shop", [SHOP, UMLAUT], ""),
        ("https://github.com/corp/api/blob/main/x/a.go", [API, API_FIX], "x/a.go"),
        ("github.com/corp/api/x/a.go", [API, API_FIX], "x/a.go"), ("/srv/x/y/", [NAMED], ""),
        ("/home/me/a.py", [], "/home/me/a.py"), ("src/a.py", [], "src/a.py"), ("", [], ""),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)  # fmt: skip
def test_where_an_absolute_path_leads(path: str, meant: list[IndexRow], rest: str) -> None:
    assert inside(ALL, path) == (meant, rest)


def test_a_path_into_another_repository_is_refused_with_that_one() -> None:
    with pytest.raises(UserError, match="lies in /srv/acme/shop, which repo leaves out") as error:
        scope_of(ALL, ["till"], ["/srv/acme/shop/py"])
    assert error.value.repair == {"repo": "/srv/acme/shop"}


def test_a_usual_branch_is_what_is_checked_out_with_a_note() -> None:
    scope = scope_of([SHOP], ["shop@main"])
    assert scope.indexes == [SHOP] and "no index for main" in scope.notes[0]


def test_the_address_of_a_repository_that_is_indexed_by_path_finds_it_with_a_note() -> None:
    scope = scope_of(ALL, ["https://github.com/acme/shop"])
    assert scope.indexes == [SHOP] and "/srv/acme/shop was taken for it" in scope.notes[0]


@pytest.mark.parametrize(
    ("names", "meant"),
    [
        (["py"], ["python"]), (["Python"], ["python"]), (["TS", "tsx"], ["typescript"]), (["js"], ["javascript"]),
        (["golang"], ["go"]), (["c++"], ["cpp"]), (["C#"], ["csharp"]), (["rs"], ["rust"]), (["sh"], ["bash"]),
        (["yml"], ["yaml"]), ([".py"], ["python"]), (["*.rb"], ["ruby"]), (["Objective C"], ["objective-c"]),
        (["shell", "makefile"], ["bash", "make"]), (["go", "all"], []), ([], []), (["node.js"], ["javascript"]),
    ],
    ids=str,
)  # fmt: skip
def test_languages_by_what_people_call_them(names: list[str], meant: list[str]) -> None:
    assert languages_of(names) == tuple(meant)


def test_each_language_is_found_by_its_name_and_an_extension_of_its_own() -> None:
    assert [languages_of([name]) for name in NAMES] == [(name,) for name in NAMES]
    for extension, language in LANGUAGES.items():
        assert languages_of([extension]) == ((extension,) if extension in NAMES else (language.name,))


def test_an_unknown_language_is_answered_with_those_there_are() -> None:
    with pytest.raises(
        UserError, match="language 'pyhton' is not known; there are asciidoc, assembly, bash,"
    ) as error:
        languages_of(["pyhton"])
    assert error.value.repair == {"language": "python"}


@pytest.mark.parametrize("repo", ["@#" * 2048, "/" + "a/" * 2047, "/srv/acme/shop" + "@" * 4000])
def test_a_text_of_many_marks_or_parts_is_looked_up_in_many_indexes_a_few_times(repo: str) -> None:
    many = [index(number, f"/srv/team/{number}") for number in range(500)]
    with pytest.raises(UserError, match="not indexed"):
        scope_of(many, [repo])  # minutes, if each mark and part were looked up
