"""A query as the ranking sees it. Pure."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from codebase_index.lexical.words import terms, words
from codebase_mcp.ranking import paths
from codebase_mcp.ranking.stems import root

_LOOKS_LIKE_CODE = re.compile(r"_|\d|[a-z][A-Z]|^[A-Z]")
_UNMISTAKABLE = re.compile(r"_|\d|[a-z][A-Z]")

_STOP_WORDS: Final = frozenset(
    ["a", "an", "and", "are", "as", "at", "be", "by", "do", "does", "for", "from", "how", "in", "into", "is", "it",
     "of", "on", "or", "that", "the", "this", "to", "what", "when", "where", "which", "with"]
)  # fmt: skip


@dataclass(frozen=True)
class Query:
    """What a query asks for. `code_names` look like names in code, `plain_words` could be English."""

    code_names: frozenset[str]
    plain_words: frozenset[str]
    terms: frozenset[str]
    """What the lexical index would look for, less the words that stand everywhere, unless there are no others."""

    roots: Mapping[str, str]
    """The root of each; none where all words stand everywhere."""

    stems: frozenset[str]
    """These roots."""

    is_one_name: bool
    wants: frozenset[paths.Kind]
    """Kinds of files that count less, except when the query asks for them."""

    def bag(self, terms: Collection[str]) -> frozenset[str]:
        """Return the roots of some of its terms."""
        return frozenset(self.roots[term] for term in terms if term in self.roots)

    @property
    def sought(self) -> list[str]:
        """The names whose definitions the query asks for, in lower case: its own, when it is a single name."""
        return sorted(name.lower() for name in self.code_names) if self.is_one_name else []

    @classmethod
    def of(cls, text: str) -> "Query":
        """Read a query."""
        names, asked = words(text), frozenset(terms(text))
        one = len(names) == 1
        # A sentence begins with a capital, so that of its first word says nothing.
        code = {name for name in names[:1] if one or _UNMISTAKABLE.search(name)}
        code |= {name for name in names[1:] if _LOOKS_LIKE_CODE.search(name)}
        roots = {term: root(term) for term in asked - _STOP_WORDS}
        return cls(
            code_names=frozenset(code),
            plain_words=frozenset(names) - code,
            terms=asked - _STOP_WORDS or asked,
            roots=roots,
            stems=frozenset(roots.values()),
            is_one_name=one,
            wants=frozenset(kind for kind, words_for in paths.ASKED_BY.items() if asked & words_for),
        )
