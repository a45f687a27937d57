"""Pattern search over the text of indexes, line by line, ordered by path and line, within a time limit."""

import contextlib
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg
import numpy as np

from codebase_index.grouping import grouped
from codebase_index.lexical.documents import IdRanges, Ids
from codebase_index.lexical.postings import is_in_sorted
from codebase_index.pattern import Pattern
from codebase_index.store import queries
from codebase_index.store.database import Database
from codebase_index.store.query.hybrid_search import Filters
from codebase_index.store.query.text_candidates import Candidates, candidates

SQL = queries.load("text_search")

_FIRST_FILES = 64
_MAX_FILES = 2048
"""Files a statement: few at first, since a common text is found in few; then four times as many each time."""

MAX_TOGETHER = 4096
"""Candidates that are read in one statement, of several indexes or of one: some 40 ms. Of an index with more,
files are read in the order of their paths until there are enough."""


@dataclass(frozen=True, order=True)
class TextPosition:
    """A position in the order of a text search: a line of a file. `line` 0 is before the first line, END after the
    last.
    """

    index_id: int
    path: str
    line: int


END = 2**31 - 1


@dataclass(frozen=True)
class TextMatch:
    """A chunk with the numbers of its lines that match, counted from 1 in the file."""

    id: int
    index_id: int
    path: str
    language: str | None
    start_line: int
    end_line: int
    symbol: str | None
    text: str
    lines: tuple[int, ...]


@dataclass(frozen=True)
class TextResult:
    """The result of a text search.

    `matches` hold the first lines that match, at least as many as were asked for if there are; `further_lines`
    counts those known beyond them. `stopped_at` is where it stopped, at its limit of lines or time: None after a
    complete search, and the start when the time limit was reached at once. `unfiltered` are indexes of an earlier
    version, which are searched more slowly.
    """

    matches: list[TextMatch]
    stopped_at: TextPosition | None
    timed_out: bool
    further_lines: int = 0
    unfiltered: Collection[int] = ()


class InvalidExpression(Exception):
    """Postgres does not accept the regular expression. The message is Postgres' own."""


@dataclass(frozen=True)
class TextQuery:
    """A text search: indexes in order, each by path, from `after` on, until `max_lines` lines match or `seconds`
    have passed. `excluded_lines` count for nothing: each is the id of a chunk and a line of its file.
    """

    index_ids: Sequence[int]
    pattern: Pattern
    filters: Filters
    after: TextPosition | None
    max_lines: int
    seconds: float
    excluded_lines: Collection[tuple[int, int]] = ()


