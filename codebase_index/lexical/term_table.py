"""The search terms of texts: the stems of each word's terms, looked up by word id. Pure."""

from collections.abc import Sequence
from itertools import chain
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from codebase_index.lexical.postings import Occurrences
from codebase_index.lexical.stemming import stem
from codebase_index.lexical.vocabulary import Interner, TokenizedTexts, Vocabulary
from codebase_index.lexical.words import split

MAX_TERMS_PER_WORD: Final = 2
"""Of the words that a vocabulary keeps; names have one each that no other has. A sentence without spaces is one
word with a term for each of its letters: some 200 bytes."""


class TermTable:
    """The search terms of each word of a vocabulary. Grows with it, and is cleared with it.

    Owned by the thread that owns the vocabulary.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._clear()

    def occurrences(self, tokenized: TokenizedTexts) -> Occurrences:
        """Return every term of every text."""
        self._extend()
        terms, ends = self._stems.of(tokenized.word_ids)
        sizes = np.diff(ends[tokenized.offsets])
        return Occurrences(len(sizes), np.repeat(np.arange(len(sizes)), sizes), terms, self._stem_ids.stems.names)

    def clear_if_full(self) -> None:
        """Forget all words when these, or their different terms, are too many: as `Vocabulary.clear_if_full`."""
        if len(self._stem_ids) > MAX_TERMS_PER_WORD * self._vocabulary.max_words:
            self._vocabulary.clear()
        self._vocabulary.clear_if_full()

    def _extend(self) -> None:
        """Add the words that are new in the vocabulary."""
        if self._generation != self._vocabulary.generation:
            self._clear()
        new = self._vocabulary.words[len(self._stems) :]
        number = self._stem_ids
        self._stems.extend([[number[term] for term in split(word)] for word in new])

    def _clear(self) -> None:
        self._generation = self._vocabulary.generation
        self._stem_ids = _StemIds()
        self._stems = _RaggedArray()


class _StemIds(dict[str, int]):
    """The stem id of each term."""

    def __init__(self) -> None:
        super().__init__()
        self.stems = Interner()

    def __missing__(self, term: str) -> int:
        self[term] = number = self.stems[stem(term)]
        return number


class _RaggedArray:
    """Lists of integers of different lengths in one array, to which more can be appended."""

    def __init__(self) -> None:
        self._values = np.empty(0, np.int32)
        self._ends = np.zeros(1, np.int64)

    def __len__(self) -> int:
        return len(self._ends) - 1

    def extend(self, lists: Sequence[Sequence[int]]) -> None:
        """Append lists."""
        if not lists:
            return
        added = np.fromiter(chain.from_iterable(lists), np.int32)
        ends = self._ends[-1] + np.cumsum([len(numbers) for numbers in lists])
        # Copied whole: a few hundred microseconds for 100,000 words, once in a batch.
        self._values = np.concatenate([self._values, added])
        self._ends = np.concatenate([self._ends, ends])

    def of(self, keys: NDArray[Any]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Return these lists concatenated, and their offsets: 0, then the end of each."""
        begins = self._ends[keys]
        sizes = self._ends[1:][keys] - begins
        ends = np.zeros(len(keys) + 1, np.int64)
        np.cumsum(sizes, out=ends[1:])
        places = np.arange(ends[-1]) + np.repeat(begins - ends[:-1], sizes)
        return self._values[places], ends
