"""Scores of chunks by their documents, and the best of them that there still are and that the filters leave."""

from collections.abc import Sequence

import asyncpg
import numpy as np
from numpy.typing import NDArray

from codebase_index.documents import Ids, Numbering
from codebase_index.store.scope import Scope

LOOK_UP = 5
"""Looking up one chunk costs as much as listing so many: 2 us and 0.4 us. Neither is done for long where the other
costs less: the chunks that the filters leave may be the worst ones."""

_GROUPS_A_RESULT = 4
"""Groups of chunks of which only the best one is looked at first, for each result."""


class Scores:
    """The score of every chunk of the searched indexes; 0 for those that are not found."""

    def __init__(
        self,
        numbering: Numbering,
        scores: NDArray[np.float32],
        scored: int | None = None,
        documents: Ids | None = None,
    ) -> None:
        """Take the scores of some documents, given in ascending order, or of every one."""
        self._numbering = numbering
        self._scores = scores
        self._documents = documents
        self.scored = numbering.total if scored is None else scored
        """How many chunks of them are of indexes that may answer."""

    @property
    def total(self) -> int:
        """How many chunks there are, with those that were removed and still are in a segment."""
        return self._numbering.total

    def of(self, ids: Sequence[int]) -> list[float]:
        """Return the scores of chunks; 0 for those that were not written yet."""
        if not len(self._scores):
            return [0.0] * len(ids)
        documents = self._numbering.documents(np.asarray(ids, np.int64))
        if self._documents is None:
            known, places = documents >= 0, documents
        else:
            places = np.minimum(np.searchsorted(self._documents, documents), len(self._documents) - 1)
            known = self._documents[places] == documents
        found: list[float] = np.where(known, self._scores[places], 0).tolist()
        return found

    def best(self, limit: int) -> list[int]:
        """Return the chunks with the highest scores above 0, best first; ties by id."""
        places = np.flatnonzero(self._scores >= self._threshold(self._scores, limit))
        documents = places if self._documents is None else self._documents[places]
        return _ordered(self._numbering.ids(documents), self._scores[places], limit)

    def best_of(self, ids: Ids, limit: int) -> list[int]:
        """Return the same of these chunks alone."""
        scores = np.asarray(self.of(ids.tolist()), np.float32)
        chosen = scores >= self._threshold(scores, limit)
        return _ordered(ids[chosen], scores[chosen], limit)

    @staticmethod
    def _threshold(scores: NDArray[np.float32], limit: int) -> float:
        """Return the least score above 0 among the `limit` highest ones: chunks below it need no sorting."""
        # First a bound that is quickly found: if `limit` groups each have one as high, so many chunks are as high.
        groups = _GROUPS_A_RESULT * limit
        grouped = scores[: len(scores) // groups * groups].reshape(-1, groups)
        bound = _highest(grouped.max(axis=0), limit) if len(grouped) else 0
        above = scores[scores >= bound] if bound > 0 else scores[scores > 0]
        if len(above) <= limit:
            return float(above.min()) if len(above) else np.inf
        return _highest(above, limit)


async def best(connection: asyncpg.Connection, scope: Scope, scores: Scores, limit: int) -> set[int]:
    """Return the best chunks that there still are: segments also hold some that were removed or written anew."""
    # To find enough by looking up the best, as many more are looked at as the filters leave fewer.
    each = max(1, scores.scored // max(1, scope.matching)) if scope.filters else 1
    listed = bool(scope.filters) and scope.matching <= LOOK_UP * limit * each
    most = scope.matching // LOOK_UP if scope.filters else scores.total
    found: list[int] = []
    all_seen = False
    if not listed:
        found, all_seen = await _further_down(connection, scope, scores, limit, 2 * limit * each, most)
    if scope.filters and len(found) < limit and not all_seen:
        found = scores.best_of(await scope.all(connection), limit)
    return set(found[:limit])


async def _further_down(
    connection: asyncpg.Connection, scope: Scope, scores: Scores, limit: int, wanted: int, most: int
) -> tuple[list[int], bool]:
    """Take chunks from the best on, ever more of them, until enough there still are, or `most` were looked at.

    Also tell whether these were all that have a score: a rare name may be in few chunks, none of which fits.
    """
    found: list[int] = []
    told = 0
    while len(found) < limit and told < most:
        chunk_ids = scores.best(asked := min(told + wanted, most))[told:]
        found += await scope.those(connection, chunk_ids)
        told, wanted = told + len(chunk_ids), 3 * wanted
        if told < asked:
            return found, True
    return found, False


def _highest(scores: NDArray[np.float32], rank: int) -> float:
    return float(np.partition(scores, len(scores) - rank)[len(scores) - rank])


def _ordered(ids: Ids, scores: NDArray[np.float32], limit: int) -> list[int]:
    ordered: list[int] = ids[np.lexsort((ids, -scores))][:limit].tolist()
    return ordered
