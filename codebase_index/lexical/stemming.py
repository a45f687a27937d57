"""Stemming: `cache`, `caches`, `cached` and `caching` are one term of the lexical index. Pure."""

import re
from typing import Final

_MIN_TERM_LENGTH: Final = 4
_MIN_STEM_LENGTH: Final = 3
_INFLECTION = re.compile(r"(?:ings?|ed|es|s|e)$")


def stem(term: str) -> str:
    """Remove the inflection of an English word, and the consonant that it doubled; other terms stay as they are.

    Inflections only: in code, derivation (`-er`, `-tion`, `-able`) makes another word, as a reader is not a
    reading.

    >>> [stem(term) for term in ("caching", "caches", "cache", "mapped", "map", "utf8")]
    ['cach', 'cach', 'cach', 'map', 'map', 'utf8']
    """
    if len(term) < _MIN_TERM_LENGTH or not (term.isascii() and term.isalpha()):
        return term
    shorter = _INFLECTION.sub("", term)
    if len(shorter) < _MIN_STEM_LENGTH:
        return term
    doubled = len(shorter) > _MIN_STEM_LENGTH and shorter[-1] == shorter[-2]
    return shorter[:-1] if doubled else shorter
