"""What is removed, when, and what is only flagged: the rules, stories in the simulation, the real calls."""

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from codebase_index.api.job import FINAL, JobState
from codebase_index.store.errors import StoreUnavailable
from codebase_index.store.jobs.jobs import Jobs
from codebase_index.store.jobs.rows import JobRow
from codebase_operator.model.actions import RemoveOrphan, WriteStatus
from codebase_operator.model.snapshot import Job, JobView
from codebase_operator.planning.lifecycle import RETENTION
from codebase_operator.planning.planner import plan
from codebase_operator.reporting import conditions as c
from codebase_operator.reporting.conditions import Outage, QueuePosition, StatusInput, conditions_of, summary
from tests.operator.builders import NOW, admitted, ago, finished, job, pod, row, snapshot
from tests.operator.fake_api import Fault
from tests.operator.harness import Bench
from tests.operator.planning.test_planner import Case, steps
from tests.operator.simulation import Simulation

WEEK = RETENTION.total_seconds()
A, B = job("a"), job("b")


def elsewhere(r: JobRow) -> JobRow:
    return r.model_copy(update={"namespace": "other"})


def ended(j: Job, seconds: float, state: str = "completed", **fields: Any) -> Any:
    when = "cancelled_at" if state == "cancelled" else "completed_at"
    return row(j, state, 1, **{when: ago(seconds), **fields})


RULES = [
    Case("removes the final row of a deleted job a week after its end",
         snapshot(rows=[ended(A, WEEK)]), ["RemoveOrphan a"]),
    Case("keeps it until then", snapshot(rows=[ended(A, WEEK - 1)]), []),
    Case("removes the row of a job that was cancelled because its resource was deleted",
         snapshot(rows=[ended(A, WEEK, "cancelled")]), ["RemoveOrphan a"]),
    Case("removes the row of a failed one", snapshot(rows=[ended(A, WEEK, "failed")]), ["RemoveOrphan a"]),
    Case("leaves the rows of other namespaces alone",
         snapshot(rows=[elsewhere(ended(A, 9 * WEEK)), elsewhere(row(B, "pending"))]), []),
    Case("frees the slot before it removes the row",
         snapshot(rows=[ended(A, WEEK, slot=True)]), ["ReleaseSlot a"]),
    Case("keeps the row of a resource that is there, however old, for as long as its own time says",
         snapshot(finished(job("a", ttlSecondsAfterFinished=30_000_000), ended=9 * WEEK),
                  rows=[ended(A, 9 * WEEK)]),
         []),
    Case("does not remove a job whose slot is not free yet",
         snapshot(finished(job("a", ttlSecondsAfterFinished=0), ended=60), rows=[ended(A, 60, slot=True)]),
         ["ReleaseSlot a"]),
    Case("does not remove a job that is being deleted by somebody else already",
         snapshot(finished(job("a", ttlSecondsAfterFinished=0, deleting=True), ended=60)), []),
    Case("never removes an unfinished job, however old",
         snapshot(admitted(job("a", age=90 * WEEK, ttlSecondsAfterFinished=0)), rows=[row(A, "running", 1)],
                  pods=[pod(A)]), []),
    Case("removes nothing while the database is away",
         snapshot(finished(job("a", ttlSecondsAfterFinished=0), ended=9 * WEEK), away=True), []),
]  # fmt: skip


@pytest.mark.parametrize("case", RULES, ids=lambda case: case.claim)
def test_rule(case: Case) -> None:
    assert steps(case.given) == case.then


# --- stories ---------------------------------------------------------------------------------------


def at_rest(simulation: Simulation) -> None:
    """Let everything end that is under way, and the pods of deleted resources go."""
    for _ in range(6):
        simulation.settle()
        for p in [p for p in simulation.pods.values() if not p.finished and p.deleted_at is None]:
            simulation.claim(p)
            simulation.complete(simulation.pods[p.name])
        simulation.settle()
        simulation.advance(1)
    simulation.settle()


