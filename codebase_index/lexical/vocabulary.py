"""Interns the words of texts as ids, so that a word's properties are computed once and looked up in arrays. Pure.

Source code repeats a few names: of three million words in 30 MB of Python some 100,000 are distinct. A worker
tokenizes each text once, here; its search terms (`term_table`) and its vector (`embedding.static`) are computed
from the word ids, without reading the text again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final

import numpy as np
from numpy.typing import NDArray

from codebase_index.lexical.words import words

MAX_WORDS: Final = 98_304
"""Words kept from batch to batch: about 20 MB, and another 96 MB of sums in the static embedder."""


_MAX_LETTERS_PER_WORD: Final = 32  # on average; three times the length of names


@dataclass(frozen=True)
class TokenizedTexts:
    """Texts with their word ids: those of text `i` are ``word_ids[offsets[i]:offsets[i + 1]]``, in order."""

    texts: Sequence[str]
    word_ids: NDArray[np.int32]
    offsets: NDArray[np.int64]

    def part(self, begin: int, end: int) -> "TokenizedTexts":
        """Return some of the texts."""
        low, high = self.offsets[begin], self.offsets[end]
        return TokenizedTexts(self.texts[begin:end], self.word_ids[low:high], self.offsets[begin : end + 1] - low)


class Interner(dict[str, int]):
    """Assigns each new string the next id, from 0."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []
        """The strings by id."""

    def __missing__(self, name: str) -> int:
        self[name] = number = len(self.names)
        self.names.append(name)
        return number


class Vocabulary:
    """The words a process has seen. Owned by one thread: `static.StaticEmbedder` has its own behind a lock."""

    def __init__(self, max_words: int = MAX_WORDS) -> None:
        """Make an empty vocabulary; with more than `max_words` words `clear_if_full` clears it."""
        self.max_words = max_words
        self.generation = 0
        """Incremented by each clearing: word ids of an earlier generation are void."""
        self._interner = Interner()
        self._measured = self._letters = 0

    @property
    def words(self) -> Sequence[str]:
        """The words by id."""
        return self._interner.names

    def clear_if_full(self) -> None:
        """Forget all words when they are too many, or too long: encoded data has words of a thousand letters.

        Call it between batches, when no Numbered is in use.
        """
        self._letters += sum(map(len, self.words[self._measured :]))
        self._measured = len(self.words)
        if self._measured > self.max_words or self._letters > _MAX_LETTERS_PER_WORD * self.max_words:
            self.clear()

    def clear(self) -> None:
        """Forget all words."""
        self._interner = Interner()
        self._measured = self._letters = 0
        self.generation += 1

    def tokenize(self, texts: Sequence[str]) -> TokenizedTexts:
        """Split texts into words and intern these. Never removes a word."""
        of_texts = [words(text) for text in texts]
        offsets = np.zeros(len(of_texts) + 1, np.int64)
        np.cumsum([len(of_text) for of_text in of_texts], out=offsets[1:])
        word_ids = map(self._interner.__getitem__, chain.from_iterable(of_texts))
        return TokenizedTexts(texts, np.fromiter(word_ids, np.int32, int(offsets[-1])), offsets)
