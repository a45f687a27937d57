"""The names that a chunk defines or re-exports, in any of the usual languages: by its words, not by a parser.

Pure. A parser would need the whole file; to rank a few hundred candidates the words are as good.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from codebase_index import keywords
from codebase_index.languages import LANGUAGES
from codebase_index.lexical.words import words
from codebase_mcp.ranking.stems import spelling, stems_of

_TYPE_KEYWORDS: Final = keywords.TYPES
"""No `namespace`: every file of C# or C++ declares one, and defines it no more than the next."""

_NAME_KEYWORDS: Final = keywords.FUNCTIONS | keywords.VALUES | keywords.MACROS | {"proc"}
_KEYWORDS: Final = _TYPE_KEYWORDS | _NAME_KEYWORDS
_MAX_CACHED_CHUNKS: Final = 50_000
"""Chunks whose names are cached, some 20 MB. Queries about one repository share most of their
candidates, and finding the names is a large part of a search's CPU time."""

_RECEIVER_WORDS: Final = 4
"""Most words of what stands between `func` and the name in Go: `(m *Mux)`."""

_IDENTIFIER = re.compile(r"[^\W\d]\w*")
_BODY_OPENERS: Final = frozenset("(=:{<")

_COMMENT = re.compile(r"^[ \t]*+(?:#(?![ \t]*(?:define|if|include)\b|\[)|//|/\*|\*|--|;).*", re.MULTILINE)
"""A line that is a comment in one of the usual languages: what it defines is an example."""

# Re-exports. In Python only those of `__init__.py`: any other file's import is for its own use.
_RUST_REEXPORT = re.compile(r"\bpub use ([^;]{1,2000});")
_SCRIPT_REEXPORT = re.compile(r"\bexport\s+(?:type\s+)?\{([^}]{1,2000})\}\s*from\b")
_SCRIPTS = tuple(f".{extension}" for extension, language in LANGUAGES.items() if language.script)
_PYTHON_IMPORT = re.compile(r"^from\s+\S+\s+import\s+(\([^)]{1,4000}\)|[^\n(]+)", re.MULTILINE)


class ChunkNames(NamedTuple):
    """The names of a chunk: types, other definitions, and names that it re-exports from other files."""

    types: tuple[str, ...]
    others: tuple[str, ...]
    reexports: tuple[str, ...]
    casefolded: str
    """All defined names in one case-folded text: a stem that is not in it is in none of them."""
    spelled_types: tuple[str, ...]
    """The `stems.spelling` of the types."""
    spelled_others: tuple[str, ...]
    stems: tuple[str, ...]
    """The stems of all defined names. Tuples, here too: made once a chunk, and read for each query."""

    @classmethod
    def of(
        cls, types: Iterable[str] = (), others: Iterable[str] = (), reexports: Iterable[str] = ()
    ) -> "ChunkNames":
        """Build it from names."""
        types, others = tuple(types), tuple(others)  # tuples have a fifth of a small set's memory
        casefolded = "\n".join(types + others).casefold()
        spelled = tuple(map(spelling, types)), tuple(map(spelling, others))
        return cls(types, others, tuple(reexports), casefolded, *spelled, tuple(stems_of(types + others)))

    @property
    def definitions(self) -> tuple[str, ...]:
        """All names that the chunk defines."""
        return self.types + self.others


NO_NAMES: Final = ChunkNames.of()


_cache: dict[int, ChunkNames] = {}


def chunk_names(path: str, text: str, symbol: str | None) -> ChunkNames:
    """Return the names of a chunk. `symbol` is what the index calls it: outermost first, with dots."""
    key = hash((path, text, symbol))  # 64 bits, keyed by the process: the text itself would be most of the memory
    if (found := _cache.get(key)) is None:
        if len(_cache) >= _MAX_CACHED_CHUNKS:
            _cache.clear()
        found = _cache[key] = _extract_names(path, text, symbol)
    return found


def _extract_names(path: str, text: str, symbol: str | None) -> ChunkNames:
    types: set[str] = set()
    others: set[str] = set()
    code = _COMMENT.sub("", text)
    tokens = code.split()  # ten times as fast as a regular expression, and as good for ranking
    for keyword in _KEYWORDS.intersection(tokens):
        named = types if keyword in _TYPE_KEYWORDS else others
        for place in _positions(keyword, tokens):
            if name := _IDENTIFIER.match(_next_word(tokens, place)):
                named.add(name[0])
    own = symbol.rsplit(".", 1)[-1] if symbol else ""
    # The symbol also names what a chunk only lies in; where the definition begins, the name stands in the chunk.
    if own and _begins_definition(own, code):
        others.add(own)
    reexports = set(_reexports(path, text))
    return ChunkNames.of(types, others, reexports) if types or others or reexports else NO_NAMES


def _positions(token: str, tokens: Sequence[str]) -> Iterator[int]:
    place = -1
    for _ in range(tokens.count(token)):
        place = tokens.index(token, place + 1)
        yield place


def _next_word(tokens: Sequence[str], keyword: int) -> str:
    """Return the word after a keyword and a receiver in parentheses; empty at the end of the text."""
    following = tokens[keyword + 1 : keyword + 2 + _RECEIVER_WORDS]
    if following and following[0].startswith("("):
        closing = next((i for i, token in enumerate(following) if token.endswith(")")), len(following))
        following = following[closing + 1 :]
    return following[0] if following else ""


def _begins_definition(name: str, text: str) -> bool:
    """Say whether a name stands in a text like that of a function, field or class in any language: `name (`."""
    at = text.find(name)
    while at >= 0:
        end = at + len(name)
        before, after = text[at - 1 : at] if at else " ", text[end : end + 8].lstrip(" ")[:1]
        if after in _BODY_OPENERS and not (before.isalnum() or before == "_"):
            return True
        at = text.find(name, end)
    return False


def _reexports(path: str, text: str) -> Iterator[str]:
    if path.endswith(".rs") and "pub use " in text:
        yield from _matched_words(_RUST_REEXPORT, text)
    if path.endswith(_SCRIPTS) and "export" in text:
        yield from _matched_words(_SCRIPT_REEXPORT, text)
    if path.endswith("__init__.py"):
        yield from _matched_words(_PYTHON_IMPORT, text)


def _matched_words(pattern: re.Pattern[str], text: str) -> Iterator[str]:
    for match in pattern.finditer(text):
        yield from words(match[1])
