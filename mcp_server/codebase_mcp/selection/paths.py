r"""Filters by path: folders, files, globs and exclusions, as agents write them, to regular expressions. Pure.

What counts is the path in the repository, whose root a leading slash or `./` means. `src` is the folder (never
`src2`), files of that name in any folder, and files of the top folder whose names begin so; `src/api/us` is a
folder or the beginning of a file's name. A glob is one of .gitignore: without a slash it holds for every folder,
`**` crosses folders, and a folder stands for all that is in it. `!` in front leaves out.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

_GLOB: Final = re.compile(r"[*?\[{]")
_LINES: Final = re.compile(r":\d+(?:[-:]\d+)?$|#L\d+(?:-L?\d+)?$")
_SPECIAL: Final = frozenset(r"\^$.|?*+()[]{}")
_TOKEN: Final = re.compile(
    r"(?P<deep>(?:^|(?<=/))\*\*/)|(?P<all>\*\*)|(?P<star>\*)|(?P<one>\?)"
    r"|\[(?P<not>[!^])?(?P<set>\]?[^\]/]*)\]|\{(?P<any>[^{}]*)\}|\\(?P<escaped>.)|(?P<plain>.)",
    re.DOTALL,
)


@dataclass(frozen=True)
class PathPattern:
    """A pattern of one path filter: a folder, file or glob, in the repository with this index id or in any."""

    text: str
    excludes: bool = False
    index_id: int | None = None

    @property
    def expression(self) -> str:
        """The regular expression of Postgres over `<index id>/<path>`."""
        index = r"^\d+/" if self.index_id is None else f"^{self.index_id}/"
        return index + _expression(self.text, self.excludes)


def pattern_of(text: str) -> PathPattern:
    """Read a pattern, but for an absolute path, which only the indexes can tell from a leading slash."""
    excludes = text.startswith(("!", "-")) and len(text) > 1
    path = text[1:].lstrip() if excludes else text
    if not _GLOB.search(path):
        path = _LINES.sub("", path.replace("\\", "/"))
    while path.startswith("./"):
        path = path[2:].lstrip("/")
    return PathPattern("" if path == "." else path, excludes)


def expressions(patterns: Sequence[PathPattern]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return (what all must match, what none may match) of the files that some patterns select."""
    included = [p.expression for p in patterns if not p.excludes and p.text.strip("/")]
    anywhere = any(not p.excludes and not p.text.strip("/") for p in patterns)
    excluded = [p.expression for p in patterns if p.excludes and p.text.strip("/")]
    return (() if anywhere or not included else (_any(included),)), tuple(excluded)


def under(folders: Iterable[tuple[int, str]]) -> str:
    """Return the expression of the files in folders of indexes; an empty folder is the whole index."""
    return _any([rf"^{index_id}/{_literal(folder.strip('/'))}(?:/|$)" if folder.strip("/") else f"^{index_id}/"
                 for index_id, folder in folders])  # fmt: skip


def _any(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else "|".join(f"(?:{part})" for part in parts)


def _expression(text: str, excludes: bool) -> str:
    rooted, folder = text.startswith("/"), text.endswith("/")
    path = re.sub("/+", "/", text.strip("/"))
    end = "/" if folder else "(?:/|$)"
    if _GLOB.search(path):
        anywhere = "" if rooted or "/" in path else "(?:.*/)?"
        # A folder may be called [slug], too, as frameworks for the web have them.
        itself = f"|{_literal(path)}" * ("[" in path)
        return f"{anywhere}(?:{_translated(path)}{itself}){end}"
    name = _literal(path)
    if folder:
        return ("(?:.*/)?" if excludes and "/" not in path and not rooted else "") + f"{name}/"
    if excludes:
        return ("" if rooted or "/" in path else "(?:.*/)?") + name + end
    beginning = rf"{name}(?:/|[^/]*$)"
    return beginning if rooted or "/" in path else rf"(?:{beginning}|(?:.*/)?{name}$)"


def _translated(glob: str) -> str:
    parts = []
    for token in _TOKEN.finditer(glob):
        if token["deep"]:
            parts.append("(?:.*/)?")
        elif token["all"]:
            parts.append(".*")
        elif token["star"]:
            parts.append("[^/]*")
        elif token["one"]:
            parts.append("[^/]")
        elif token["set"] and (members := _members(token["set"])):
            parts.append(f"[{'^/' if token['not'] else ''}{members}]")
        elif token["any"] is not None:
            parts.append("(?:" + "|".join(_translated(part) for part in token["any"].split(",")) + ")")
        else:
            parts.append(_literal(token["escaped"] or token[0]))
    return "".join(parts)


def _members(text: str) -> str:
    """Return the characters of a bracket expression; nothing for one that has no meaning, such as z-a."""
    members = text.replace("\\", r"\\").replace("[", r"\[").replace("]", r"\]")
    try:
        re.compile(f"[{members}]")
    except re.error:
        return ""
    return members


def _literal(text: str) -> str:
    return "".join(f"\\{char}" if char in _SPECIAL else char for char in text)
