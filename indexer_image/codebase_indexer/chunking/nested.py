"""Where definitions may lie inside of small nodes, by the words that begin them. Pure.

A walk of the whole tree would cost half as much as the parse, and nearly all small functions hold no other. So the
walk enters a small node only where the text says that it may find something: a keyword, or a line of some form.
A mark may be wrong: the tree has the last word on what is found there.
"""

import re
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

_LONGEST = r"{0,200}"
"""Of what is not a single word: no pattern may look far from each of many places."""

_BODY_OF_C = r"[^;(){}=]" + _LONGEST + r"\{"
_METHOD_OF_JAVASCRIPT = (
    r"^[ \t]+(?!if\b|for\b|while\b|switch\b|catch\b|return\b|function\b|else\b|with\b|await\b|new\b|it\b|test\b)"
    r"(?:(?:async|get|set|static|public|private|protected|readonly|override)[ \t]+|[*#])*"
    r"(?:[\w$]+|\[[\w.]+\]|[\"'][^\"'\n]{0,100}[\"'])\??(?:<[^()\n]{0,100}>)?"
    r"\((?:[^;\n]" + _LONGEST + r"\{|)[ \t\r]*$"
)
_ARROW_OF_JAVASCRIPT = r"[=:]\s*(?:async\b\s*)?(?:[(<]|[\w$]+\s*$)|^\s*\)"
_FUNCTION_OF_CSHARP = (
    r"^[ \t]+(?!return\b|new\b|await\b|throw\b|else\b|using\b|var\b|case\b|yield\b|in\b|if\b)"
    r"(?:(?:static|async|unsafe)[ \t]+)*[\w.]+(?:<[^;()\n]{0,100}>)?[\[\],?]*[ \t]+\w+(?:<[\w, ]{0,100}>)?"
    r"\([^;\n]*$"
)


@dataclass(frozen=True)
class Words:
    """What begins a definition in a language.

    `starts` maps a text to a pattern that must match where it begins; `arrow` is a text, with a pattern of what
    must stand before it on its line; `line` is a pattern of whole lines.
    """

    starts: Mapping[bytes, re.Pattern[bytes] | None]
    arrow: tuple[bytes, re.Pattern[bytes]] | None = None
    line: re.Pattern[bytes] | None = None


def _words(*texts: str, **patterns: str) -> Words:
    return Words({
        **{text.encode(): None for text in texts},
        **{text.encode() + b" ": re.compile(pattern.encode()) for text, pattern in patterns.items()},
    })  # fmt: skip


_TYPES_OF_C = {word: word + r"\s" + _BODY_OF_C for word in ("struct", "class", "union", "enum")}

_SCRIPT = Words(
    {
        b"function": re.compile(rb"function\s*\*?\s*[\w$]|(?<=[=:]\s)function\b|(?<=[=:])function\b"),
        b"class ": re.compile(rb"class\s+[\w$]"),
        b"interface ": re.compile(rb"interface\s+\w+[^;(){}=]{0,200}\{"),
        b"enum ": re.compile(rb"enum\s+\w+\s*\{"),
        b"type ": re.compile(rb"type\s+\w+(?:<[^;(){}]{0,200}>)?\s*="),
    },
    arrow=(b"=>", re.compile(_ARROW_OF_JAVASCRIPT.encode())),
    line=re.compile(_METHOD_OF_JAVASCRIPT.encode(), re.MULTILINE),
)

WORDS: Mapping[str, Words] = {
    "python": _words("def ", "class "),
    "javascript": _SCRIPT,
    "typescript": _SCRIPT,
    "go": _words(type=r"type\s+\w+"),
    "rust": _words("fn ", "macro_rules!", "impl ", struct=r"struct\s+\w", enum=r"enum\s+\w", trait=r"trait\s+\w",
                   union=r"union\s+\w", mod=r"mod\s+\w", type=r"type\s+\w"),
    "java": _words("@Override", "class ", "interface ", "record ", "enum ", "public ", "protected ", "private "),
    "c": _words("#define", **_TYPES_OF_C),
    "cpp": _words("#define", "using ", **_TYPES_OF_C),
    "csharp": Words({b"class ": None}, line=re.compile(_FUNCTION_OF_CSHARP.encode(), re.MULTILINE)),
    "ruby": _words("def ", "class ", "module "),
    "php": _words(**{"function": r"function\s+&?\s*\w", "class": r"class\s+\w", "const": r"const\s+\w"}),
    "kotlin": _words("fun ", "class ", "interface ", "object "),
    "swift": _words("func ", "class ", "struct ", "enum ", "extension ", "protocol "),
    "scala": _words("def ", "class ", "object ", "trait "),
    "lua": _words("function"),
    "luau": _words("function"),
    "bash": _words("function ", "()"),
}  # fmt: skip
"""What begins a definition, by grammar; those that are not here have none inside of others, or are data."""

SAME_AS: Mapping[str, str] = {
    "tsx": "typescript", "cuda": "cpp", "starlark": "python", "vue": "typescript", "svelte": "typescript",
}  # fmt: skip


class Marks:
    """Where definitions may begin in a file: offsets, rising."""

    def __init__(self, data: bytes, grammar_name: str) -> None:
        words = WORDS.get(SAME_AS.get(grammar_name, grammar_name))
        self._offsets: Sequence[int] = sorted(_places(data, words)) if words else ()

    def within(self, begin: int, end: int) -> bool:
        """Return whether there is one in bytes `begin` to `end` (exclusive)."""
        at = bisect_left(self._offsets, begin)
        return at < len(self._offsets) and self._offsets[at] < end


def _places(data: bytes, words: Words) -> Iterator[int]:
    for text, pattern in words.starts.items():
        at = data.find(text)  # several times as fast as a regular expression
        while at >= 0:
            if pattern is None or pattern.match(data, at):
                yield at
            at = data.find(text, at + len(text))
    if words.arrow:
        text, before = words.arrow
        at = data.find(text)
        while at >= 0:
            line = max(data.rfind(b"\n", 0, at) + 1, at - _MAX_LINE)
            if before.search(data[line:at]):
                yield at
            at = data.find(text, at + len(text))
    if words.line:
        yield from (match.start() for match in words.line.finditer(data))


_MAX_LINE = 300
"""Bytes looked at before an arrow."""
