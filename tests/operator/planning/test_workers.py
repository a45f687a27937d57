"""Further pods of jobs with spec.parallelism: when they come, when they go, and what they never do."""

from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codebase_operator.model.actions import DeletePod, Retry, StartWorker
from codebase_operator.model.snapshot import Rejection, Snapshot
from codebase_operator.planning.planner import plan
from codebase_operator.reporting.conditions import WORKER_REFUSED
from tests.operator.builders import ago, job, pod, row, snapshot, worker


def steps(s: Snapshot) -> list[str]:
    """What the plan does with pods."""
    told = []
    for action in plan(s):
        match action:
            case StartWorker():
                told.append(f"StartWorker {action.job.name} {action.attempt} {action.worker_index}")
            case DeletePod():
                told.append(f"DeletePod {action.pod.name}")
            case Retry():
                told.append(f"Retry {action.job.name} {action.attempt}")
    return told


@dataclass
class Case:
    claim: str
    given: Snapshot
    then: list[str]


A, B = job("a", age=40, parallelism=3), job("b", age=30, parallelism=2)
NARROW = job("n")
AT_WORK = row(A, "running", 1, files_total=5000)


TOO_LARGE = 'Usage of EmptyDir volume "work" exceeds the limit "10Gi". '


def state(*jobs: Any, pods: Any = (), limit: int = 9, attempt: int = 1, **fields: Any) -> Snapshot:
    """Jobs at work, each with the pod that holds its attempt."""
    rows = [
        row(j, fields.get("state", "running"), attempt, **{"files_total": 5000, **_facts(fields)}) for j in jobs
    ]
    held = [pod(j, attempt) for j in jobs]
    return snapshot(*jobs, rows=rows, pods=[*held, *pods], worker_limit=limit)


def _facts(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if name != "state"}


CASES = [
    Case("a job with parallelism 3 gets two workers", state(A), ["StartWorker a 1 1", "StartWorker a 1 2"]),
    Case("only those that are missing are started", state(A, pods=[worker(A, 1)]), ["StartWorker a 1 2"]),
    Case("a job that wants one pod has one", state(NARROW), []),
    Case("every job gets its first worker before any gets its second",
         state(A, B, limit=2), ["StartWorker a 1 1", "StartWorker b 1 1"]),
    Case("workers of all jobs count against one limit",
         state(A, B, pods=[worker(A, 1), worker(A, 2)], limit=2), []),
    Case("a finished worker takes no room, and is not started again",
         state(A, pods=[worker(A, 1, finished=True)], limit=1), ["StartWorker a 1 2"]),
    Case("none before the list of files is frozen", state(A, files_total=None), []),
    Case("none while the job is scanning", state(A, phase="scanning"), []),
    Case("none when the writing begins", state(A, phase="writing", files_indexed=5000), []),
    Case("none for a blocked job: it waits for a service, not for pods", state(A, state="blocked"), []),
    Case("no more pods than hundreds of files, or 1 % would be in flight", state(A, files_total=250),
         ["StartWorker a 1 1"]),
    Case("no more pods than hundreds of files that are left", state(A, files_indexed=4850), []),
    Case("none for a job that is to be cancelled",
         state(job("a", parallelism=3, cancel=True)), ["DeletePod a-a1"]),
    Case("a cancelled job's workers are deleted with its pod",
         state(job("a", parallelism=3, cancel=True), pods=[worker(A, 1), worker(A, 2)]),
         ["DeletePod a-a1", "DeletePod a-a1-w1", "DeletePod a-a1-w2"]),
    Case("a suspended job's workers are deleted with its pod",
         state(job("a", parallelism=3, suspend=True), pods=[worker(A, 1)]),
         ["DeletePod a-a1", "DeletePod a-a1-w1"]),
    Case("workers of a replaced attempt are deleted",
         state(A, attempt=2, pods=[worker(A, 1, 1)]),
         ["DeletePod a-a1-w1", "StartWorker a 2 1", "StartWorker a 2 2"]),
    Case("a crashing worker costs the job nothing",
         state(A, pods=[worker(A, 1, running_since=None, waiting=("CrashLoopBackOff", "")), worker(A, 2)]), []),
    Case("a deleted worker costs the job nothing, and its name is taken until it is gone",
         state(A, pods=[worker(A, 1, deleted_at=ago(1)), worker(A, 2)]), []),
    Case("an evicted worker is removed, so that its name is free",
         state(A, pods=[worker(A, 1, finished=True, failure="Evicted"), worker(A, 2)]), ["DeletePod a-a1-w1"]),
    Case("leaves a worker that outgrew its volume where it is, or the next one would clone and do the same",
         state(A, pods=[worker(A, 1, finished=True, failure="Evicted", failure_message=TOO_LARGE), worker(A, 2)]),
         []),
    Case("no workers for an attempt whose pod is going",
         snapshot(A, rows=[AT_WORK], pods=[pod(A, deleted_at=ago(1))], worker_limit=9),
         ["Retry a 2"]),
    Case("an attempt whose pod is gone is retried, whatever its workers do",
         snapshot(A, rows=[AT_WORK], pods=[worker(A, 1)], worker_limit=9),
         ["Retry a 2"]),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.claim)
def test_plan(case: Case) -> None:
    assert steps(case.given) == case.then


@pytest.mark.parametrize(("seconds", "asked"), [(1, False), (6, True)])
def test_a_rejected_worker_is_asked_for_again_after_a_pause(seconds: float, asked: bool) -> None:
    rejection = Rejection(WORKER_REFUSED, "exceeded quota", ago(seconds))
    s = replace(state(A), rejections={A.id: rejection})
    assert bool(steps(s)) is asked


@given(
    parallelisms=st.lists(st.integers(1, 16), min_size=1, max_size=3),
    files=st.integers(0, 3000),
    limit=st.integers(0, 20),
)
def test_never_more_workers_than_the_limit_and_never_one_percent_in_flight(
    parallelisms: list[int], files: int, limit: int
) -> None:
    jobs = [job(f"j{i}", parallelism=p) for i, p in enumerate(parallelisms)]
    started = [
        step for step in plan(state(*jobs, files_total=files, limit=limit)) if isinstance(step, StartWorker)
    ]
    assert len(started) <= limit
    for j in jobs:
        own = [step.worker_index for step in started if step.job.id == j.id]
        assert own == list(range(1, len(own) + 1))
        assert not own or (len(own) + 1) * 100 < files
