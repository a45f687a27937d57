"""The slow work beside the loop: it goes on after any error, and only while this operator leads."""

import asyncio
from collections.abc import Iterator

import pytest

from codebase_index.store.errors import RowLocked, StoreUnavailable
from codebase_operator.maintenance import Maintenance


class Graphs:
    """Answers each look with what it is told: how many were built, or an error."""

    def __init__(self, *answers: int | Exception) -> None:
        self.answers: Iterator[int | Exception] = iter(answers)
        self.looks = 0

    async def maintain(self) -> int:
        self.looks += 1
        answer = next(self.answers)
        if isinstance(answer, Exception):
            raise answer
        return answer


async def run(graphs: Graphs, rounds: int, leads: bool = True) -> None:
    """Run it for some intervals."""
    left = iter(range(rounds))

    async def pause(_: float) -> None:
        if next(left, None) is None:
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await Maintenance(graphs, lambda: leads, pause=pause).run()  # type: ignore[arg-type]


async def test_it_builds_one_after_another_until_none_is_missing() -> None:
    graphs = Graphs(1, 1, 0, 0)
    await run(graphs, 2)
    assert graphs.looks == 4


@pytest.mark.parametrize("error", [StoreUnavailable("away"), RowLocked("locked"), RuntimeError("bug")])
async def test_an_error_is_told_and_the_next_look_goes_on(error: Exception) -> None:
    graphs = Graphs(error, 0, 0)
    await run(graphs, 3)
    assert graphs.looks == 3


async def test_an_operator_that_does_not_lead_looks_after_nothing() -> None:
    graphs = Graphs()
    await run(graphs, 3, leads=False)
    assert graphs.looks == 0