def with_job(new: Job, **fields: Any) -> Simulation:
    simulation = Simulation(**fields)
    simulation.jobs[new.id] = new
    return simulation


def test_a_job_goes_with_its_row_and_pods_when_its_time_is_over() -> None:
    simulation = with_job(job("a", ttlSecondsAfterFinished=100))
    at_rest(simulation)
    assert [j.status.phase for j in simulation.jobs.values()] == ["Completed"]
    assert simulation.rows and simulation.pods
    simulation.advance(100)
    simulation.settle()
    simulation.advance(1)
    assert (simulation.jobs, simulation.rows, simulation.pods) == ({}, {}, {})


def test_the_row_of_a_finished_job_that_is_deleted_by_hand_goes_a_week_after_its_end() -> None:
    simulation = with_job(A)
    at_rest(simulation)
    del simulation.jobs[A.id]
    simulation.advance(WEEK - 60)
    simulation.settle()
    assert set(simulation.rows) == {A.id}
    simulation.advance(61)
    simulation.settle()
    assert simulation.rows == {}


def test_a_new_job_under_the_name_of_a_deleted_one_is_another_job() -> None:
    simulation = with_job(A)
    at_rest(simulation)
    first = simulation.rows[A.id]
    del simulation.jobs[A.id]
    again = replace(A, id=uuid4(), created=simulation.now)
    simulation.jobs[again.id] = again
    at_rest(simulation)
    assert simulation.rows[A.id] == first
    assert (simulation.rows[again.id].state, simulation.rows[again.id].attempt) == (JobState.COMPLETED, 1)
    assert {p.job_id for p in simulation.pods.values()} == {again.id}
    simulation.advance(WEEK)
    simulation.settle()
    assert (simulation.jobs, simulation.rows) == ({}, {})


def test_a_new_job_under_the_name_of_one_that_is_deleted_while_it_runs_waits_for_its_end() -> None:
    """The old pod lives on for its grace period, under the name that the new pod needs."""
    simulation = with_job(A)
    simulation.settle()
    simulation.claim(simulation.pods["a-a1"])
    del simulation.jobs[A.id]
    again = replace(A, id=uuid4(), created=simulation.now)
    simulation.jobs[again.id] = again
    simulation.settle()
    assert simulation.rows[A.id].state is JobState.CANCELLED
    assert not simulation.rows[again.id].slot  # the same repository: the old pod still holds it
    at_rest(simulation)
    assert simulation.rows[again.id].state is JobState.COMPLETED


def test_what_was_due_while_the_database_was_away_is_made_up_for() -> None:
    simulation = with_job(job("a", ttlSecondsAfterFinished=100))
    at_rest(simulation)
    simulation.away = True
    simulation.advance(10_000)
    simulation.settle()
    assert len(simulation.jobs) == len(simulation.rows) == 1
    simulation.away, simulation.database_since = False, simulation.now
    simulation.settle()
    assert (simulation.jobs, simulation.rows) == ({}, {})


def test_a_row_that_a_crash_left_without_its_resource_goes_later() -> None:
    simulation = with_job(job("a", ttlSecondsAfterFinished=100))
    at_rest(simulation)
    simulation.advance(100)
    simulation.crash_after(1)  # the resource is deleted, the row is not
    assert (len(simulation.jobs), len(simulation.rows)) == (0, 1)
    simulation.settle()
    assert len(simulation.rows) == 1  # nothing hurries: the job is over
    simulation.advance(WEEK)
    simulation.settle()
    assert simulation.rows == {}


def test_a_job_whose_resource_is_deleted_while_the_database_is_away_is_cancelled_and_goes() -> None:
    simulation = with_job(A)
    simulation.settle()
    simulation.claim(simulation.pods["a-a1"])
    simulation.away = True
    del simulation.jobs[A.id]
    simulation.advance(60)
    simulation.settle()
    assert simulation.rows[A.id].state is JobState.RUNNING
    simulation.away, simulation.database_since = False, simulation.now
    simulation.settle()
    assert simulation.rows[A.id].state in FINAL and not simulation.rows[A.id].slot
    simulation.advance(WEEK)
    simulation.settle()
    assert simulation.rows == {}


