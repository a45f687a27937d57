"""Finds the indexes that people mean by the name, path or URL of a repository. Pure.

What counts are the parts of a path or address: `https://github.com/acme/shop.git`, `git@github.com:acme/shop` and
`github.com/acme/shop` are one, and `acme/shop` and `shop` are its ends. The letter case as it is written comes
before any other, a whole path before an end of one.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Final
from unicodedata import normalize
from urllib.parse import unquote

from codebase_index.store.catalog.indexes import IndexRow
from codebase_index.untrusted_text import named, quoted, unescaped
from codebase_mcp.errors import NotIndexed, UserError

MAX_NAMED_INDEXES: Final = 20

MAX_MARKS: Final = 8
"""Marks in a text, @ and # each, behind which a ref is looked for, from the last on: each asks all indexes."""

_SCP: Final = re.compile(r"(?:[\w.-]+@([\w.-]+)|([\w-]+(?:\.[\w-]+)+)):(?!//|\d+(?:/|$))(.*)")
_URL: Final = re.compile(r"(?:git\+)?([A-Za-z][A-Za-z0-9.-]*)://(?:[^/@]*@)?([^/]*)(.*)")
_HOST: Final = re.compile(r"[\w-]+(\.[\w-]+)+(:\d+)?")
_REF_FOLDER: Final = re.compile(r"(?:refs/)?(?:heads|tags|remotes/origin)/|origin/")
_WILDCARD: Final = re.compile(r"[*?]")
_HASH: Final = re.compile(r"[0-9a-f]{4,64}")
_USUAL_BRANCHES: Final = frozenset(["main", "master", "trunk", "default"])
_VIEWS: Final = frozenset(["tree", "blob", "raw", "blame", "edit", "commit", "commits"])
"""What stands in the addresses of pages that show a folder or file, before the ref."""
_SRC_KINDS: Final = frozenset(["branch", "tag", "commit"])
"""What Gitea has between `src` and the ref; Bitbucket has the ref at once."""

Parts = tuple[str, ...]


@dataclass(frozen=True)
class Address:
    """The parts of a path or address: without scheme, user, port and `.git`."""

    parts: Parts
    is_whole: bool
    """It begins at the root of the file system, or with a host."""
    has_host: bool

    @classmethod
    def of(cls, text: str) -> "Address":
        """Take a text apart."""
        text = normalize("NFC", text).strip().strip("\"'<>`").removeprefix("repo:").replace("\\", "/")
        if scp := _SCP.fullmatch(text):
            text = f"ssh://{scp[1] or scp[2]}/{scp[3]}"
        host, path = "", text
        if url := _URL.fullmatch(text):
            host, path = url[2].split(":")[0].lower().removeprefix("www."), unquote(re.split(r"[?#]", url[3])[0])
        parts = _without_dots(path)
        if not host and not path.startswith("/") and len(parts) > 1 and _HOST.fullmatch(parts[0]):
            host, parts = parts[0].split(":")[0].lower().removeprefix("www."), parts[1:]
        if host == "raw.githubusercontent.com":
            host, parts = "github.com", [*parts[:2], "raw", *parts[2:]]
        if parts and len(parts[-1]) > len(".git"):
            parts[-1] = parts[-1].removesuffix(".git")
        return cls((host, *parts) if host else tuple(parts), bool(host) or path.startswith("/"), bool(host))


def _without_dots(path: str) -> list[str]:
    """Divide a path; `..` takes back the part before it, and a way up or home in front says nothing here."""
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", ".") and (parts or part != "~"):
            parts.append(part)
    return parts


@dataclass(frozen=True)
class Match:
    """The indexes that are meant, and the folder in them; a note if it is not clear that they are meant."""

    indexes: list[IndexRow]
    folder: str = ""
    note: str | None = None


def find_repository(indexes: Sequence[IndexRow], text: str) -> Match:
    """Return the indexes that `text` means: a repository, with `@ref` or not, a folder in one, or one of several.

    Raises NotIndexed if it means none, and UserError if it means several repositories.
    """
    shown = unescaped(text)  # as an answer shows it
    if shown != text:
        with suppress(NotIndexed):
            return find_repository(indexes, shown)
    for with_folders in (False, True):
        for head, ref in _splits(text):
            if found := _find(indexes, head, ref, with_folders):
                return found
    address = Address.of(text)
    if _WILDCARD.search(text) and (named_so := [i for i in indexes if _fits(i, address.parts)]):
        return Match(without_filtered(named_so))
    below = [i for i in indexes if address.is_whole and _parts(i)[: len(address.parts)] == address.parts]
    if below and address.parts:
        return Match(without_filtered(below))
    raise _not_indexed(indexes, text)


