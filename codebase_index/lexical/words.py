"""Words and search terms of source code: the same for indexing and for queries.

A *word* is what a programmer calls a name: a run of letters, digits and underscores.
A *term* is what the lexical index stores: the whole word in lower case, then the parts
that camelCase, snake_case and digits divide it into. A query for ``parseHTTP`` thus
finds both the exact name and other names that contain its parts.

Chinese, Japanese and Thai are written without spaces, so that what stands between two marks is no word but a
sentence, and Korean joins particles to its words. Their terms are *grams*, runs of two letters (of three in the
alphabets of South-East Asia): a dictionary would know more, and differ from release to release.
"""

import re
import unicodedata
from collections.abc import Sequence

MAX_TERM_LENGTH = 64
"""Characters of a term. Longer names exist, but their first 64 characters identify them well enough."""

MAX_SPLIT_LENGTH = 256
"""Characters above which a word is taken for data (base64, minified code) and not divided into parts."""

CACHE_WORDS = 100_000
"""Distinct words cached before the cache is cleared: about 25 MB; a large repository has a few hundred
thousand, most of them rare, so that clearing it costs little."""

MAX_CACHED_TERMS = 16
"""Terms above which a word is not cached: a sentence without spaces, which does not come back either."""

_LETTER_CASE_PARTS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")

_IDEOGRAPHS = "\u3005-\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_SYLLABLES = "\u3040-\u30ff\u31f0-\u31ff\uac00-\ud7a3"  # Hiragana, Katakana, Hangul
_UNSPACED_ALPHABETS = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"  # Thai, Lao, Burmese, Khmer
_RUNS = re.compile(
    f"(?P<grams2>[{_IDEOGRAPHS}{_SYLLABLES}]+)|(?P<grams3>[{_UNSPACED_ALPHABETS}]+)"
    f"|[^{_IDEOGRAPHS}{_SYLLABLES}{_UNSPACED_ALPHABETS}]+"
)
_IDEOGRAPH = re.compile(f"[{_IDEOGRAPHS}]")

_ASCII_SEPARATORS = "".join(c if c.isalnum() or c == "_" else " " for c in map(chr, range(128)))
"""Translation table that leaves words and turns everything else into spaces."""


class _Separators(dict[int, str]):
    """The same table for the rest of Unicode, filled on demand."""

    def __missing__(self, code: int) -> str:
        char = chr(code)
        # Marks (category M) belong to the letter before them: without them Hindi falls into pieces.
        kept = char if char == "_" or char.isalnum() or unicodedata.category(char)[0] == "M" else " "
        if code <= 0xFFFF:  # a bound on memory; what lies beyond is rare
            self[code] = kept
        return kept


_separators = _Separators()
_terms_of_word: dict[str, tuple[str, ...]] = {}


def words(text: str) -> list[str]:
    """Return the names and numbers of a text in order, case kept.

    >>> words("self._cache[key2] += HTTPError(404)")
    ['self', '_cache', 'key2', 'HTTPError', '404']
    """
    if text.isascii():
        return text.translate(_ASCII_SEPARATORS).split()
    return unicodedata.normalize("NFKC", text).translate(_separators).split()


def terms(text: str) -> list[str]:
    """Return the search terms of a text in order, each word's whole form before its parts.

    Terms are in folded case, never empty, and at most `MAX_TERM_LENGTH` characters long.

    >>> terms("parseHTTPResponse2(raw_bytes)")
    ['parsehttpresponse2', 'parse', 'http', 'response', '2', 'raw_bytes', 'raw', 'bytes']
    """
    return [term for word in words(text) for term in _terms(word)]


def _terms(word: str) -> tuple[str, ...]:
    found = _terms_of_word.get(word)
    if found is None:
        if len(_terms_of_word) >= CACHE_WORDS:
            _terms_of_word.clear()
        found = split(word)
        # Long words do not come back, and would make the cache large.
        if len(word) <= MAX_SPLIT_LENGTH and len(found) <= MAX_CACHED_TERMS:
            _terms_of_word[word] = found
    return found


def split(word: str) -> tuple[str, ...]:
    """Return the terms of one word: the whole word and, if it has more than one, its parts.

    >>> split("parseHTTP"), split("__"), split("0xFF")
    (('parsehttp', 'parse', 'http'), (), ('0xff',))
    >>> split("登录失败"), split("รหัส")
    (('登录失败', '登录', '录失', '失败', '登', '录', '失', '败'), ('รหัส', 'รหั', 'หัส'))
    """
    whole = fold(word)
    if word.isascii() and word.isalpha() and word[1:].islower():  # half of all words
        return (whole,)
    if not word.isascii() and (grams := _grams(word)):
        return (whole, *grams)
    if len(word) > MAX_SPLIT_LENGTH:
        return (whole,)
    if word[0].isdecimal() and "_" not in word:  # a literal such as 0xFF or 1e9, or a hash: its parts say nothing
        return (whole,)
    parts = [fold(part) for part in _parts(word)]
    if parts == [whole]:
        return (whole,)
    if not parts:  # underscores alone
        return ()
    return (whole, *parts)


def _grams(word: str) -> list[str]:
    """Return the terms of a word that has letters written without spaces: their grams, and terms of the others."""
    runs = list(_RUNS.finditer(word))
    if all(run.lastgroup is None for run in runs):
        return []
    return [term for run in runs for term in _terms_of_run(run) if term != word]


def _terms_of_run(run: re.Match[str]) -> Sequence[str]:
    letters = run[0]
    if run.lastgroup is None:
        return split(letters)
    size = 3 if run.lastgroup == "grams3" else 2
    grams = [letters[i : i + size] for i in range(max(1, len(letters) - size + 1))]
    return grams if len(letters) < size else [*grams, *_IDEOGRAPH.findall(letters)]  # an ideograph may be a word


def _parts(word: str) -> list[str]:
    """Divide a word at underscores, where the letter case changes, and where digits begin or end."""
    if word.isascii():
        return _LETTER_CASE_PARTS.findall(word)
    # One pattern for every script: match it against the classes of the characters.
    classes = "".join("A" if c.isupper() else "0" if c.isdecimal() else "_" if c == "_" else "a" for c in word)
    return [word[match.start() : match.end()] for match in _LETTER_CASE_PARTS.finditer(classes)]


def fold(word: str) -> str:
    """Return the word in folded case and compatibility form, cut to the length of a term.

    Definition D146 of the Unicode Standard, so that folding twice changes nothing.
    """
    if word.isascii():
        return word.lower()[:MAX_TERM_LENGTH]
    decomposed = unicodedata.normalize("NFD", word)
    folded = unicodedata.normalize("NFKC", decomposed.casefold())
    return unicodedata.normalize("NFKC", folded.casefold())[:MAX_TERM_LENGTH]