class TextSearch:
    """Reads the text of indexes. Every method may raise StoreUnavailable."""

    def __init__(self, database: Database) -> None:
        self._db = database

    async def find(self, query: TextQuery) -> TextResult:
        """Search. All comes from one snapshot: each file is seen before or after its re-indexing.

        Raises InvalidExpression.
        """
        async with (
            self._db.connection() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            return await find(connection, query)


async def find(connection: asyncpg.Connection, query: TextQuery) -> TextResult:
    """Search within a transaction, which is aborted after a timeout. Raises InvalidExpression."""
    scan = _Scan(connection, query)
    with contextlib.suppress(asyncpg.QueryCanceledError):  # by the limit on statements
        try:
            return await scan.run()
        except asyncpg.InvalidRegularExpressionError as error:
            raise InvalidExpression(str(error).removeprefix("invalid regular expression: ")) from error
    return scan.cut_short()


@dataclass(frozen=True)
class _Found:
    """A chunk that matches, as read without its text, and the lines of it that are wanted."""

    record: Any
    lines: tuple[int, ...]


class _Scan:
    """The state of one search."""

    def __init__(self, connection: asyncpg.Connection, query: TextQuery) -> None:
        self._connection, self._query = connection, query
        self._deadline = time.monotonic() + query.seconds
        self._stopped_at = query.after
        self._candidates: Candidates | None = None
        self._found: list[_Found] = []
        self._matches: list[TextMatch] = []  # those of _found whose texts were read
        self._excluded = frozenset(query.excluded_lines)

    async def run(self) -> TextResult:
        """Search."""
        after, rest = self._query.after, list(self._query.index_ids)
        if after is not None and after.index_id in rest:
            rest = rest[rest.index(after.index_id) :]
        try:
            await self._limit_time()
            self._candidates = await candidates(self._connection, rest, self._query.pattern)
            finished = await self._search(rest)
        except _OutOfTime:
            return self.cut_short()
        further = sum(len(found.lines) for found in self._found[len(self._matches) :])
        return TextResult(
            self._matches, None if finished else self._stopped_at, False, further, self._unfiltered
        )  # fmt: skip

    def cut_short(self) -> TextResult:
        """Return what was found by now; chunks without their text are found again."""
        return TextResult(self._matches, self._stopped_at, True, unfiltered=self._unfiltered)

    @property
    def _unfiltered(self) -> Collection[int]:
        return self._candidates.unfiltered if self._candidates else ()

    async def _search(self, index_ids: Sequence[int]) -> bool:
        """Search indexes; return whether the search is complete."""
        for number, group in enumerate(groups := _groups(index_ids, self._candidates)):
            if self._is_enough:
                return False
            if group.candidates is None:
                if not await self._walk(group.index_ids[0]):
                    return False
            else:
                await self._read(group.candidates, group.index_ids)
            if number + 1 < len(groups):
                self._stopped_at = TextPosition(groups[number + 1].index_ids[0], "", 0)
        return True

    async def _walk(self, index_id: int) -> bool:
        """Search an index file by file; return whether it was searched to its end."""
        after = self._query.after if self._query.after and self._query.after.index_id == index_id else None
        path, again = (after.path, after.line < END) if after else (None, False)
        possible = self._candidates.of(index_id) if self._candidates else None
        size = _FIRST_FILES
        while True:
            if self._is_enough:
                return False
            await self._limit_time()
            files = await self._connection.fetch(
                SQL["files"], index_id, path, again, *self._query.filters.parameters, size
            )
            if not files:
                return True
            ids = IdRanges([file["first_chunk"] for file in files], [file["chunks"] for file in files]).ids
            await self._read(ids if possible is None else ids[is_in_sorted(ids, possible)], [index_id])
            path, again = files[-1]["path"], False
            self._stopped_at = TextPosition(index_id, path, END)
            size = min(4 * size, _MAX_FILES)

    async def _read(self, ids: Ids, index_ids: Sequence[int]) -> None:
        """Read chunks of some indexes, and note those that match in their order."""
        if not len(ids):
            return
        await self._limit_time()
        pattern = self._query.pattern
        needle = "" if pattern.ignores_case else pattern.needle
        records = await self._connection.fetch(
            SQL["matching"], ids.tolist(), pattern.expression, needle, pattern.literal is not None,
            *self._query.filters.parameters,
        )  # fmt: skip
        place = {index_id: number for number, index_id in enumerate(index_ids)}
        records.sort(key=lambda r: (place[r["index_id"]], r["path"], r["start_line"], r["id"]))
        for record in records:
            if lines := self._wanted_lines(record):
                self._found.append(_Found(record, lines))
        await self._read_texts()

    def _wanted_lines(self, record: Any) -> tuple[int, ...]:
        """Return the lines of a chunk that match and are wanted, counted in its file."""
        chunk_id, path, after = record["id"], record["path"], self._query.after
        first = 0  # a continued search has seen those before
        if after is not None and record["index_id"] == after.index_id and path <= after.path:
            first = after.line + 1 if path == after.path else END
        lines = (record["start_line"] + number - 1 for number in record["lines"])
        return tuple(line for line in lines if line >= first and (chunk_id, line) not in self._excluded)

    async def _read_texts(self) -> None:
        """Read the texts of the first chunks found, for as many lines as are wanted."""
        wanted, lines = [], self._lines
        for found in self._found[len(self._matches) :]:
            if lines >= self._query.max_lines:
                break
            wanted.append(found)
            lines += len(found.lines)
        rows = await self._connection.fetch(SQL["texts"], [found.record["id"] for found in wanted])
        texts = {row["id"]: row["text"] for row in rows}
        for found in wanted:
            columns = {**dict(found.record), "lines": found.lines}
            self._matches.append(TextMatch(text=texts[columns["id"]], **columns))

    @property
    def _lines(self) -> int:
        return sum(len(match.lines) for match in self._matches)

    @property
    def _is_enough(self) -> bool:
        return self._lines >= self._query.max_lines

    async def _limit_time(self) -> None:
        """Set the statement timeout to the remaining time. Raises _OutOfTime if there is none."""
        left = int(1000 * (self._deadline - time.monotonic()))
        if left <= 0:
            raise _OutOfTime
        await self._connection.execute(f"SET LOCAL statement_timeout = {left}")


class _OutOfTime(Exception):
    """The time of a search is over."""


@dataclass(frozen=True)
class _Group:
    """Indexes that are searched together: their candidates, or None for one that is walked file by file."""

    index_ids: list[int]
    candidates: Ids | None


def _groups(index_ids: Sequence[int], found: Candidates | None) -> list[_Group]:
    """Divide indexes into groups with few candidates, and single ones with many."""
    if found is None:
        return [_Group([index_id], None) for index_id in index_ids]
    groups = []
    for together in grouped(index_ids, lambda index_id: len(found.of(index_id)), MAX_TOGETHER):
        ids = np.concatenate([found.of(index_id) for index_id in together])
        groups.append(_Group(list(together), ids if len(ids) <= MAX_TOGETHER else None))
    return groups
