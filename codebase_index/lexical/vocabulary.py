"""Numbers for the words of texts, so that what is known of a word is computed once and looked up in arrays. Pure.

Source code repeats a few names: of three million words in 30 MB of Python some 100,000 are distinct. A worker
splits each text into words once, here; its search terms (`term_table`) and its vector (`embedding.static`) are
then made of the numbers, without a further look at the text.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final

import numpy as np
from numpy.typing import NDArray

from codebase_index.lexical.words import words

KEPT_WORDS: Final = 98_304
"""Words that are kept from batch to batch: about 20 MB, and 96 MB of sums beside them in the static embedder."""


_KEPT_LETTERS: Final = 32  # for each kept word: three times what names have


@dataclass(frozen=True)
class Numbered:
    """Texts with the numbers of their words: those of text `i` are ``numbers[ends[i]:ends[i + 1]]``, in order."""

    texts: Sequence[str]
    numbers: NDArray[np.int32]
    ends: NDArray[np.int64]

    def part(self, begin: int, end: int) -> "Numbered":
        """Return some of the texts."""
        low, high = self.ends[begin], self.ends[end]
        return Numbered(self.texts[begin:end], self.numbers[low:high], self.ends[begin : end + 1] - low)


class Numbers(dict[str, int]):
    """Gives each string that it is asked for the next number, from 0."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []
        """The strings by number."""

    def __missing__(self, name: str) -> int:
        self[name] = number = len(self.names)
        self.names.append(name)
        return number


class Vocabulary:
    """The words that a process has met. Owned by one thread: `static.StaticEmbedder` has its own behind a lock."""

    def __init__(self, kept_words: int = KEPT_WORDS) -> None:
        """Take how many words there may be before `make_room` forgets them."""
        self.kept_words = kept_words
        self.generation = 0
        """Raised when all words were forgotten: what was noted of their numbers is void then."""
        self._numbers = Numbers()
        self._measured = self._letters = 0

    @property
    def words(self) -> Sequence[str]:
        """The words by number."""
        return self._numbers.names

    def make_room(self) -> None:
        """Forget all words when they are too many, or too long: encoded data has words of a thousand letters.

        Call it between batches, when no Numbered is in use.
        """
        self._letters += sum(map(len, self.words[self._measured :]))
        self._measured = len(self.words)
        if self._measured > self.kept_words or self._letters > _KEPT_LETTERS * self.kept_words:
            self._numbers = Numbers()
            self._measured = self._letters = 0
            self.generation += 1

    def number(self, texts: Sequence[str]) -> Numbered:
        """Split texts into words and number these. Never forgets a word."""
        of_texts = [words(text) for text in texts]
        ends = np.zeros(len(of_texts) + 1, np.int64)
        np.cumsum([len(of_text) for of_text in of_texts], out=ends[1:])
        known = map(self._numbers.__getitem__, chain.from_iterable(of_texts))
        return Numbered(texts, np.fromiter(known, np.int32, int(ends[-1])), ends)
