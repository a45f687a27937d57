"""The chunks that may hold what a text search looks for: a look-up in gram filters instead of reading them all."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg
import numpy as np

from codebase_index.lexical.documents import NO_CHUNK, IdRanges, Ids
from codebase_index.lexical.gram_filter import Condition
from codebase_index.pattern import Pattern
from codebase_index.store import queries

SQL = queries.load("text_search")


@dataclass(frozen=True)
class Candidates:
    """The ids of the chunks that may match, ascending, by index. Some may have been deleted meanwhile.

    `unfiltered` are indexes that an earlier version wrote, in part: all chunks of those parts are candidates.
    """

    of_index: Mapping[int, Ids]
    unfiltered: Collection[int]

    def of(self, index_id: int) -> Ids:
        """Return the candidates of an index."""
        return self.of_index.get(index_id, _NO_IDS)


_NO_IDS = np.empty(0, np.int64)


async def candidates(
    connection: asyncpg.Connection, index_ids: Sequence[int], pattern: Pattern
) -> Candidates | None:
    """Return the chunks that may match; None for a pattern that says too little: then every chunk may."""
    condition = Condition.of(pattern.required)
    if condition is None:
        return None
    parts: dict[int, list[Ids]] = {}
    unfiltered = set()
    for part in await connection.fetch(SQL["filters"], list(index_ids), condition.rows):
        if part["rows"] is None:
            unfiltered.add(part["index_id"])
        if len(found := _ids(part, condition)):
            parts.setdefault(part["index_id"], []).append(found)
    return Candidates({index_id: np.sort(np.concatenate(ids)) for index_id, ids in parts.items()}, unfiltered)


def _ids(part: Any, condition: Condition) -> Ids:
    """Return the candidates of a segment or pending batch."""
    ids = IdRanges(part["first_ids"], part["run_lengths"]).ids
    if part["rows"] is not None:
        ids = ids[condition.documents(part["rows"], part["chunks"])]
    found: Ids = ids[ids != NO_CHUNK]
    return found
