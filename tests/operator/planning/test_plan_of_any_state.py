"""What every plan must be, for states of any kind: also those that no story in test_properties leads to."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from codebase_index.api.job import FINAL, JobState
from codebase_operator.model import actions as do
from codebase_operator.model.snapshot import FINAL_PHASES, Job, Pod, Snapshot
from codebase_operator.planning.planner import plan
from tests.operator.builders import ago, crashed, job, pod, row
from tests.operator.simulation import Simulation

STATES = ("pending", "pending", "running", "blocked", "completed", "failed", "cancelled")
KINDS = ("new", "running", "terminating", "finished", "crashed", "silent")


def pod_of(job_: Job, attempt: int, kind: str) -> Pod:
    match kind:
        case "new":
            return pod(job_, attempt, running_since=None)
        case "running" | "silent":
            return pod(job_, attempt)
        case "terminating":
            return pod(job_, attempt, deleted_at=ago(-2))
        case "finished":
            return pod(job_, attempt, finished=True, running_since=None)
        case _:
            return crashed(job_, attempt)


@st.composite
def worlds(draw: st.DrawFn) -> Simulation:
    """Jobs with rows and pods in any combination that the database allows."""
    simulation = Simulation(limit=draw(st.integers(1, 3)))
    taken: set[str] = set()
    for number in range(draw(st.integers(1, 5))):
        job_ = job(
            f"j{number}", age=100 - number, repo=f"r{draw(st.integers(0, 2))}",
            priority=draw(st.sampled_from([0, 5])), suspend=draw(st.booleans()),
            cancel=draw(st.sampled_from([False, False, True])), backoffLimit=2,
        )  # fmt: skip
        simulation.jobs[job_.id] = job_
        if draw(st.booleans()):
            _give_facts(draw, simulation, job_, taken)
    return simulation


def _give_facts(draw: st.DrawFn, simulation: Simulation, job_: Job, taken: set[str]) -> None:
    state, attempt = draw(st.sampled_from(STATES)), draw(st.integers(0, 3))
    active = state in ("running", "blocked")
    slot = active or draw(st.booleans())
    assert job_.spec
    used = sum(r.slot for r in simulation.rows.values())
    if slot and (used >= simulation.limit or job_.spec.target in taken or not attempt):
        state, active, slot, attempt = "pending", False, False, 0
    if slot:
        taken.add(job_.spec.target)
    silent = False
    if slot:
        for number in {attempt, draw(st.integers(1, attempt))}:
            kind = draw(st.sampled_from((None, *KINDS)))
            if kind:
                found = pod_of(job_, number, kind)
                simulation.pods[found.name] = found
                silent |= kind == "silent" and number == attempt
    fields = {"heartbeat_at": ago(60)} if silent and active else {}
    simulation.rows[job_.id] = row(job_, state, attempt, slot=slot, failures=draw(st.integers(0, 3)), **fields)


def wants_a_slot(job_: Job, snapshot: Snapshot) -> bool:
    found = (snapshot.rows or {}).get(job_.id)
    has_pod = any(p.job_id == job_.id and not p.finished for p in snapshot.pods)
    over = found is not None and (found.state in FINAL or found.slot)
    return job_.spec is not None and not (over or has_pod or job_.spec.suspend or job_.spec.cancel)


def rank(job_: Job) -> tuple[int, float]:
    assert job_.spec
    return (-job_.spec.priority, job_.created.timestamp())


@given(worlds())
@settings(max_examples=300)
def test_a_plan_never_admits_above_the_limit_nor_two_jobs_of_one_repository(simulation: Simulation) -> None:
    snapshot = simulation.snapshot()
    admitted = [a.job for a in plan(snapshot) if isinstance(a, do.Admit)]
    used = {r.id for r in simulation.rows.values() if r.slot} | {
        p.job_id for p in simulation.pods.values() if not p.finished
    }
    assert not admitted or len(used | {j.id for j in admitted}) <= simulation.limit
    targets = [simulation.jobs[i].spec.target for i in used] + [j.spec.target for j in admitted]  # type: ignore[union-attr]
    assert all(targets.count(j.spec.target) == 1 for j in admitted if j.spec)


@given(worlds())
@settings(max_examples=300)
def test_nobody_is_admitted_before_somebody_who_was_first(simulation: Simulation) -> None:
    snapshot = simulation.snapshot()
    admitted = [a.job for a in plan(snapshot) if isinstance(a, do.Admit)]
    busy = {r.target for r in simulation.rows.values() if r.slot}
    busy |= {j.spec.target for j in admitted if j.spec}
    busy |= {simulation.jobs[p.job_id].spec.target for p in simulation.pods.values() if not p.finished}  # type: ignore[union-attr]
    for late in [j for j in simulation.jobs.values() if wants_a_slot(j, snapshot) and j not in admitted]:
        assert late.spec
        for early in admitted:
            assert rank(early) < rank(late) or late.spec.target in busy, f"{early.name} passes {late.name}"


@given(worlds())
@settings(max_examples=300)
def test_what_was_carried_out_is_not_planned_again(simulation: Simulation) -> None:
    done: list[do.Action] = []
    for _ in range(8):
        steps = plan(simulation.snapshot())
        again = [step for step in steps if step in done]
        assert not again, again
        if not steps:
            return
        for step in steps:
            simulation.apply(step)
        done = steps
    raise AssertionError(f"the plan does not come to rest: {plan(simulation.snapshot())}")


@given(worlds())
@settings(max_examples=200)
def test_from_any_state_every_job_comes_to_its_end(simulation: Simulation) -> None:
    simulation.settle()
    for job_ in list(simulation.jobs.values()):
        assert job_.spec
        simulation.jobs[job_.id] = replace(job_, spec=job_.spec.model_copy(update={"suspend": False}))
    for _ in range(60):
        simulation.settle()
        mirrored = all(j.status.phase in FINAL_PHASES for j in simulation.jobs.values())
        if mirrored and not live(simulation) and not any(r.slot for r in simulation.rows.values()):
            break
        for found in list(simulation.rows.values()):
            if found.state is JobState.BLOCKED:
                simulation.change(found.id, state=JobState.RUNNING, blocked_since=None)
        for found_pod in live(simulation):
            simulation.claim(found_pod)
            simulation.complete(simulation.pods[found_pod.name])
        simulation.settle()
        simulation.advance(20)
    assert [r.cr_name for r in simulation.rows.values() if r.state not in FINAL] == []
    assert [r.cr_name for r in simulation.rows.values() if r.slot] == []
    assert live(simulation) == []


def live(simulation: Simulation) -> list[Pod]:
    return [p for p in simulation.pods.values() if not p.finished and p.deleted_at is None]
