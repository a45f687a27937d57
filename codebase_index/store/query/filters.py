"""Filters of a search: the files that may answer, and the mask of their chunks."""

from collections.abc import Sequence
from dataclasses import dataclass

import asyncpg
import numpy as np
from numpy.typing import NDArray

from codebase_index.lexical.documents import DocIdMap, IdRanges
from codebase_index.store import queries

SQL = queries.load("search")

_FILES = np.dtype([("first", ">i8"), ("chunks", ">i4")])


@dataclass(frozen=True)
class Filters:
    """Which files may answer.

    `paths` and `not_paths` are regular expressions of Postgres over `<index id>/<path>`, so that one search may
    look into different folders of different indexes: all of the former match, and none of the latter. `languages`:
    the file is in one of them; none: in any or no language.
    """

    paths: tuple[str, ...] = ()
    not_paths: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.paths or self.not_paths or self.languages)

    @property
    def parameters(self) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
        """What the queries take, in this order."""
        return self.paths, self.not_paths, self.languages


async def allowed(
    connection: asyncpg.Connection, index_ids: Sequence[int], filters: Filters, doc_ids: DocIdMap
) -> NDArray[np.bool_] | None:
    """Return a mask of the documents that pass the filters; None without filters.

    Chunks that were deleted but are still in a segment are excluded with their files.
    """
    if not filters:
        return None
    raw = await connection.fetchval(SQL["files"], index_ids, *filters.parameters)
    files = np.frombuffer(raw, _FILES)
    return doc_ids.mask(IdRanges(files["first"].astype(np.int64), files["chunks"].astype(np.int64)))
