"""Further pods of jobs with spec.parallelism: when they come, when they go, and what they never do."""

from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codebase_operator.model.actions import DeletePod, Retry, StartHelper
from codebase_operator.model.snapshot import Rejection, Snapshot
from codebase_operator.planning.planner import plan
from codebase_operator.reporting.conditions import HELPER_REFUSED
from tests.operator.builders import ago, helper, job, pod, row, snapshot


def steps(s: Snapshot) -> list[str]:
    """What the plan does with pods."""
    told = []
    for action in plan(s):
        match action:
            case StartHelper():
                told.append(f"StartHelper {action.job.name} {action.attempt} {action.helper}")
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
    return snapshot(*jobs, rows=rows, pods=[*held, *pods], helper_limit=limit)


def _facts(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if name != "state"}


CASES = [
    Case("a job with parallelism 3 gets two helpers", state(A), ["StartHelper a 1 1", "StartHelper a 1 2"]),
    Case("only those that are missing are started", state(A, pods=[helper(A, 1)]), ["StartHelper a 1 2"]),
    Case("a job that wants one pod has one", state(NARROW), []),
    Case("every job gets its first helper before any gets its second",
         state(A, B, limit=2), ["StartHelper a 1 1", "StartHelper b 1 1"]),
    Case("helpers of all jobs count against one limit",
         state(A, B, pods=[helper(A, 1), helper(A, 2)], limit=2), []),
    Case("a finished helper takes no room, and is not started again",
         state(A, pods=[helper(A, 1, finished=True)], limit=1), ["StartHelper a 1 2"]),
    Case("none before the list of files is frozen", state(A, files_total=None), []),
    Case("none while the job is scanning", state(A, phase="scanning"), []),
    Case("none when the writing begins", state(A, phase="writing", files_indexed=5000), []),
    Case("none for a blocked job: it waits for a service, not for pods", state(A, state="blocked"), []),
    Case("no more pods than hundreds of files, or 1 % would be in flight", state(A, files_total=250),
         ["StartHelper a 1 1"]),
    Case("no more pods than hundreds of files that are left", state(A, files_indexed=4850), []),
    Case("none for a job that is to be cancelled",
         state(job("a", parallelism=3, cancel=True)), ["DeletePod a-a1"]),
    Case("a cancelled job's helpers are deleted with its pod",
         state(job("a", parallelism=3, cancel=True), pods=[helper(A, 1), helper(A, 2)]),
         ["DeletePod a-a1", "DeletePod a-a1-h1", "DeletePod a-a1-h2"]),
    Case("a suspended job's helpers are deleted with its pod",
         state(job("a", parallelism=3, suspend=True), pods=[helper(A, 1)]),
         ["DeletePod a-a1", "DeletePod a-a1-h1"]),
    Case("helpers of a replaced attempt are deleted",
         state(A, attempt=2, pods=[helper(A, 1, 1)]),
         ["DeletePod a-a1-h1", "StartHelper a 2 1", "StartHelper a 2 2"]),
    Case("a crashing helper costs the job nothing",
         state(A, pods=[helper(A, 1, running_since=None, waiting=("CrashLoopBackOff", "")), helper(A, 2)]), []),
    Case("a deleted helper costs the job nothing, and its name is taken until it is gone",
         state(A, pods=[helper(A, 1, deleted_at=ago(1)), helper(A, 2)]), []),
    Case("an evicted helper is removed, so that its name is free",
         state(A, pods=[helper(A, 1, finished=True, failure="Evicted"), helper(A, 2)]), ["DeletePod a-a1-h1"]),
    Case("leaves a helper that outgrew its volume where it is, or the next one would clone and do the same",
         state(A, pods=[helper(A, 1, finished=True, failure="Evicted", failure_message=TOO_LARGE), helper(A, 2)]),
         []),
    Case("no helpers for an attempt whose pod is going",
         snapshot(A, rows=[AT_WORK], pods=[pod(A, deleted_at=ago(1))], helper_limit=9),
         ["Retry a 2"]),
    Case("an attempt whose pod is gone is retried, whatever its helpers do",
         snapshot(A, rows=[AT_WORK], pods=[helper(A, 1)], helper_limit=9),
         ["Retry a 2"]),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.claim)
def test_plan(case: Case) -> None:
    assert steps(case.given) == case.then


@pytest.mark.parametrize(("seconds", "asked"), [(1, False), (6, True)])
def test_a_refused_helper_is_asked_for_again_after_a_pause(seconds: float, asked: bool) -> None:
    rejection = Rejection(HELPER_REFUSED, "exceeded quota", ago(seconds))
    s = replace(state(A), rejections={A.id: rejection})
    assert bool(steps(s)) is asked


@given(
    parallelisms=st.lists(st.integers(1, 16), min_size=1, max_size=3),
    files=st.integers(0, 3000),
    limit=st.integers(0, 20),
)
def test_never_more_helpers_than_the_limit_and_never_one_percent_in_flight(
    parallelisms: list[int], files: int, limit: int
) -> None:
    jobs = [job(f"j{i}", parallelism=p) for i, p in enumerate(parallelisms)]
    started = [
        step for step in plan(state(*jobs, files_total=files, limit=limit)) if isinstance(step, StartHelper)
    ]
    assert len(started) <= limit
    for j in jobs:
        own = [step.helper for step in started if step.job.id == j.id]
        assert own == list(range(1, len(own) + 1))
        assert not own or (len(own) + 1) * 100 < files
