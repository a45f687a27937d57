"""WordPiece tokens of a single word, without leaving Python.

The `tokenizers` library gives the same tokens, but at a price for each call that is
larger than the whole search for a short word.
"""

from collections.abc import Mapping

MAX_WORD_LENGTH = 100
"""Characters above which BERT's tokenizer calls a word unknown without looking at it."""

_HEAD = 3  # characters by which the pieces that may fit are told from the rest
_CONTINUATION = "##"  # how pieces after the first are written in the vocabulary


class WordPiece:
    """Divides normalized words into tokens: always the longest piece of the vocabulary that fits next.

    Algorithm: greedy longest match first (Wu et al., "Google's Neural Machine Translation
    System", 2016, as in BERT). How far to look is known from the next three characters: few
    pieces are as long as the words of source code, so most tries could not succeed.
    """

    def __init__(self, vocabulary: Mapping[str, int]) -> None:
        """Take the tokens with their ids; those for the inside of a word begin with ``##``."""
        self._first = dict(vocabulary)
        skip = len(_CONTINUATION)
        self._later = {t[skip:]: i for t, i in vocabulary.items() if t.startswith(_CONTINUATION) and len(t) > skip}
        self._first_reach, self._later_reach = _reach(self._first), _reach(self._later)

    def tokens(self, word: str) -> list[int]:
        """Return the token ids of a word; a word that cannot be spelled with the vocabulary has none."""
        whole = self._first.get(word)
        if whole is not None:
            return [whole]
        if len(word) > MAX_WORD_LENGTH:
            return []
        tokens: list[int] = []
        start, pieces, reach = 0, self._first, self._first_reach
        while start < len(word):
            limit = reach.get(word[start : start + _HEAD], _HEAD - 1)
            for end in range(min(len(word), start + limit), start, -1):
                token = pieces.get(word[start:end])
                if token is not None:
                    tokens.append(token)
                    start, pieces, reach = end, self._later, self._later_reach
                    break
            else:
                return []
        return tokens


def _reach(pieces: Mapping[str, int]) -> dict[str, int]:
    """Return the length of the longest piece for each beginning of pieces."""
    longest: dict[str, int] = {}
    for piece in pieces:
        head = piece[:_HEAD]
        longest[head] = max(longest.get(head, 0), len(piece))
    return longest