def _splits(text: str) -> Iterator[tuple[str, str | None]]:
    """Yield the ways to read `repository@ref`: both may hold an @."""
    yield text, None
    for mark in "@#":
        for at in reversed([found.start() for found in re.finditer(mark, text)][-MAX_MARKS:]):
            if at:
                yield text[:at], text[at + 1 :].strip() or None


def _find(indexes: Sequence[IndexRow], head: str, ref: str | None, with_folders: bool) -> Match | None:
    address = Address.of(head)
    # No name of a repository has more parts than its address, but for the host of another one in front.
    longest = 1 + max((len(_parts(index)) for index in indexes), default=0)
    lengths = range(min(len(address.parts) - 1, longest), 0, -1) if with_folders else [len(address.parts)]
    for length in lengths:
        parts, folder = address.parts[:length], address.parts[length:]
        matching = _named(indexes, parts, head)
        note = None
        if not matching and address.has_host and len(parts) > 2:
            matching = [i for i in _named(indexes, parts[1:], head) if not Address.of(i.source).has_host]
            source = named(matching[0].source) if matching else ""
            note = f"no index of {named('/'.join(parts))} is there; {source} was taken for it"
        if matching:
            if address.has_host and (shown := _shown_by_page(parts[0], folder, matching)):
                ref, folder = shown
            found, ref_note = _at_ref(matching, ref)
            return Match(found, "/".join(folder), "; ".join(filter(None, [note, ref_note])) or None)
    return None


def _shown_by_page(host: str, inside: Parts, indexes: Sequence[IndexRow]) -> tuple[str | None, Parts] | None:
    """Return the ref and the path in the address of a page, if it shows a folder or file of these indexes.

    A ref may have slashes: it is one of an index that it can be, or else one part.
    """
    shown = inside[1:] if inside[:1] == ("-",) else inside
    if shown[:1] == ("src",) and set(shown[1:2]) & _SRC_KINDS:
        shown = shown[1:]
    elif not (shown and (shown[0] in _VIEWS or (shown[0] == "src" and "bitbucket" in host))):
        return None
    after = shown[1:]
    lengths = [len(ref) for i in indexes if i.ref and after[: len(ref := tuple(i.ref.split("/")))] == ref]
    length = max(lengths, default=1)
    return "/".join(after[:length]) or None, after[length:]


def inside(indexes: Sequence[IndexRow], path: str) -> tuple[list[IndexRow], str]:
    """Return the indexes of the repository that an absolute path or an address leads into, and the path in it.

    Of repositories in one another it is the innermost one. Without any, the path is returned as it is.
    """
    address = Address.of(path)
    depths = {i.id: len(parts) for i in indexes if (parts := _parts(i)) and address.parts[: len(parts)] == parts}
    if not address.is_whole or not depths:
        return [], path
    deepest = max(depths.values())
    rest = address.parts[deepest:]
    if address.has_host and (shown := _shown_by_page(address.parts[0], rest, indexes)):
        _, rest = shown
    return [i for i in indexes if depths.get(i.id) == deepest], "/".join(rest)


def _named(indexes: Sequence[IndexRow], wanted: Parts, text: str) -> list[IndexRow]:
    """Return the indexes of the repository with this name. Raises UserError if there are several."""
    if not wanted:
        return []
    fold: Callable[[str], str]
    for fold in (str, str.casefold):
        folded = tuple(map(fold, wanted))
        for ends in (False, True):
            matching = [index for index in indexes if _is_named(index, folded, fold, ends)]
            if len({_parts(index) for index in matching}) > 1:
                raise UserError(
                    f"ambiguous: repo {quoted(text)} means {describe_indexes(matching)}; give one's path or URL",
                    repo=list(dict.fromkeys(index.source for index in matching))[:MAX_NAMED_INDEXES],
                )
            if matching:
                return matching
    return []


