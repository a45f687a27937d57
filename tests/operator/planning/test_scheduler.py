"""A queue that has an end, and what its places cost to tell."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from codebase_operator.model import actions as do
from codebase_operator.model.site_policy import SitePolicy
from codebase_operator.model.snapshot import Snapshot
from codebase_operator.planning.planner import MAX_PROMPT_POSITIONS, plan
from codebase_operator.reporting import conditions as c
from codebase_operator.reporting import status
from tests.operator.builders import job
from tests.operator.harness import Bench
from tests.operator.simulation import Simulation


@pytest.fixture
def bounded(bench: Bench) -> Bench:
    bench.restart(site=SitePolicy(max_waiting=2))
    return bench


def waits(bench: Bench, name: str) -> tuple[str, str]:
    return bench.status(name)["phase"], bench.status(name)["reason"]


async def test_a_job_beyond_the_bound_stays_pending_outside_and_is_queued_by_itself(bounded: Bench) -> None:
    for name in ("a", "b", "c", "d", "e", "f"):
        bounded.server.create_job(name)
    await bounded.settle()
    assert set(bounded.server.pods) == {"a-a1", "b-a1", "c-a1"}
    assert [waits(bounded, name) for name in ("d", "e", "f")] == [
        ("Pending", c.CONCURRENCY_LIMIT), ("Pending", c.CONCURRENCY_LIMIT), ("Pending", c.QUEUE_FULL),
    ]  # fmt: skip
    assert "2 jobs wait, as many as limits.maxWaitingJobs allows" in bounded.status("f")["message"]
    assert bounded.status("e")["message"] == "Queued: 2nd of 2, 3 jobs running"
    async with bounded.database.connection() as connection:
        assert await connection.fetchval("SELECT count(*) FROM jobs") == 5
    await bounded.jobs.cancel((await bounded.row("a")).id)
    del bounded.server.pods["a-a1"]
    await bounded.settle()
    assert waits(bounded, "d") == ("Pending", "PodStarting")
    assert bounded.status("f")["message"] == "Queued: 2nd of 2, 3 jobs running"


async def test_a_job_outside_costs_one_write_however_long_it_stays(
    bounded: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(20):
        bounded.server.create_job(f"j-{number:02}")
    await bounded.settle()
    monkeypatch.setattr(status, "WRITE_INTERVAL", timedelta(0))  # long enough for whatever waits to be written
    await bounded.cycle(3)
    # Those that are inside have more to say: that their pods start.
    outside = [f"j-{number:02}" for number in range(5, 20)]
    assert [len(bounded.sent("PATCH", f"{name}/status")) for name in outside] == [1] * len(outside)


async def test_the_one_with_the_highest_priority_comes_in_first(bounded: Bench) -> None:
    for name in ("a", "b", "c", "d", "e", "f"):
        bounded.server.create_job(name)
    await bounded.settle()
    bounded.server.create_job("urgent", priority=9)
    await bounded.settle()
    assert waits(bounded, "urgent") == ("Pending", c.QUEUE_FULL)
    await bounded.jobs.cancel((await bounded.row("d")).id)
    await bounded.settle()
    assert bounded.status("urgent")["message"] == "Queued: 1st of 2, 3 jobs running"
    assert waits(bounded, "f") == ("Pending", c.QUEUE_FULL)


async def test_a_job_outside_can_be_cancelled(bounded: Bench) -> None:
    for name in ("a", "b", "c", "d", "e", "f"):
        bounded.server.create_job(name)
    await bounded.settle()
    bounded.server.change_job("f", cancel=True)
    await bounded.settle()
    assert bounded.status("f")["phase"] == "Cancelled"


# --- what places cost ------------------------------------------------------------------------------


@pytest.fixture
def long_queue() -> Simulation:
    simulation = Simulation()
    for number in range(200):
        added = job(f"j-{number:03}", age=1000 - number)
        simulation.jobs[added.id] = added
    simulation.settle()
    return simulation


def due(simulation: Simulation, *, positions: bool) -> tuple[list[do.SetQueue], list[do.WriteStatus]]:
    snapshot: Snapshot = replace(simulation.snapshot(), positions_due=positions)
    steps: list[Any] = plan(snapshot)
    for step in steps:
        simulation.apply(step)
    return [s for s in steps if isinstance(s, do.SetQueue)], [s for s in steps if isinstance(s, do.WriteStatus)]


def test_a_newcomer_of_high_priority_costs_no_write_for_each_that_waits(long_queue: Simulation) -> None:
    urgent = job("urgent", age=1, priority=100)
    long_queue.jobs[urgent.id] = urgent
    for _ in range(5):
        queues, statuses = due(long_queue, positions=False)
        assert sum(len(queue.positions) for queue in queues) <= 1  # its own place
        assert len(statuses) <= MAX_PROMPT_POSITIONS + 1
    assert long_queue.rows[urgent.id].queue_position == 1
    assert long_queue.jobs[urgent.id].status.queue_position == 1


def test_in_the_database_all_places_are_written_by_one_statement_when_it_is_time(long_queue: Simulation) -> None:
    urgent = job("urgent", age=1, priority=100)
    long_queue.jobs[urgent.id] = urgent
    due(long_queue, positions=False)
    (queue,), _ = due(long_queue, positions=True)
    assert len(queue.positions) == 198
    positions = sorted(row.queue_position for row in long_queue.rows.values() if row.queue_position)
    assert positions == list(range(1, 199))


def test_every_status_gets_its_place_in_time(long_queue: Simulation) -> None:
    urgent = job("urgent", age=1, priority=100)
    long_queue.jobs[urgent.id] = urgent
    for _ in range(60):
        long_queue.advance(1)
        due(long_queue, positions=True)
    told = sorted(j.status.queue_position for j in long_queue.jobs.values() if j.status.queue_position)
    assert told == list(range(1, 199))


def test_places_of_a_queue_that_a_person_watches_are_told_at_once() -> None:
    simulation = Simulation()
    for number in range(8):
        added = job(f"j-{number}", age=100 - number)
        simulation.jobs[added.id] = added
    simulation.settle()
    urgent = job("urgent", age=1, priority=100)
    simulation.jobs[urgent.id] = urgent
    due(simulation, positions=False)
    due(simulation, positions=False)
    positions = sorted(j.status.queue_position for j in simulation.jobs.values() if j.status.queue_position)
    assert positions == list(range(1, 7))
