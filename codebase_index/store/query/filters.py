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

    `path` and `not_path` are regular expressions of Postgres: the path matches the first, and not the second;
    None: no such condition. `languages`: the file is in one of them; none: in any or no language. `scopes` are
    pairs of index and expression: the path matches one of its index; none: any file of any index.
    """

    path: str | None = None
    not_path: str | None = None
    languages: tuple[str, ...] = ()
    scopes: tuple[tuple[int, str], ...] = ()

    def __bool__(self) -> bool:
        return self != _NO_FILTERS

    @property
    def parameters(self) -> tuple[str | None, str | None, list[str], list[int], list[str]]:
        """What the queries take, in this order."""
        index_ids, expressions = [scope[0] for scope in self.scopes], [scope[1] for scope in self.scopes]
        return self.path, self.not_path, list(self.languages), index_ids, expressions


_NO_FILTERS = Filters()


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
