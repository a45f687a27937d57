"""The fault matrix in small: one round each of the faults that together touch every part of the product."""

import random
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from demo.deploy import deploy
from local_cluster.paths import own_state
from tests.chaos import machines
from tests.chaos.catalog import chosen, run
from tests.chaos.rounds import Bench
from tests.cluster import REPOSITORIES

pytestmark = pytest.mark.cluster

SUBSET = ("worker-killed", "pod-deleted", "postgres-killed", "operator-and-worker-killed", "cancel-worker-hangs")


@pytest_asyncio.fixture(scope="session")
async def bench() -> AsyncIterator[Bench]:
    """What rounds are run with, on the chart as this checkout has it."""
    REPOSITORIES.mkdir(parents=True, exist_ok=True)
    deploy([REPOSITORIES], settings=machines.placement(own_state().recorded_nodes()))
    async with Bench.open(random.Random()) as ready:
        yield ready


@pytest.mark.parametrize("name", SUBSET)
async def test_nothing_is_lost(bench: Bench, name: str) -> None:
    (row,) = chosen(name, nodes=1)
    outcomes = await run(bench, row)
    problems = [problem for outcome in outcomes for problem in outcome.problems]
    assert not problems, "\n".join(problems)
