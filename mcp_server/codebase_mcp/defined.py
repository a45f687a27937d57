"""Which names a piece of code defines or passes on, in any of the usual languages: by its words, not by a parser.

Pure. A parser would need the whole file; for the order of a few hundred candidates the words are as good.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Final

from codebase_index.text import words

_TYPE_KEYWORDS: Final = frozenset(
    ["class", "struct", "interface", "enum", "trait", "type", "protocol", "record", "union", "namespace", "object"]
)
_NAME_KEYWORDS: Final = frozenset(
    [
        "def",
        "func",
        "fn",
        "function",
        "fun",
        "sub",
        "proc",
        "const",
        "let",
        "var",
        "val",
        "macro_rules!",
        "#define",
    ]
)
_KEYWORDS: Final = _TYPE_KEYWORDS | _NAME_KEYWORDS
_REMEMBERED: Final = 10_000
"""Chunks whose names are kept, about 25 MB. Of the candidates for queries about one repository three in four came
before; finding their names is a sixth of what a search costs the server."""

_RECEIVER_WORDS: Final = 4
"""Most words of what stands between `func` and the name in Go: `(m *Mux)`."""

_IDENTIFIER = re.compile(r"[^\W\d]\w*")
_BEGINS_A_BODY: Final = frozenset("(=:{<")

# What passes names on. In Python only the file tells: any other file's import is for its own use.
_RUST_REEXPORT = re.compile(r"\bpub use ([^;]{1,2000});")
_SCRIPT_REEXPORT = re.compile(r"\bexport\s+(?:type\s+)?\{([^}]{1,2000})\}\s*from\b")
_PYTHON_IMPORT = re.compile(r"^from\s+\S+\s+import\s+(\([^)]{1,4000}\)|[^\n(]+)", re.MULTILINE)


@dataclass(frozen=True)
class Names:
    """The names of a chunk: types and others that it defines, names that it passes on from other files."""

    types: frozenset[str]
    others: frozenset[str]
    reexported: frozenset[str]

    @cached_property
    def defined(self) -> frozenset[str]:
        """All that is defined here."""
        return self.types | self.others

    @cached_property
    def all(self) -> frozenset[str]:
        """These and the names that are passed on."""
        return self.defined | self.reexported


@lru_cache(maxsize=_REMEMBERED)
def names_of(path: str, text: str, symbol: str | None) -> Names:
    """Return the names of a chunk. `symbol` is what the index calls it: outermost first, with dots."""
    types: set[str] = set()
    others: set[str] = set()
    tokens = text.split()  # ten times as fast as a regular expression, and as good for ranking
    for keyword in _KEYWORDS.intersection(tokens):
        named = types if keyword in _TYPE_KEYWORDS else others
        for place in _places(keyword, tokens):
            if name := _IDENTIFIER.match(_after(tokens, place)):
                named.add(name[0])
    own = symbol.rsplit(".", 1)[-1] if symbol else ""
    # The symbol also names what a chunk only lies in; where the definition begins, the name stands in the chunk.
    if own and _begins(own, text):
        others.add(own)
    return Names(frozenset(types), frozenset(others), frozenset(_reexported(path, text)))


def _places(token: str, tokens: Sequence[str]) -> Iterator[int]:
    place = -1
    for _ in range(tokens.count(token)):
        place = tokens.index(token, place + 1)
        yield place


def _after(tokens: Sequence[str], keyword: int) -> str:
    """Return the word after a keyword and a receiver in parentheses; empty at the end of the text."""
    following = tokens[keyword + 1 : keyword + 2 + _RECEIVER_WORDS]
    if following and following[0].startswith("("):
        closing = next((i for i, token in enumerate(following) if token.endswith(")")), len(following))
        following = following[closing + 1 :]
    return following[0] if following else ""


def _begins(name: str, text: str) -> bool:
    """Say whether a name stands in a text like that of a function, field or class in any language: `name (`."""
    at = text.find(name)
    while at >= 0:
        end = at + len(name)
        before, after = text[at - 1 : at] if at else " ", text[end : end + 8].lstrip(" ")[:1]
        if after in _BEGINS_A_BODY and not (before.isalnum() or before == "_"):
            return True
        at = text.find(name, end)
    return False


def _reexported(path: str, text: str) -> Iterator[str]:
    if "pub use " in text:
        yield from _named(_RUST_REEXPORT, text)
    if "export" in text:
        yield from _named(_SCRIPT_REEXPORT, text)
    if path.endswith("__init__.py"):
        yield from _named(_PYTHON_IMPORT, text)


def _named(pattern: re.Pattern[str], text: str) -> Iterator[str]:
    for match in pattern.finditer(text):
        yield from words(match[1])
