"""WordPiece tokens of a single word, without leaving Python.

The `tokenizers` library gives the same tokens, but at a price for each call that is
larger than the whole search for a short word.
"""

from collections.abc import Mapping

MAX_WORD_LENGTH = 100
"""Characters above which BERT's tokenizer calls a word unknown without looking at it."""


def wordpiece(word: str, vocabulary: Mapping[str, int]) -> list[int]:
    """Return the tokens of a normalized word: always the longest piece of the vocabulary that fits next.

    A word that cannot be spelled with the vocabulary has no tokens.

    Algorithm: greedy longest match first (Wu et al., "Google's Neural Machine Translation
    System", 2016, as in BERT); pieces after the first are written with a leading ``##``.
    """
    whole = vocabulary.get(word)
    if whole is not None:
        return [whole]
    if len(word) > MAX_WORD_LENGTH:
        return []
    tokens = []
    start, prefix = 0, ""
    while start < len(word):
        for end in range(len(word), start, -1):
            token = vocabulary.get(prefix + word[start:end])
            if token is not None:
                tokens.append(token)
                start, prefix = end, "##"
                break
        else:
            return []
    return tokens