# --- stuck jobs ------------------------------------------------------------------------------------

AWAY = Outage(c.DATABASE_UNAVAILABLE, "no answer since 9:00")
OLD = job("a", age=WEEK + 1)


def status_input(job_: Job, row_: Any = None, *pods: Any, **fields: Any) -> StatusInput:
    view = JobView(job_, row_, tuple(pods))
    return StatusInput(view, NOW, **{"admitted": view.admitted, **fields})


@dataclass
class Stuck:
    claim: str
    given: StatusInput
    phase: str
    advice: str


STUCK = [
    Stuck("one in the queue", status_input(OLD, row(OLD), position=QueuePosition(2, 5, 3)), "Pending",
          "Queued: 2nd of 5, 3 jobs running: see what holds the slots"),
    Stuck("one whose pod does not start",
          status_input(OLD, row(OLD, "pending", 1, slot=True), pod_message="no image"), "Pending",
          "no pod has taken it: no image"),
    Stuck("a running one", status_input(admitted(OLD), row(OLD, "running", 3)), "Running",
          "kubectl logs -l indexing.codebase-mcp.io/job=a"),
    Stuck("a blocked one", status_input(admitted(OLD), row(OLD, "blocked", 1, message="no embedder")), "Blocked",
          "no embedder: restore the service"),
    Stuck("a suspended one", status_input(job("a", age=WEEK + 1, suspend=True), row(OLD)), "Suspended",
          "set spec.suspend to false"),
    Stuck("one whose database is away", status_input(admitted(OLD), outage=AWAY), "Pending",
          "no answer since 9:00: restore the database"),
]  # fmt: skip


@pytest.mark.parametrize("case", STUCK, ids=lambda case: case.claim)
def test_a_stuck_job_is_flagged_with_what_to_do(case: Stuck) -> None:
    degraded = next(condition for condition in conditions_of(case.given) if condition.type == c.DEGRADED)
    assert (degraded.status, degraded.reason) == ("True", c.STUCK)
    assert degraded.message.startswith("not finished for more than 7 days, since 2026-04-24 11:59 UTC; ")
    assert case.advice in degraded.message
    assert summary(conditions_of(case.given))[0] == case.phase


@pytest.mark.parametrize(
    "given",
    [
        status_input(job("a", age=WEEK), row(A)),
        status_input(finished(OLD, ended=5), row(OLD, "completed", 1)),
        status_input(finished(OLD, ended=5)),
        status_input(job("a", age=WEEK + 1, problem="spec.ref: bad")),
    ],
    ids=["one of exactly seven days", "a completed one", "a final one without a row", "one that cannot be read"],
)
def test_others_are_not(given: StatusInput) -> None:
    degraded = next(condition for condition in conditions_of(given) if condition.type == c.DEGRADED)
    assert (degraded.status, degraded.reason) == ("False", c.AS_EXPECTED)


def test_the_planner_flags_a_stuck_job_and_goes_on_with_it() -> None:
    s = snapshot(admitted(OLD), rows=[row(OLD, "running", 1)], pods=[pod(OLD)])
    assert steps(s) == []
    (write,) = [action for action in plan(s) if isinstance(action, WriteStatus)]
    assert [c_.reason for c_ in write.status.conditions if c_.type == c.DEGRADED] == [c.STUCK]


def test_the_flag_is_not_written_again_every_day() -> None:
    simulation = with_job(job("a", age=0))
    simulation.settle()
    simulation.claim(simulation.pods["a-a1"])
    simulation.advance(WEEK + 1)
    simulation.settle()
    flagged = conditions_in(simulation)
    simulation.advance(86_400)
    simulation.settle()
    assert conditions_in(simulation) == flagged


def conditions_in(simulation: Simulation) -> list[Any]:
    (only,) = simulation.jobs.values()
    return [condition for condition in only.status.conditions if condition.type == c.DEGRADED]


# --- the calls -------------------------------------------------------------------------------------


