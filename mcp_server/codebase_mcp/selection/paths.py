r"""Filters by path: folders, files, globs and exclusions, as agents write them, to regular expressions. Pure.

What counts is the path in the repository, whose root a leading slash or `./` means. `src` is the folder (never
`src2`), and files of the top folder whose names begin so; `src/api/us` is a folder or the beginning of a file's
name; `users.py` is a file in any folder. A glob is one of .gitignore: without a slash it holds for every folder,
`**` crosses folders, and a folder stands for all that is in it. `!` in front leaves out.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from codebase_index.untrusted_text import quoted, unescaped
from codebase_mcp.errors import UserError

_GLOB: Final = re.compile(r"[*?\[{]")
_LINES: Final = re.compile(r":(?:\d+(?:[-:,]\d+)*)?:?$|#L\d+(?:C\d+)?(?:-L?\d+(?:C\d+)?)?$|\(\d+(?:,\s?\d+)?\)$")
_MAX_LINES: Final = 100
"""Characters at the end of a path that may be numbers of lines."""
_WINDOWS: Final = re.compile(r"\\(?![\[\]{}])")
"""A backslash that separates: nobody means a star in a file's name, as one before it would be read elsewhere."""
_QUALIFIER: Final = re.compile(r"^(?:path|file):(?!//)")
_REGEX: Final = re.compile(r"\^.*|.*\$|.*\.[*+].*\\\..*|.*\\\..*\.[*+].*")
_WILDCARDS: Final = re.compile(r"\*+|[?\[{,]")
"""What Postgres has to try several ways: a comma is one more way within braces."""
_SPECIAL: Final = frozenset(r"\^$.|?*+()[]{}")

MAX_WILDCARDS: Final = 32
"""In one pattern. To read an expression of so many takes Postgres 0.01 s, of 500 a minute, which nothing ends."""

MAX_ALL_WILDCARDS: Final = 160
"""In all patterns of a call, which are one expression: 0.1 s."""

MAX_ALL_CHARACTERS: Final = 4096
"""In all patterns of a call: 0.3 s. 80,000 ask for more memory than Postgres gives an expression."""

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
        """The regular expression of Postgres over paths."""
        return f"^{_expression(self.text, self.excludes)}"

    @property
    def wildcards(self) -> int:
        """How many wildcards it has."""
        return len(_WILDCARDS.findall(self.text)) if _GLOB.search(self.text) else 0

    @property
    def is_everything(self) -> bool:
        """It is the top folder."""
        return not self.text.strip("/")


def patterns_of(texts: Sequence[str]) -> list[PathPattern]:
    """Read the patterns of a call. Raises UserError for more than an answer may cost."""
    # As they are written, and as an answer shows names of files that hold what nobody sees.
    patterns = [pattern_of(reading) for text in texts for reading in dict.fromkeys((text, unescaped(text)))]
    if (length := sum(len(pattern.text) for pattern in patterns)) > MAX_ALL_CHARACTERS:
        raise UserError(
            f"validation: path has {length} characters in all; at most {MAX_ALL_CHARACTERS} are taken: name a "
            "folder above, or divide it into several calls"
        )
    counts = [pattern.wildcards for pattern in patterns]
    most = max(counts, default=0)
    if most > MAX_WILDCARDS:
        raise UserError(
            f"validation: path {quoted(patterns[counts.index(most)].text, 60)} has {most} wildcards; at most "
            f"{MAX_WILDCARDS} are taken: leave some out, or name a folder"
        )
    if sum(counts) > MAX_ALL_WILDCARDS:
        raise UserError(
            f"validation: path has {sum(counts)} wildcards in all; at most {MAX_ALL_WILDCARDS} are taken: name "
            "folders, or divide it into several calls"
        )
    return patterns


