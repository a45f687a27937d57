"""WordPiece tokens of a single word, without leaving Python.

The `tokenizers` library gives the same tokens, but at a price for each call that is
larger than the whole search for a short word.
"""

from collections.abc import Iterable, Mapping
from functools import cache

MAX_WORD_LENGTH = 100
"""Characters above which BERT's tokenizer calls a word unknown without looking at it."""

_HEAD = 3  # characters by which the pieces that may fit are told from the rest
_SHORT = tuple(range(_HEAD - 1, 0, -1))  # lengths of the pieces that are shorter than that
_CONTINUATION = "##"  # how pieces after the first are written in the vocabulary


class WordPiece:
    """Divides normalized words into tokens: always the longest piece of the vocabulary that fits next.

    Safe for several threads at once: nothing changes after it is made.

    Algorithm: greedy longest match first (Wu et al., "Google's Neural Machine Translation
    System", 2016, as in BERT). Which lengths to try is known from the next three characters:
    few pieces begin as the words of source code do, so most tries could not succeed.
    """

    def __init__(self, vocabulary: Mapping[str, int]) -> None:
        """Take the tokens with their ids; those for the inside of a word begin with ``##``."""
        self._first = dict(vocabulary)
        skip = len(_CONTINUATION)
        self._later = {t[skip:]: i for t, i in vocabulary.items() if t.startswith(_CONTINUATION) and len(t) > skip}
        self._first_lengths, self._later_lengths = _lengths(self._first), _lengths(self._later)

    def tokens(self, word: str) -> list[int]:
        """Return the token ids of a word; a word that cannot be spelled with the vocabulary has none."""
        whole = self._first.get(word)
        if whole is not None:
            return [whole]
        if len(word) > MAX_WORD_LENGTH:
            return []
        tokens: list[int] = []
        start, pieces, lengths = 0, self._first, self._first_lengths
        while start < len(word):
            for length in lengths.get(word[start : start + _HEAD], _SHORT):
                # What is left of the word may be shorter: then that is the longest that can fit.
                token = pieces.get(word[start : start + length])
                if token is not None:
                    tokens.append(token)
                    start, pieces, lengths = start + length, self._later, self._later_lengths
                    break
            else:
                return []
        return tokens


def _lengths(pieces: Iterable[str]) -> dict[str, tuple[int, ...]]:
    """Return how long the pieces are that begin with the same _HEAD characters, the longest first."""
    found: dict[str, int] = {}  # a bit for each length: thirty thousand sets would take a tenth of a second
    for piece in pieces:
        if len(piece) >= _HEAD:
            head = piece[:_HEAD]
            found[head] = found.get(head, 0) | 1 << len(piece)
    return {head: _longest_first(bits) for head, bits in found.items()}


@cache
def _longest_first(bits: int) -> tuple[int, ...]:
    return (*(n for n in range(bits.bit_length() - 1, _HEAD - 1, -1) if bits >> n & 1), *_SHORT)
