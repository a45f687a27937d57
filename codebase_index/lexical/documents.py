"""Maps the documents of packed postings to chunk ids, and back. Pure.

A batch reserves consecutive ids for its chunks, so the ids of a segment are a few ranges.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]

NO_CHUNK = 0
"""Id of a document without a chunk: chunk ids start at 1."""


@dataclass(frozen=True)
class IdRanges:
    """Chunk ids in document order, as ranges: `lengths[i]` consecutive ids starting at `firsts[i]`."""

    firsts: Sequence[int] | Ids
    lengths: Sequence[int] | Ids

    @classmethod
    def of(cls, ids: Sequence[int]) -> "IdRanges":
        """Compress ids into ranges."""
        array = np.asarray(ids, np.int64)
        if not len(array):
            return cls([], [])
        begins = np.flatnonzero(np.append(True, (np.diff(array) != 1) | (array[1:] == NO_CHUNK + 1)))
        return cls(array[begins].tolist(), np.diff(np.append(begins, len(array))).tolist())

    @classmethod
    def concatenate(cls, several: Sequence["IdRanges"]) -> "IdRanges":
        """Concatenate the documents of several parts."""
        return cls(
            [f for ranges in several for f in ranges.firsts], [n for ranges in several for n in ranges.lengths]
        )

    @property
    def ids(self) -> Ids:
        """The ids, one for each document."""
        lengths = np.asarray(self.lengths, np.int64)
        shift = np.asarray(self.firsts, np.int64) - (np.cumsum(lengths) - lengths)
        ids: Ids = np.arange(lengths.sum()) + np.repeat(shift, lengths)
        return ids


class DocIdMap:
    """Maps chunk ids to document numbers, which run through all parts, and back."""

    def __init__(self, parts: Sequence[IdRanges]) -> None:
        firsts = _concatenate([ranges.firsts for ranges in parts])
        lengths = _concatenate([ranges.lengths for ranges in parts])
        self._firsts, self._lengths = firsts, lengths
        self._begins = np.cumsum(lengths) - lengths
        self._by_id = np.argsort(firsts, kind="stable")
        self._sorted_firsts = firsts[self._by_id]
        self.total = int(lengths.sum())
        """Number of documents."""

    def ids(self, documents: NDArray[Any]) -> Ids:
        """Return the chunk ids of documents."""
        range_index = np.searchsorted(self._begins, documents, side="right") - 1
        ids: Ids = self._firsts[range_index] + (documents - self._begins[range_index])
        return ids

    def documents(self, ids: Ids) -> Ids:
        """Return the documents of chunk ids; -1 for a chunk that is in no part."""
        if not self.total:
            return np.full(len(ids), -1, np.int64)
        range_index, within = self._locate(ids)
        inside = (within >= 0) & (within < self._lengths[range_index])
        found: Ids = np.where(inside, self._begins[range_index] + within, -1)
        return found

    def mask(self, files: IdRanges) -> NDArray[np.bool_]:
        """Return a mask of the documents that are chunks of some files, each given as a range of ids, none twice.

        Several times as fast as a look-up for each chunk: nearly every file lies within one range of a part.
        """
        steps = np.zeros(self.total + 1, np.int8)
        firsts, lengths = np.asarray(files.firsts, np.int64), np.asarray(files.lengths, np.int64)
        if not self.total or not len(firsts):
            return steps[:-1].view(np.bool_)
        range_index, within = self._locate(firsts)
        whole = (within >= 0) & (within + lengths <= self._lengths[range_index])
        begins = (self._begins[range_index] + within)[whole]
        steps[begins] += 1
        steps[begins + lengths[whole]] -= 1
        mask: NDArray[np.bool_] = np.cumsum(steps[:-1], dtype=np.int8).view(np.bool_)
        others = self.documents(IdRanges(firsts[~whole], lengths[~whole]).ids)
        mask[others[others >= 0]] = True
        return mask

    def _locate(self, ids: Ids) -> tuple[Ids, Ids]:
        """Return for each id the range that may contain it, and its offset from the first id of that range."""
        range_index = self._by_id[np.maximum(np.searchsorted(self._sorted_firsts, ids, side="right") - 1, 0)]
        return range_index, ids - self._firsts[range_index]


def _concatenate(several: Sequence[Sequence[int] | Ids]) -> Ids:
    return np.concatenate([np.asarray(numbers, np.int64) for numbers in several] or [np.empty(0, np.int64)])
