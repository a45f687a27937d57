"""Coarse stems, which also cut derivations: `throttler` to `throttl`. The lexical index cuts only inflections."""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from codebase_index.lexical.words import split, terms

_SUFFIX = re.compile(
    r"(?:izations?|ations?|ators?|ments?|ings?|ions?|ness|able|ible|ers?|ors?|ed|ies|es|ly|y|s|e)$"
)
_MIN_STEM: Final = 3


def coarse_stem(term: str) -> str:
    """Cut a term to what its English relatives share: `throttle`, `throttling` and `throttler` to `throttl`.

    It compares names with a query, where a few false relatives cost less than a missed one. Terms with digits,
    underscores or other letters than ASCII stay as they are.
    """
    if not (term.isascii() and term.isalpha()):
        return term
    while (shorter := _strip_suffix(term)) != term:
        term = shorter
    return term


def _strip_suffix(term: str) -> str:
    """Cut one suffix, or else a letter that it doubled."""
    without = _SUFFIX.sub("", term)
    if without != term and len(without) >= _MIN_STEM:
        return without
    doubled = len(term) > _MIN_STEM and term[-1] == term[-2]
    return term[:-1] if doubled else term


def part_stems(word: str) -> list[str]:
    """Return the stems of a word's parts in order: `typ`, `adapt` of `TypeAdapter`."""
    found = split(word) if word else ()  # the whole word, then its parts if it has several
    return [coarse_stem(term) for term in found[1:] or found]


@lru_cache(maxsize=100_000)
def spelling(name: str) -> str:
    """Return the stems of a name's parts as one text: what `TypeAdapter` and "type adapters" share."""
    return "".join(part_stems(name))


def stems_of(names: Iterable[str]) -> frozenset[str]:
    """Return the stems of the terms that names consist of."""
    return frozenset().union(*map(_stems_of, names))


@lru_cache(maxsize=100_000)
def _stems_of(name: str) -> frozenset[str]:
    return frozenset(map(coarse_stem, terms(name)))