def pattern_of(text: str) -> PathPattern:
    """Read a pattern, but for an absolute path, which only the indexes can tell from a leading slash."""
    excludes = text.startswith(("!", "-"))
    path = _QUALIFIER.sub("", text[1:].lstrip() if excludes else text)
    if _REGEX.fullmatch(path):
        path = re.sub(r"\.[*+]", "**", path.removeprefix("^").removesuffix("$")).replace("\\", "")
    if not _GLOB.search(path):
        return PathPattern(as_stored(path), excludes)
    return PathPattern(_with_fewer_stars(_plain(_WINDOWS.sub("/", path))), excludes)


def _with_fewer_stars(glob: str) -> str:
    """Return a glob without stars that add nothing to those beside them: `****` and `**/**` are `**`."""
    glob = re.sub(r"\*{3,}", "**", glob)
    return re.sub(r"(?:\*\*/)+(\*\*)", r"\1", glob)


def as_stored(path: str) -> str:
    """Return a path as indexes spell it: with slashes, without `./` in front or the numbers of lines after it.

    A slash in front stays, as only the indexes can tell an absolute path from one in a repository.
    """
    text = path.strip().replace("\\", "/")
    found = _lines_at_end(text)
    return _plain(text[: found.start()] if found else text)


def lines_of(path: str) -> tuple[int, int | None] | None:
    """Return the first and last line that a path ends with, as in `a.py:3-9` and `a.py#L3`; no last one: None."""
    found = _lines_at_end(path.strip())
    if not found:
        return None
    numbers = re.findall(r"(?:^|[^C\d])(\d+)", found[0])
    if not numbers:
        return None
    return int(numbers[0]), int(numbers[1]) if numbers[1:] and "-" in found[0] else None


def _lines_at_end(path: str) -> re.Match[str] | None:
    return _LINES.search(path, max(0, len(path) - _MAX_LINES))


def _plain(path: str) -> str:
    """Return a path without `.` and `..`, which leads up at most to the top; the slashes at its ends stay."""
    if "." not in path.split("/") and ".." not in path.split("/"):
        return path
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    return "/" * path.startswith("/") + "/".join(parts) + "/" * (path.endswith("/") and bool(parts))


def any_of(patterns: Sequence[PathPattern]) -> str | None:
    """Return the expression of the paths that one of these patterns matches; None for all, or for no pattern."""
    if any(pattern.is_everything for pattern in patterns):
        return None
    parts = list(dict.fromkeys(pattern.expression for pattern in patterns))
    return "|".join(f"(?:{part})" for part in parts) if len(parts) > 1 else parts[0] if parts else None


def under(folder: str, expression: str | None = None) -> str:
    """Return the expression of the paths in a folder that match another one, too; an empty folder is the top."""
    inside = f"^{_literal(folder.strip('/'))}(?:/|$)" if folder.strip("/") else ""
    return f"(?={inside})(?:{expression})" if inside and expression else inside or expression or "^"


def exactly(parts: Sequence[str]) -> str:
    """Return the expression of the paths that have these parts, from end to end, with something between them."""
    return f"^{'.+'.join(map(_literal, parts))}$"


def _expression(text: str, excludes: bool) -> str:
    rooted, folder = text.startswith("/"), text.endswith("/")
    path = re.sub("/+", "/", text.strip("/"))
    end = "/" if folder else "(?:/|$)"
    if _GLOB.search(path):
        anywhere = "" if rooted or "/" in path else "(?:.*/)?"
        # A folder may be called [slug], too, as frameworks for the web have them.
        itself = "|" + _literal(path.replace("\\", "/")) if "[" in path else ""
        return f"{anywhere}(?:{_translated(path)}{itself}){end}"
    name = _literal(path)
    if folder:
        return ("(?:.*/)?" if excludes and "/" not in path and not rooted else "") + f"{name}/"
    if excludes:
        return ("" if rooted or "/" in path else "(?:.*/)?") + name + end
    beginning = rf"{name}(?:/|[^/]*$)"
    # Only what looks like a file is looked for in all folders: an expression with a fixed beginning is a range of
    # the key.
    return beginning if rooted or "/" in path or "." not in path else rf"(?:{beginning}|(?:.*/)?{name}$)"


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
