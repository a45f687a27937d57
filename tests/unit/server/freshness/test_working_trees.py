"""When repositories are looked at, how often, and how many are remembered."""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

import pytest

from codebase_index.api.job import JobState
from codebase_index.api.source_policy import Root, SourcePolicy
from codebase_index.blob import blob_id
from codebase_index.store.catalog.indexes import IndexRow, StoredFiles
from codebase_mcp.freshness import working_trees
from codebase_mcp.freshness.working_tree import Newer, WorkingTree
from codebase_mcp.freshness.working_trees import WorkingTrees

BLOB = blob_id(b"x\n")


@pytest.fixture
def index(tmp_path: Path) -> Callable[[int], IndexRow]:
    """Makes a folder with one file, and its index of long ago."""

    def make(number: int) -> IndexRow:
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "a.py").write_bytes(b"x\n")
        return IndexRow(
            number, f"target-{number}", str(folder), None, None, None, None, datetime.now(UTC), None,
            JobState.COMPLETED, None, None, None, None, read_since=datetime.now(UTC),
        )  # fmt: skip

    return make


class Reader:
    """Reads the files of an index, and counts how often."""

    def __init__(self, count: int = 1) -> None:
        names = ["a.py", *(f"{number}.py" for number in range(count - 1))]
        self.files = StoredFiles("\0".join(names).encode(), BLOB * count)
        self.times = 0

    async def __call__(self, _: int, limit: int) -> StoredFiles:
        self.times += 1
        return self.files if len(self.files) < limit else StoredFiles(b"", BLOB * limit)


def over(folder: Path, files: Reader) -> WorkingTrees:
    return WorkingTrees(SourcePolicy((Root(PurePosixPath(folder), folder),)), files)


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """When each look was, and that it takes a processor 10 ms."""
    times: list[float] = []

    def look(_: WorkingTree) -> tuple[Newer | None, float]:
        times.append(time.monotonic())
        return None, 0.01

    monkeypatch.setattr(working_trees, "_timed_look", look)
    return times


async def test_searches_that_find_nothing_look_at_the_pace_of_all(
    tmp_path: Path, index: Callable[[int], IndexRow], looks: list[float]
) -> None:
    trees, row = over(tmp_path, Reader()), index(1)
    await trees.newer([row], now=True)
    began = time.monotonic()
    for _ in range(3):
        await asyncio.gather(*(trees.newer([row], now=True) for _ in range(20)))
    assert len(looks) == 4
    assert time.monotonic() - began >= 3 * 0.2 * 0.95  # each waited for the pause after the one before


async def test_a_search_that_finds_something_waits_for_no_look_that_its_pace_holds_back(
    tmp_path: Path, index: Callable[[int], IndexRow], looks: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(working_trees, "PAUSE_FACTOR", 1e9)
    trees, row = over(tmp_path, Reader()), index(1)
    await trees.newer([row], now=True)
    for _ in range(100):
        await trees.newer([row])
        await trees.newer([row], now=True)  # nor does one that finds nothing where the pause is a long one
    assert len(looks) == 1


async def test_what_is_remembered_is_bounded_over_all_repositories(
    tmp_path: Path, index: Callable[[int], IndexRow], looks: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(working_trees, "MAX_REMEMBERED_FILES", 25)
    trees, rows = over(tmp_path, Reader(10)), [index(number) for number in range(4)]
    for row in rows:
        await trees.newer([row], now=True)
    assert [trees.is_out_of_sight(row.id) for row in rows] == [True, True, False, False]
    held = [one.tree for one in trees._looked.values() if one.tree is not None]
    assert sum(len(tree.files) for tree in held) == 20


async def test_a_repository_that_is_too_large_or_elsewhere_is_out_of_sight_and_costs_the_others_nothing(
    tmp_path: Path, index: Callable[[int], IndexRow]
) -> None:
    large, row = Reader(working_trees.MAX_FILES + 1), index(1)
    trees = over(tmp_path, large)
    elsewhere = over(tmp_path / "other", Reader())
    for one in (trees, elsewhere):
        for _ in range(10):
            assert await one.newer([row], now=True) == {}
        assert one.is_out_of_sight(row.id) and one.seconds(row.id) == 0.0
    assert large.times == 1
