"""The fault matrix in small: one round each of the faults that together touch every part of the product. And one
large job that is killed ten times, for `make test-large`.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from uuid import UUID

import pytest
import pytest_asyncio

from hack.deployment.chart import deploy
from hack.local_cluster.paths import own_state
from tests.chaos.faults.catalog import chosen, run
from tests.chaos.faults.faults import Inject
from tests.chaos.faults.process_faults import kill_first, kill_worker
from tests.chaos.harness import machines, truth
from tests.chaos.harness.invariants import Expected, check
from tests.chaos.rounds import Bench, over, repository, row, start, victim_at
from tests.support.cluster import FILE_COUNT, REPOSITORIES

pytestmark = pytest.mark.cluster

KILLS = 10

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


@pytest.mark.large
async def test_a_large_job_survives_ten_kills(bench: Bench) -> None:
    """SIGKILL at ten random moments, of the worker and of PID 1 in turn: all together repeat less than 1 %."""
    folder = repository(f"killed-{FILE_COUNT}", FILE_COUNT)
    expected = await asyncio.to_thread(truth.compute, folder)
    since = datetime.now(UTC)
    (job_id,) = await start(bench, [folder])
    moments = sorted(bench.rng.uniform(0.02, 0.95) for _ in range(KILLS))
    for number, share in enumerate(moments):
        await _kill_at(bench, job_id, share, kill_first if number % 2 else kill_worker)
    await over(bench, job_id)

    problems = await check(bench.cluster, bench.facts, bench.pods, [Expected(job_id, expected)], since)
    job = await row(bench.facts, job_id)
    repeated = job["files_repeated"] / job["files_total"]
    print(f"\n{KILLS} kills at {[round(share, 2) for share in moments]}: {repeated:.2%} of the files repeated, "
          f"{job['attempt']} attempts, {job['failures']} failures")  # fmt: skip
    assert not problems, "\n".join(problems)


async def _kill_at(bench: Bench, job_id: UUID, share: float, kill: Inject) -> None:
    """Kill what is to be killed when so much is done; after the last kill it may not be there again yet."""
    deadline = time.monotonic() + 60
    while True:
        victim = await victim_at(bench, job_id, share)
        try:
            await kill(bench.cluster, [victim])
            return
        except (LookupError, ProcessLookupError):
            if time.monotonic() > deadline:
                raise
        await asyncio.sleep(0.2)
