"""Parsing of a query for the ranking. Pure."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from codebase_index.lexical.words import terms, words
from codebase_mcp.ranking import paths
from codebase_mcp.ranking.stems import coarse_stem, part_stems

_CODE_NAME = re.compile(r"_|\d|[a-z][A-Z]|^[A-Z]")
_CERTAIN_CODE_NAME = re.compile(r"_|\d|[a-z][A-Z]")

MAX_SPELLED_PARTS: Final = 4
"""Parts of a name that a query spells in separate words; few names have more."""

_STOP_WORDS: Final = frozenset(
    ["a", "an", "and", "are", "as", "at", "be", "by", "do", "does", "for", "from", "how", "in", "into", "is", "it",
     "of", "on", "or", "that", "the", "this", "to", "what", "when", "where", "which", "with"]
)  # fmt: skip


@dataclass(frozen=True)
class Query:
    """A parsed query. `code_names` look like names in code; `plain_words` could be English."""

    code_names: frozenset[str]
    plain_words: frozenset[str]
    terms: frozenset[str]
    """The terms that the lexical index would look up, without stop words unless there is nothing else."""

    stem_of: Mapping[str, str]
    """The stem of each term; empty if all of them are stop words."""

    stems: frozenset[str]
    """The values of `stem_of`."""

    spellings: frozenset[str]
    """The names that words in a row spell (`stems.spelling`): "type adapters" names a TypeAdapter."""

    is_single_name: bool
    requested_kinds: frozenset[paths.FileKind]
    """Kinds of files that the query asks for: they are not ranked lower."""

    def term_set(self, terms: Collection[str]) -> frozenset[str]:
        """Return the stems of those terms that are in the query."""
        return frozenset(self.stem_of[term] for term in terms if term in self.stem_of)

    @property
    def target_names(self) -> list[str]:
        """The names whose definitions are candidates, in lower case: those of a query that is a single name."""
        return sorted(name.lower() for name in self.code_names) if self.is_single_name else []

    @classmethod
    def of(cls, text: str) -> "Query":
        """Parse a query."""
        names, all_terms = words(text), frozenset(terms(text))
        one = len(names) == 1
        # A sentence begins with a capital, so that of its first word says nothing.
        code = {name for name in names[:1] if one or _CERTAIN_CODE_NAME.search(name)}
        code |= {name for name in names[1:] if _CODE_NAME.search(name)}
        stem_of = {term: coarse_stem(term) for term in all_terms - _STOP_WORDS}
        return cls(
            code_names=frozenset(code),
            plain_words=frozenset(names) - code,
            terms=all_terms - _STOP_WORDS or all_terms,
            stem_of=stem_of,
            stems=frozenset(stem_of.values()),
            spellings=frozenset(_spellings(names)),
            is_single_name=one,
            requested_kinds=frozenset(
                kind for kind, keywords in paths.KIND_KEYWORDS.items() if all_terms & keywords
            ),
        )


def _spellings(names: Sequence[str]) -> Iterator[str]:
    """Yield what two to four parts in a row spell, if it is of several words without a stop word between."""
    parts = [(number, stem) for number, name in enumerate(names) for stem in part_stems(name)]
    stops = {number for number, name in enumerate(names) if name.lower() in _STOP_WORDS}
    for size in range(2, MAX_SPELLED_PARTS + 1):
        for run in zip(*(parts[begin:] for begin in range(size)), strict=False):
            numbers = {number for number, _ in run}
            if len(numbers) > 1 and numbers.isdisjoint(stops):
                yield "".join(stem for _, stem in run)