async def over(bench: Bench, name: str, **spec: Any) -> UUID:
    """A cancelled job without pods."""
    body = bench.server.create_job(name, **spec)
    await bench.settle()
    job_id = UUID(body["metadata"]["uid"])
    await bench.jobs.cancel(job_id)
    bench.server.pods.clear()
    await bench.settle()
    return job_id


async def age(bench: Bench, job_id: UUID, by: timedelta) -> None:
    earlier = "UPDATE jobs SET cancelled_at = cancelled_at - $2::interval WHERE id = $1"
    async with bench.database.connection() as connection:
        await connection.execute(earlier, job_id, by)


async def sweep(bench: Bench) -> None:
    bench.restart()  # which looks at once
    await bench.settle()


def told(bench: Bench) -> set[str]:
    return {event["involvedObject"]["name"] for event in bench.server.events.values()}


async def test_a_job_goes_with_its_events_and_others_keep_theirs(bench: Bench) -> None:
    await over(bench, "b")
    job_id = await over(bench, "a", ttlSecondsAfterFinished=0)
    assert set(bench.server.jobs) == {"b"}
    assert await bench.jobs.get_many([job_id]) == {}
    assert told(bench) == {"b"}


async def test_events_that_cannot_be_removed_keep_no_job(bench: Bench) -> None:
    bench.server.faults = [Fault("DELETE .*/events", 403, times=99)]
    job_id = await over(bench, "a", ttlSecondsAfterFinished=0)
    assert bench.server.jobs == {}
    assert await bench.jobs.get_many([job_id]) == {}


async def test_a_row_that_could_not_be_removed_with_its_job_goes_with_the_next_sweep(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(jobs: Jobs, job_id: UUID) -> bool:
        raise StoreUnavailable("the database does not answer")

    with monkeypatch.context() as patch:
        patch.setattr(Jobs, "delete", away)
        job_id = await over(bench, "a", ttlSecondsAfterFinished=0)
    assert bench.server.jobs == {} and await bench.jobs.get_many([job_id])
    await age(bench, job_id, RETENTION)
    await sweep(bench)
    assert await bench.jobs.get_many([job_id]) == {}


async def test_a_row_and_events_of_a_job_deleted_by_hand_go_after_a_week(bench: Bench) -> None:
    job_id = await over(bench, "a")
    del bench.server.jobs["a"]
    await sweep(bench)
    assert await bench.jobs.get_many([job_id])
    await age(bench, job_id, RETENTION)
    await bench.settle()
    assert await bench.jobs.get_many([job_id]), "only a sweep looks"
    await sweep(bench)
    assert await bench.jobs.get_many([job_id]) == {}
    assert told(bench) == set()


async def test_another_job_of_that_name_loses_nothing(bench: Bench) -> None:
    old = await over(bench, "a")
    del bench.server.jobs["a"]
    new = await over(bench, "a")
    await age(bench, old, RETENTION)
    await sweep(bench)
    assert set(await bench.jobs.get_many([old, new])) == {new}
    assert {event["involvedObject"]["uid"] for event in bench.server.events.values()} == {str(new)}


async def test_the_row_of_a_resource_that_is_there_is_kept_although_nobody_knew_of_it(bench: Bench) -> None:
    job_id = await over(bench, "a", ttlSecondsAfterFinished=30_000_000)
    await age(bench, job_id, RETENTION)
    known = (await bench.jobs.get(job_id)).cr_name
    await bench.actuator.apply([RemoveOrphan(job_id, known)], NOW)
    assert await bench.jobs.get_many([job_id])


async def test_an_api_that_is_away_keeps_the_row(bench: Bench) -> None:
    job_id = await over(bench, "a")
    del bench.server.jobs["a"]
    await age(bench, job_id, RETENTION)
    bench.server.faults = [Fault(r"GET .*/indexingjobs/a$", 500)]
    await sweep(bench)
    assert await bench.jobs.get_many([job_id])
    await sweep(bench)
    assert await bench.jobs.get_many([job_id]) == {}
