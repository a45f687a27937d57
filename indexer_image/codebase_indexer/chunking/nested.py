"""Where definitions may lie inside of small nodes, by the words that begin them. Pure.

A walk of the whole tree would cost half as much as the parse, and nearly all small functions hold no other. So the
walk enters a small node only where the text says that it may find something: a keyword, or a line of some form.
A mark may be wrong: the tree has the last word on what is found there.
"""

import re
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace

_LONGEST = r"{0,200}"
"""Of what is not a single word: no pattern may look far from each of many places."""

_BODY_OF_C = r"[^;(){}=]" + _LONGEST + r"\{"
_METHOD_OF_JAVASCRIPT = (
    r"\n[ \t]++((?:(?:async|get|set|static|public|private|protected|readonly|override)[ \t]++|[*#])*+"
    r"(?:([\w$]++)|\[[\w.]++\]|[\"'][^\"'\n]{0,100}[\"'])\??(?:<[^()\n]{0,100}>)?"
    r"\((?:[^;\n]" + _LONGEST + r"\{|)[ \t\r]*+$)"
)
_STATEMENTS_OF_JAVASCRIPT = frozenset(
    b"if for while switch catch return function else with await new it test".split()
)
_ARROW_OF_JAVASCRIPT = r"[=:]\s*(?:async\b\s*)?(?:[(<]|[\w$]+\s*$)|^\s*\)"
_FUNCTION_OF_CSHARP = (
    r"\n[ \t]++((?:(?:static|async|unsafe)[ \t]++)*+([\w.]++)(?:<[^;()\n]{0,100}>)?[\[\],?]*+[ \t]++"
    r"\w++(?:<[\w, ]{0,100}>)?\([^;\n]*+$)"
)
_STATEMENTS_OF_CSHARP = frozenset(b"return new await throw else using var case yield in if".split())


@dataclass(frozen=True)
class Words:
    """What begins a definition in a language.

    `starts` maps a text to a pattern that must match where it begins; `arrow` is a text, with a pattern of what
    must stand before it on its line; `line` is a pattern of lines, with what is marked as its first group and the
    first word as its second, which may not be one of `statements`. Not `complete`: beside what is marked there may
    be functions without a mark.

    Nearly all lines fail, so `line` is possessive, and begins with a line end, which is found as a plain text is.
    """

    starts: Mapping[bytes, re.Pattern[bytes] | None]
    arrow: tuple[bytes, re.Pattern[bytes]] | None = None
    line: re.Pattern[bytes] | None = None
    statements: Set[bytes] = frozenset()
    complete: bool = True


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
    statements=_STATEMENTS_OF_JAVASCRIPT,
)

WORDS: Mapping[str, Words] = {
    "python": _words("def ", "class "),
    **dict.fromkeys(("javascript", "typescript", "tsx", "vue", "svelte"), _SCRIPT),
    "go": _words(type=r"type\s+\w+"),
    "rust": _words("fn ", "macro_rules!", "impl ", struct=r"struct\s+\w", enum=r"enum\s+\w", trait=r"trait\s+\w",
                   union=r"union\s+\w", mod=r"mod\s+\w", type=r"type\s+\w"),
    "java": _words("@Override", "class ", "interface ", "record ", "enum ", "public ", "protected ", "private "),
    "c": replace(_words("#define", **_TYPES_OF_C), complete=False),
    "cpp": replace(_words("#define", "using ", **_TYPES_OF_C), complete=False),
    "csharp": Words({b"class ": None}, line=re.compile(_FUNCTION_OF_CSHARP.encode(), re.MULTILINE),
                    statements=_STATEMENTS_OF_CSHARP),
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


class Marks:
    """Where definitions may begin in a file: `offsets`, rising. The last one is its end, and marks nothing."""

    def __init__(self, data: bytes, grammar_name: str) -> None:
        words = WORDS.get(grammar_name)
        self.offsets: Sequence[int] = [*sorted(_places(data, words)), len(data)] if words else [len(data)]
        self.complete = words is None or words.complete

    def within(self, begin: int, end: int) -> bool:
        """Return whether there is one in bytes `begin` to `end` (exclusive)."""
        return self.offsets[bisect_left(self.offsets, begin)] < end


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
        statements = words.statements
        yield from (match.start(1) for match in words.line.finditer(data) if match[2] not in statements)


_MAX_LINE = 300
"""Bytes looked at before an arrow."""
