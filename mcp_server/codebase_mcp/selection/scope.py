"""The scope of a call: indexes and a filter of their files, from its arguments repo, path and language. Pure.

The one door for every tool that takes these arguments.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Final

from codebase_index.languages import NAMES, canonical_name
from codebase_index.store.catalog.indexes import IndexRow
from codebase_index.store.query.filters import Filters
from codebase_index.untrusted_text import quoted
from codebase_mcp.arguments.kinds import Texts
from codebase_mcp.errors import UserError
from codebase_mcp.selection.paths import PathPattern, any_of, patterns_of, under
from codebase_mcp.selection.repositories import describe_indexes, find_repository, inside, without_filtered

REPO: Final = Texts(20, 4096, "Repositories: path, URL, owner/name or name, also with @ref. Default: all")
PATH: Final = Texts(20, 4096, "Folders, files or globs, ! leaves out: src/api, *.go, !**/*_test.go")
LANGUAGE: Final = Texts(20, 100, "Languages, such as python,ts")
"""The arguments as every tool has them."""

_ALL: Final = frozenset(["*", "all", "any", "**", "**/*", "/", "."])


@dataclass(frozen=True)
class Scope:
    """What a call is about. `notes` say how its arguments were understood, where that is not clear."""

    indexes: list[IndexRow]
    filters: Filters
    notes: list[str] = field(default_factory=list)


def languages_of(names: Sequence[str]) -> tuple[str, ...]:
    """Return the languages that are meant, by the names of the index. Raises UserError."""
    found = []
    for name in names:
        if name.strip().lower() in _ALL:
            return ()
        language = canonical_name(name)
        if language is None:
            near = get_close_matches(name.lower(), NAMES, 1)
            raise UserError(
                f"validation: language {quoted(name, 40)} is not known; there are {', '.join(NAMES)}",
                language=near[0] if near else None,
            )
        found.append(language)
    return tuple(dict.fromkeys(found))


def check_filters(paths: Sequence[str], languages: Sequence[str]) -> None:
    """Raise UserError for what no repository could make right."""
    languages_of(languages)
    patterns_of(paths)


def scope_of(
    indexes: Sequence[IndexRow], repos: Sequence[str], paths: Sequence[str] = (), languages: Sequence[str] = ()
) -> Scope:
    """Return what is selected of `indexes`, in their order; nothing given selects all. Raises UserError."""
    notes: list[str] = []
    selected, folders = _selected(indexes, repos, notes)
    patterns = [p for pattern in patterns_of(paths) for p in _located(pattern, indexes, selected)]
    included = [p for p in patterns if not p.excludes]
    located = {p.index_id for p in included if p.index_id is not None}
    if located and all(p.index_id is not None for p in included):
        selected = [index for index in selected if index.id in located]
    not_path = any_of([p for p in patterns if p.excludes and not p.is_everything])
    filters = Filters(any_of(included), not_path, languages_of(languages))
    if located or any(folder for _, folder in folders):
        filters = replace(filters, path=None, scopes=tuple(_scopes(selected, folders, included)))
    if len(filters.scopes) == 1:  # the same without a table of one row
        filters = replace(filters, path=filters.scopes[0][1], scopes=())
    return Scope(selected, filters, notes)


def scopes_of(
    indexes: Sequence[IndexRow], repos: Sequence[str], paths: Sequence[str] = (), languages: Sequence[str] = (),
    own: Sequence[str] = (),
) -> list[Scope]:  # fmt: skip
    """Return the scopes to try, one after another until one has something. Raises UserError.

    Without repos they are those of the caller's own repositories, `own`, as far as they are indexed, and then all.
    """
    if own and all(repo.strip() == "." for repo in repos):
        repos = ()
    every = scope_of(indexes, repos, paths, languages)
    indexed = [source for source in own if any(index.source == source for index in indexes)]
    if repos or not indexed:
        return [every]
    try:
        nearest = scope_of(indexes, indexed, paths, languages)
    except UserError:  # the path is one of another repository
        return [every]
    return [nearest] if len(nearest.indexes) == len(every.indexes) else [nearest, every]


def is_every(repo: str) -> bool:
    """Say whether a value of repo names no repository but all."""
    return repo.strip().lower() in _ALL


def _scopes(
    selected: Sequence[IndexRow], folders: Sequence[tuple[int, str]], included: Sequence[PathPattern]
) -> Iterator[tuple[int, str]]:
    """Yield each index with the expression of its paths in one of the folders that are meant of it."""
    ids = {index.id for index in selected}
    for index_id, folder in folders:
        if index_id in ids:
            yield index_id, under(folder, any_of([p for p in included if p.index_id in (None, index_id)]))


def _selected(
    indexes: Sequence[IndexRow], repos: Sequence[str], notes: list[str]
) -> tuple[list[IndexRow], list[tuple[int, str]]]:
    """Return the indexes, and each with the folder that is meant of it."""
    if not repos or not indexes or any(map(is_every, repos)):
        every = without_filtered(indexes)
        return every, [(index.id, "") for index in every]
    matches = [find_repository(indexes, repo) for repo in repos]
    notes += [match.note for match in matches if match.note]
    folders = [(index.id, match.folder) for match in matches for index in match.indexes]
    whole = {index_id for index_id, folder in folders if not folder}
    folders = list(dict.fromkeys((i, folder) for i, folder in folders if not folder or i not in whole))
    ids = {index_id for index_id, _ in folders}
    return [index for index in indexes if index.id in ids], folders


def _located(pattern: PathPattern, indexes: Sequence[IndexRow], selected: Sequence[IndexRow]) -> list[PathPattern]:
    """Return a pattern for each index whose repository an absolute path leads into; else the pattern as it is."""
    for among in (selected, indexes):
        held, rest = inside(among, pattern.text)
        if held and among is indexes and not pattern.excludes:
            raise UserError(
                f"validation: path {quoted(pattern.text)} lies in {describe_indexes(held[:1])}, which repo "
                "leaves out; name that repository, or leave repo out",
                repo=held[0].source,
            )
        if held:
            tail = "/" * pattern.text.rstrip().endswith("/")
            return [replace(pattern, text=f"/{rest}{tail}", index_id=index.id) for index in held]
    return [pattern]
