"""Scores of chunks by document, and the top k of them."""

from collections.abc import Sequence

import asyncpg
import numpy as np
from numpy.typing import NDArray

from codebase_index.lexical.documents import DocIdMap, Ids
from codebase_index.store import queries

SQL = queries.load("search")

_GROUPS_A_RESULT = 4
"""Groups of chunks for each result, of which only the best score is looked at first."""


class Scores:
    """The score of every chunk of the searched indexes; 0 for a chunk that does not match."""

    def __init__(self, doc_ids: DocIdMap, scores: NDArray[np.float32], documents: Ids | None = None) -> None:
        """Wrap the scores of these documents, given in ascending order; None: of all documents."""
        self._doc_ids = doc_ids
        self._scores = scores
        self._documents = documents

    def of(self, ids: Sequence[int]) -> list[float]:
        """Return the scores of chunks; 0 for a chunk that is in no part."""
        if not len(self._scores):
            return [0.0] * len(ids)
        documents = self._doc_ids.documents(np.asarray(ids, np.int64))
        if self._documents is None:
            scored, places = documents >= 0, documents
        else:
            places = np.minimum(np.searchsorted(self._documents, documents), len(self._documents) - 1)
            scored = self._documents[places] == documents
        found: list[float] = np.where(scored, self._scores[places], 0).tolist()
        return found

    def best(self, limit: int) -> list[int]:
        """Return the chunks with the highest scores above 0, best first; ties by id."""
        places = np.flatnonzero(self._scores >= self._threshold(self._scores, limit))
        documents = places if self._documents is None else self._documents[places]
        return _ordered(self._doc_ids.ids(documents), self._scores[places], limit)

    def best_of(self, ids: Ids, limit: int) -> list[int]:
        """Return the best of these chunks alone."""
        scores = np.asarray(self.of(ids.tolist()), np.float32)
        chosen = scores >= self._threshold(scores, limit)
        return _ordered(ids[chosen], scores[chosen], limit)

    @staticmethod
    def _threshold(scores: NDArray[np.float32], limit: int) -> float:
        """Return the lowest score above 0 among the `limit` highest ones: chunks below it need no sorting."""
        # A cheap lower bound first: if `limit` groups have a maximum as high, at least `limit` chunks do.
        groups = _GROUPS_A_RESULT * limit
        grouped = scores[: len(scores) // groups * groups].reshape(-1, groups)
        bound = _highest(grouped.max(axis=0), limit) if len(grouped) else 0
        above = scores[scores >= bound] if bound > 0 else scores[scores > 0]
        if len(above) <= limit:
            return float(above.min()) if len(above) else np.inf
        return _highest(above, limit)


async def best_live(connection: asyncpg.Connection, scores: Scores, limit: int) -> list[int]:
    """Return the best live chunks: segments also contain chunks that were deleted or rewritten since."""
    found: list[int] = []
    checked, wanted = 0, 2 * limit
    while len(found) < limit and (ids := scores.best(checked + wanted)[checked:]):
        live = {row["id"] for row in await connection.fetch(SQL["live"], ids)}
        found += [chunk_id for chunk_id in ids if chunk_id in live]
        checked, wanted = checked + len(ids), 3 * wanted
    return found[:limit]


def _highest(scores: NDArray[np.float32], rank: int) -> float:
    return float(np.partition(scores, len(scores) - rank)[len(scores) - rank])


def _ordered(ids: Ids, scores: NDArray[np.float32], limit: int) -> list[int]:
    ordered: list[int] = ids[np.lexsort((ids, -scores))][:limit].tolist()
    return ordered
