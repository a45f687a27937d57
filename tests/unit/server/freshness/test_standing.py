"""What a search says of files beside the index, and what it starts for them."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from codebase_index.api.job import JobState
from codebase_index.api.source_policy import SourcePolicy
from codebase_index.store.catalog.indexes import IndexRow
from codebase_mcp.freshness.own import OwnRepositories
from codebase_mcp.freshness.refresh import Refresh
from codebase_mcp.freshness.standing import Freshness
from codebase_mcp.freshness.working_tree import Newer

INDEX = IndexRow(
    1, "target", "/srv/shop", None, None, None, None, datetime.now(UTC), None, JobState.COMPLETED, None, None,
    None, None,
)  # fmt: skip


class Trees:
    """Has seen what it was made with."""

    def __init__(self, newer: Newer) -> None:
        self._newer = newer

    async def newer(self, indexes: Sequence[IndexRow], *, now: bool = False) -> dict[int, Newer]:
        return {index.id: self._newer for index in indexes}


class Refresher:
    """Counts what it is asked to index again."""

    def __init__(self) -> None:
        self.asked: list[Newer] = []

    def watch(self, indexes: Sequence[IndexRow]) -> None:
        """Nothing to do."""

    async def refresh(self, _: IndexRow, newer: Newer) -> Refresh:
        self.asked.append(newer)
        return Refresh(None, "it is being indexed again")


@pytest.mark.parametrize("stamps", [{}, {"b.py": 7}], ids=["nothing else", "beside one that is newer"])
async def test_a_file_that_cannot_be_read_is_told_with_what_to_do_and_no_job_is_started_for_it(
    stamps: dict[str, int | None],
) -> None:
    refresher, newer = Refresher(), Newer(stamps, frozenset({"locked.py"}))
    freshness = Freshness(OwnRepositories(SourcePolicy()), cast(Any, Trees(newer)), cast(Any, refresher))
    standing = await freshness.standing([INDEX])
    assert standing.message and "cannot be read (locked.py)" in standing.message
    assert "right to read" in standing.message and ".mcpignore" in standing.message
    assert len(refresher.asked) == len(stamps) == standing.message.count("has changed")
