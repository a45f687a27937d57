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
    """Which files may answer: under a path prefix, of a language."""

    path_prefix: str | None = None
    language: str | None = None

    def __bool__(self) -> bool:
        return self.path_prefix is not None or self.language is not None


async def allowed(
    connection: asyncpg.Connection, index_ids: Sequence[int], filters: Filters, doc_ids: DocIdMap
) -> NDArray[np.bool_] | None:
    """Return a mask of the documents that pass the filters; None without filters.

    Chunks that were deleted but are still in a segment are excluded with their files.
    """
    if not filters:
        return None
    raw = await connection.fetchval(SQL["files"], index_ids, filters.path_prefix, filters.language)
    files = np.frombuffer(raw, _FILES)
    return doc_ids.mask(IdRanges(files["first"].astype(np.int64), files["chunks"].astype(np.int64)))