def _fits(index: IndexRow, pattern: Parts) -> bool:
    """Say whether the end of a repository's path fits a pattern with wildcards, part by part."""
    end = _parts(index)[-len(pattern) :]
    return len(end) == len(pattern) and all(
        fnmatchcase(part.casefold(), wanted.casefold()) for part, wanted in zip(end, pattern, strict=True)
    )


def _is_named(index: IndexRow, wanted: Parts, fold: Callable[[str], str], ends: bool) -> bool:
    parts = tuple(map(fold, _parts(index)))
    if not ends:
        return parts == wanted
    return parts[-len(wanted) :] == wanted or (index.name is not None and (fold(index.name),) == wanted)


def _parts(index: IndexRow) -> Parts:
    return _parts_of(index.source)


@lru_cache(maxsize=10_000)
def _parts_of(source: str) -> Parts:
    return Address.of(source).parts


def _at_ref(matching: list[IndexRow], ref: str | None) -> tuple[list[IndexRow], str | None]:
    """Return the indexes of one repository at a ref, with a note if another was taken for it; without a ref those
    of what is checked out, or else all. Raises UserError.
    """
    checked_out = [index for index in matching if index.ref is None]
    if ref is None:
        return without_filtered(checked_out or matching), None
    plain = _plain_ref(ref)
    tests: list[Callable[[IndexRow], bool]] = [
        lambda index: index.ref == ref,
        lambda index: _plain_ref(index.ref or "HEAD") == plain,
        lambda index: _plain_ref(index.ref or "HEAD").casefold() == plain.casefold(),
        lambda index: bool(_HASH.fullmatch(ref.lower()) and (index.commit or "").startswith(ref.lower())),
    ]
    for test in tests:
        if found := [index for index in matching if test(index)]:
            return without_filtered(found), None
    if checked_out and plain in _USUAL_BRANCHES:
        note = f"{named(matching[0].source)} has no index for {plain} by itself: what is checked out was searched"
        return without_filtered(checked_out), note
    refs = ", ".join(named(index.ref) if index.ref else "what is checked out" for index in matching)
    raise NotIndexed(
        f"ref {quoted(ref)} of {named(matching[0].source)}; indexed is {refs}; leave @ref out, or "
        "index that ref with start_indexing_background",
        repo=matching[0].source,
    )


def _plain_ref(ref: str) -> str:
    return _REF_FOLDER.sub("", ref, count=1) if _REF_FOLDER.match(ref) else ref


def _not_indexed(indexes: Sequence[IndexRow], text: str) -> NotIndexed:
    labels = {"/".join(_parts(index)[-2:]).casefold(): index.source for index in indexes}
    labels |= {_parts(index)[-1].casefold(): index.source for index in indexes if _parts(index)}
    near = get_close_matches("/".join(Address.of(text).parts[-2:]).casefold(), labels, 1)
    near = near or get_close_matches((Address.of(text).parts or ("",))[-1].casefold(), labels, 1)
    return NotIndexed(
        f"repo {quoted(text)}; indexed are {describe_indexes(indexes)}; give one of these, leave "
        "repo out to search all, or index it with start_indexing_background",
        repo=labels[near[0]] if near else None,
    )


def without_filtered(indexes: Sequence[IndexRow]) -> list[IndexRow]:
    """Leave out the indexes with filters of a source and ref that also has one without."""
    full = {(index.source, index.ref) for index in indexes if index.indexed_at and not _is_filtered(index)}
    return [index for index in indexes if not (_is_filtered(index) and (index.source, index.ref) in full)]


def _is_filtered(index: IndexRow) -> bool:
    return bool(index.include or index.exclude)


def repo_of(index: IndexRow) -> str:
    """Return what a caller gives as repo for an index: its source, with the ref where it has one."""
    return f"{index.source}@{index.ref}" if index.ref else index.source


def describe_indexes(indexes: Sequence[IndexRow]) -> str:
    """Name indexes in a sentence, the first MAX_NAMED_INDEXES of them."""
    labels = [named(repo_of(index)) for index in indexes]
    more = len(labels) - MAX_NAMED_INDEXES
    return ", ".join(labels[:MAX_NAMED_INDEXES]) + (f" and {more} more" if more > 0 else "")
