"""A search needs one connection at a time: with more, searches that each hold one would wait for each other."""

import asyncio
from collections.abc import Iterable

import pytest

from codebase_index.embedding import factory
from codebase_index.store.database import Database
from codebase_mcp.identity.access import VisibleIndexes
from codebase_mcp.search.answers import SearchResult
from codebase_mcp.search.request import Mode, SearchRequest
from codebase_mcp.search.service import SearchService
from tests.store.indexed_files import indexed

FILES = {"a.py": "def total(x):\n    return x\n", "b.py": "from a import total\n\nprint(total(1))\n"}


@pytest.mark.parametrize("mode", ["symbol", "text", "regex"])
async def test_a_pool_of_one_connection_answers(mode: Mode, dsn: str, database: Database) -> None:
    await indexed(database, FILES, 25)
    small = await Database.open(dsn, name="test", size=1)
    service = SearchService.from_database(small, factory.by_name, VisibleIndexes.every(small))
    try:
        async with asyncio.timeout(30):
            answer = await service.search(SearchRequest("total", mode=mode))
        assert places(answer.results) == {("a.py", 1), ("b.py", 1), ("b.py", 3)}
    finally:
        service.close()
        await small.close()


def places(results: Iterable[SearchResult]) -> set[tuple[str, int]]:
    """Path and number of each line that matches."""
    return {(r.path, line) for r in results for line in r.matching_lines or [r.start_line]}
