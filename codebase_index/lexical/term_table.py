"""The search terms of texts: the stems of each word's terms, looked up by the word's number. Pure."""

from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codebase_index.lexical.postings import Occurrences
from codebase_index.lexical.stemming import stem
from codebase_index.lexical.vocabulary import Numbered, Numbers, Vocabulary
from codebase_index.lexical.words import split


class TermTable:
    """What the words of a vocabulary are found by. Grows with it, and starts anew when it does.

    Owned by the thread that owns the vocabulary.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._forget()

    def occurrences(self, numbered: Numbered) -> Occurrences:
        """Return every term of every text."""
        self._learn()
        terms, ends = self._stems.of(numbered.numbers)
        sizes = np.diff(ends[numbered.ends])
        return Occurrences(len(sizes), np.repeat(np.arange(len(sizes)), sizes), terms, self._number.stems.names)

    def _learn(self) -> None:
        """Take in the words that the vocabulary has got since."""
        if self._generation != self._vocabulary.generation:
            self._forget()
        new = self._vocabulary.words[len(self._stems) :]
        number = self._number
        self._stems.extend([[number[term] for term in split(word)] for word in new])

    def _forget(self) -> None:
        self._generation = self._vocabulary.generation
        self._number = _StemNumbers()
        self._stems = _Lists()


class _StemNumbers(dict[str, int]):
    """The number of each term's stem."""

    def __init__(self) -> None:
        super().__init__()
        self.stems = Numbers()

    def __missing__(self, term: str) -> int:
        self[term] = number = self.stems[stem(term)]
        return number


class _Lists:
    """Lists of numbers, one after another in one array that grows."""

    def __init__(self) -> None:
        self._values = np.empty(0, np.int32)
        self._ends = np.zeros(1, np.int64)

    def __len__(self) -> int:
        return len(self._ends) - 1

    def extend(self, lists: Sequence[Sequence[int]]) -> None:
        """Add lists at the end."""
        if not lists:
            return
        added = np.fromiter(chain.from_iterable(lists), np.int32)
        ends = self._ends[-1] + np.cumsum([len(numbers) for numbers in lists])
        # Copied whole: a few hundred microseconds for 100,000 words, once in a batch.
        self._values = np.concatenate([self._values, added])
        self._ends = np.concatenate([self._ends, ends])

    def of(self, keys: NDArray[Any]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Return the lists at these places joined, and where each ends, after a first 0."""
        begins = self._ends[keys]
        sizes = self._ends[1:][keys] - begins
        ends = np.zeros(len(keys) + 1, np.int64)
        np.cumsum(sizes, out=ends[1:])
        places = np.arange(ends[-1]) + np.repeat(begins - ends[:-1], sizes)
        return self._values[places], ends
