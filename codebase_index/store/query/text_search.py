"""Pattern search over the text of indexes, line by line, ordered by path and line, within a time limit."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import asyncpg

from codebase_index.pattern import Pattern
from codebase_index.store import queries
from codebase_index.store.database import Database
from codebase_index.store.query.hybrid_search import Filters

SQL = queries.load("text_search")

_FIRST_FILES = 64
_MAX_FILES = 2048
"""Files a statement: few at first, since a common text is found in few; then four times as many each time."""


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
    """The result of a text search. `stopped_at` is where it stopped at its limit of lines or time: None after a
    complete search, and the start when the time limit was reached at once.
    """

    matches: list[TextMatch]
    stopped_at: TextPosition | None
    timed_out: bool


class InvalidExpression(Exception):
    """Postgres does not accept the regular expression. The message is Postgres' own."""


@dataclass(frozen=True)
class TextQuery:
    """A text search: indexes in order, each by path, from `after` on, until `max_lines` lines match or `seconds`
    have passed.
    """

    index_ids: Sequence[int]
    pattern: Pattern
    filters: Filters
    after: TextPosition | None
    max_lines: int
    seconds: float


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
    scan = _Scan(query)
    try:
        finished = await scan.run(connection)
    except asyncpg.QueryCanceledError:  # by the limit on statements
        return TextResult(scan.matches, scan.stopped_at, True)
    except asyncpg.InvalidRegularExpressionError as error:
        raise InvalidExpression(str(error).removeprefix("invalid regular expression: ")) from error
    return TextResult(scan.matches, None if finished else scan.stopped_at, scan.timed_out)


class _Scan:
    """The state of one search."""

    def __init__(self, query: TextQuery) -> None:
        self.matches: list[TextMatch] = []
        self.stopped_at = query.after
        self.timed_out = False
        self._query, self._deadline = query, time.monotonic() + query.seconds
        self._lines = 0

    async def run(self, connection: asyncpg.Connection) -> bool:
        """Search; return whether the search is complete."""
        after, rest = self._query.after, list(self._query.index_ids)
        if after is not None and after.index_id in rest:
            rest = rest[rest.index(after.index_id) :]
        for index_id in rest:
            start = after if after is not None and after.index_id == index_id else None
            if not await self._index(connection, index_id, start):
                return False
        return True

    async def _index(self, connection: asyncpg.Connection, index_id: int, after: TextPosition | None) -> bool:
        path, again = (after.path, after.line < END) if after else (None, False)
        size = _FIRST_FILES
        while True:
            if self._lines >= self._query.max_lines:
                return False
            if not await self._limit(connection):
                self.timed_out = True
                return False
            files = await connection.fetch(
                SQL["files"], index_id, path, again, *self._query.filters.parameters, size
            )
            if not files:
                return True
            await self._files(connection, [file["id"] for file in files], after)
            path, again = files[-1]["path"], False
            self.stopped_at = TextPosition(index_id, path, END)
            size = min(4 * size, _MAX_FILES)

    async def _files(
        self, connection: asyncpg.Connection, file_ids: list[int], after: TextPosition | None
    ) -> None:
        records = await connection.fetch(
            SQL["matching"], file_ids, self._query.pattern.expression, self._query.pattern.literal
        )
        for record in records:
            first = record["start_line"]
            # A continued search has seen the first lines of its first file.
            skipped = after.line if after is not None and record["path"] == after.path else 0
            lines = tuple(first + n - 1 for n in record["lines"] if first + n - 1 > skipped)
            if lines:
                self.matches.append(TextMatch(**{**dict(record), "lines": lines}))
                self._lines += len(lines)

    async def _limit(self, connection: asyncpg.Connection) -> bool:
        """Set the statement timeout to the remaining time; return whether there is any."""
        left = int(1000 * (self._deadline - time.monotonic()))
        if left <= 0:
            return False
        await connection.execute(f"SET LOCAL statement_timeout = {left}")
        return True
