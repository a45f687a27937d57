"""Which chunk a document of packed postings is, and back. Pure.

A batch reserves its chunks' ids one after another, so the ids of a segment are few runs of consecutive numbers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]

DEAD = 0
"""Id of a document that is no chunk: chunks count from 1."""


@dataclass(frozen=True)
class Runs:
    """Chunk ids in the order of their documents: `lengths[i]` consecutive ones from `firsts[i]` on."""

    firsts: Sequence[int] | Ids
    lengths: Sequence[int] | Ids

    @classmethod
    def of(cls, ids: Sequence[int]) -> "Runs":
        """Write ids as runs."""
        array = np.asarray(ids, np.int64)
        if not len(array):
            return cls([], [])
        begins = np.flatnonzero(np.append(True, (np.diff(array) != 1) | (array[1:] == DEAD + 1)))
        return cls(array[begins].tolist(), np.diff(np.append(begins, len(array))).tolist())

    @classmethod
    def joined(cls, several: Sequence["Runs"]) -> "Runs":
        """Put the documents of several parts one after another."""
        return cls([f for runs in several for f in runs.firsts], [n for runs in several for n in runs.lengths])

    @property
    def ids(self) -> Ids:
        """The ids, one for each document."""
        lengths = np.asarray(self.lengths, np.int64)
        shift = np.asarray(self.firsts, np.int64) - (np.cumsum(lengths) - lengths)
        ids: Ids = np.arange(lengths.sum()) + np.repeat(shift, lengths)
        return ids


class Numbering:
    """Numbers the documents of several parts one after another, and finds chunks among them."""

    def __init__(self, parts: Sequence[Runs]) -> None:
        firsts = _joined([runs.firsts for runs in parts])
        lengths = _joined([runs.lengths for runs in parts])
        self._firsts, self._lengths = firsts, lengths
        self._begins = np.cumsum(lengths) - lengths
        self._by_id = np.argsort(firsts, kind="stable")
        self._sorted_firsts = firsts[self._by_id]
        self.total = int(lengths.sum())
        """How many documents there are."""

    def ids(self, documents: NDArray[Any]) -> Ids:
        """Return the chunks of documents."""
        run = np.searchsorted(self._begins, documents, side="right") - 1
        ids: Ids = self._firsts[run] + (documents - self._begins[run])
        return ids

    def documents(self, ids: Ids) -> Ids:
        """Return the documents of chunks; -1 for those that are in no part."""
        if not self.total:
            return np.full(len(ids), -1, np.int64)
        run, within = self._places(ids)
        found: Ids = np.where((within >= 0) & (within < self._lengths[run]), self._begins[run] + within, -1)
        return found

    def mask(self, files: Runs) -> NDArray[np.bool_]:
        """Say of each document whether it is a chunk of some files, each given as a run of ids, none twice.

        Several times as fast as asking for each chunk: nearly all files lie whole within a run of a part.
        """
        steps = np.zeros(self.total + 1, np.int8)
        firsts, lengths = np.asarray(files.firsts, np.int64), np.asarray(files.lengths, np.int64)
        if not self.total or not len(firsts):
            return steps[:-1].view(np.bool_)
        run, within = self._places(firsts)
        whole = (within >= 0) & (within + lengths <= self._lengths[run])
        begins = (self._begins[run] + within)[whole]
        steps[begins] += 1
        steps[begins + lengths[whole]] -= 1
        mask: NDArray[np.bool_] = np.cumsum(steps[:-1], dtype=np.int8).view(np.bool_)
        others = self.documents(Runs(firsts[~whole], lengths[~whole]).ids)
        mask[others[others >= 0]] = True
        return mask

    def _places(self, ids: Ids) -> tuple[Ids, Ids]:
        """Return for each id the run that it is in, if in any, and how far from the first one of that."""
        run = self._by_id[np.maximum(np.searchsorted(self._sorted_firsts, ids, side="right") - 1, 0)]
        return run, ids - self._firsts[run]


def _joined(several: Sequence[Sequence[int] | Ids]) -> Ids:
    return np.concatenate([np.asarray(numbers, np.int64) for numbers in several] or [np.empty(0, np.int64)])
