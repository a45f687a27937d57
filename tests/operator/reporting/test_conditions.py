"""Conditions, the phase derived from them, the mirror and the events: each row's name is a claim."""

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest

from codebase_index.api.counters import Counters
from codebase_index.api.resource import IndexingJobStatus, Progress
from codebase_operator.model.snapshot import Job, JobView, Rejection, StepFailure
from codebase_operator.reporting import conditions as c
from codebase_operator.reporting.conditions import (
    Outage,
    QueuePosition,
    StatusInput,
    conditions_of,
    ordinal,
    summary,
)
from codebase_operator.reporting.events import events_of
from codebase_operator.reporting.status import completed_mirror, status_of, worth_writing
from tests.operator.builders import NOW, admitted, ago, job, pod, row

A = job("a")
AWAY = Outage(c.DATABASE_UNAVAILABLE, "since")


def status_input(job_: Job, row_: Any = None, *pods: Any, **fields: Any) -> StatusInput:
    rejection, failure = fields.pop("rejection", None), fields.pop("failure", None)
    view = JobView(job_, row_, tuple(pods), rejection, failure=failure)
    return StatusInput(view, NOW, **{"admitted": view.admitted, **fields})


@dataclass
class Case:
    claim: str
    given: StatusInput
    phase: str
    reason: str
    true: tuple[str, ...]
    """The conditions that are True."""


TABLE = [
    Case("a queued job waits for a slot",
         status_input(A, row(A), position=QueuePosition(1, 2, 3)), "Pending", c.CONCURRENCY_LIMIT, ()),
    Case("a queued job waits for its repository",
         status_input(A, row(A), position=QueuePosition(1, 2, 3, "b")), "Pending", c.SAME_REPOSITORY, ()),
    Case("an admitted job is pending until a pod takes it",
         status_input(admitted(A), row(A, "pending", 1, slot=True)), "Pending", c.POD_STARTING, (c.ADMITTED,)),
    Case("an admitted job shows why its pod does not start",
         status_input(admitted(A), row(A, "pending", 1, slot=True), pod_reason=c.UNSCHEDULABLE),
         "Pending", c.UNSCHEDULABLE, (c.ADMITTED,)),
    Case("an admitted job shows why its pod is refused",
         status_input(admitted(A), row(A, "pending", 1, slot=True),
                      rejection=Rejection(c.QUOTA_EXCEEDED, "", NOW)),
         "Pending", c.QUOTA_EXCEEDED, (c.ADMITTED,)),
    Case("a claimed job runs",
         status_input(admitted(A), row(A, "running", 1), pod_reason=c.INDEXING),
         "Running", c.INDEXING, (c.ADMITTED, c.RUNNING)),
    Case("a job whose pod is replaced still runs, and says so",
         status_input(admitted(A), row(A, "running", 2), pod_reason=c.RESTARTING),
         "Running", c.RESTARTING, (c.ADMITTED, c.RUNNING)),
    Case("a running job whose new pod is refused says so",
         status_input(admitted(A), row(A, "running", 2), rejection=Rejection(c.POD_REFUSED, "", NOW)),
         "Running", c.POD_REFUSED, (c.ADMITTED, c.RUNNING)),
    Case("a job that waits for a service is blocked",
         status_input(admitted(A), row(A, "blocked", 1)),
         "Blocked", c.WAITING_FOR_SERVICE, (c.ADMITTED, c.DEGRADED)),
    Case("a running job is blocked while the database is away",
         status_input(replace(admitted(A), status=admitted(A).status.model_copy(update={"phase": "Running"})),
                   outage=AWAY, admitted=True),
         "Blocked", c.DATABASE_UNAVAILABLE, (c.ADMITTED, c.DEGRADED)),
    Case("a queued job stays pending while the database is away",
         status_input(A, outage=AWAY), "Pending", c.DATABASE_UNAVAILABLE, (c.DEGRADED,)),
    Case("a database that refuses is another reason than one that is away",
         status_input(A, outage=Outage(c.DATABASE_MISCONFIGURED, "correct the password")),
         "Pending", c.DATABASE_MISCONFIGURED, (c.DEGRADED,)),
    Case("a job whose step fails for some seconds says so in its place",
         status_input(A, row(A), position=QueuePosition(1, 2, 3), failure=StepFailure("Admit", "the bug", ago(3))),
         "Pending", c.STEP_FAILED, (c.DEGRADED,)),
    Case("a running one stays running",
         status_input(admitted(A), row(A, "running", 1), failure=StepFailure("Retry", "the bug", ago(3))),
         "Running", c.STEP_FAILED, (c.ADMITTED, c.RUNNING, c.DEGRADED)),
    Case("what the next pass mends is no news",
         status_input(A, row(A), position=QueuePosition(1, 2, 3), failure=StepFailure("Admit", "503", ago(1))),
         "Pending", c.CONCURRENCY_LIMIT, ()),
    Case("why a pod is refused says more than that its step fails",
         status_input(admitted(A), row(A, "pending", 1, slot=True), rejection=Rejection(c.QUOTA_EXCEEDED, "", NOW),
                   failure=StepFailure("StartPod", "403", ago(9))),
         "Pending", c.QUOTA_EXCEEDED, (c.ADMITTED,)),
    Case("a suspended job is suspended when its pod is gone",
         status_input(job("a", suspend=True), row(A, "pending", 2)),
         "Suspended", c.SUSPEND_REQUESTED, (c.SUSPENDED,)),
    Case("a suspended job is not suspended before its pod is gone",
         status_input(job("a", suspend=True), row(A, "pending", 2), pod(A, 1, deleted_at=NOW)),
         "Pending", c.SUSPEND_REQUESTED, ()),
    Case("a cancelled job is cancelled", status_input(admitted(A), row(A, "cancelled", 2)),
         "Cancelled", c.CANCEL_REQUESTED, (c.CANCELLED,)),
    Case("a completed job has succeeded", status_input(admitted(A), row(A, "completed", 1)),
         "Completed", c.COMPLETED, (c.SUCCEEDED,)),
    Case("a failed job has its error type as the reason", status_input(admitted(A), row(A, "failed", 1)),
         "Failed", "CloneFailed", ()),
    Case("a job with an invalid spec has failed", status_input(job("a", problem="spec.ref: bad")),
         "Failed", c.INVALID_SPEC, ()),
    Case("an active job with cancel requested is not cancelled before the fence",
         status_input(admitted(job("a", cancel=True)), row(A, "running", 1), pod_reason=c.INDEXING),
         "Running", c.INDEXING, (c.ADMITTED, c.RUNNING)),
]  # fmt: skip


@pytest.mark.parametrize("case", TABLE, ids=lambda case: case.claim)
def test_conditions(case: Case) -> None:
    conditions = conditions_of(case.given)
    phase, reason, _ = summary(conditions)
    assert (phase, reason) == (case.phase, case.reason)
    assert tuple(k.type for k in conditions[:6] if k.status == "True") == case.true
    assert [k.type for k in conditions] == [
        c.ADMITTED, c.RUNNING, c.SUSPENDED, c.CANCELLED, c.SUCCEEDED, c.DEGRADED,
        c.COMPLETE, c.FAILED, c.STALLED, c.READY,
    ]  # fmt: skip
    assert all(k.reason and k.observed_generation == 1 for k in conditions)


@pytest.mark.parametrize("case", TABLE, ids=lambda case: case.claim)
def test_tools_that_know_no_job_of_ours_can_wait_for_its_end(case: Case) -> None:
    """`kubectl wait` for Complete or Failed; Flux and Argo CD for Ready, or Stalled."""
    ends = {"Completed": (c.COMPLETE, c.READY), "Failed": (c.FAILED, c.STALLED), "Cancelled": (c.STALLED,)}
    true = tuple(k.type for k in conditions_of(case.given)[6:] if k.status == "True")
    assert true == ends.get(case.phase, ())


@pytest.mark.parametrize("case", [case for case in TABLE if case.given.view.final], ids=lambda case: case.claim)
def test_a_mirror_of_a_release_before_gets_the_conditions_that_this_one_writes(case: Case) -> None:
    now = status_of(case.given)
    before = now.model_copy(update={"conditions": now.conditions[:6], "source": None, "percentage": None})
    completed = completed_mirror(replace(case.given.job, status=before), NOW)
    assert completed is not None
    assert (completed.source, completed.percentage) == (now.source, now.percentage)
    assert [(k.type, k.status, k.reason) for k in completed.conditions] == [
        (k.type, k.status, k.reason) for k in now.conditions
    ]
    assert completed_mirror(replace(case.given.job, status=now), NOW) is None


@pytest.mark.parametrize("case", TABLE, ids=lambda case: case.claim)
def test_success_is_unknown_exactly_while_the_job_is_active(case: Case) -> None:
    (succeeded,) = [k for k in conditions_of(case.given) if k.type == c.SUCCEEDED]
    active = case.phase in ("Pending", "Running", "Blocked", "Suspended")
    assert (succeeded.status == "Unknown") == active


def test_a_conditions_time_changes_only_with_its_status() -> None:
    s = status_input(admitted(A), row(A, "running", 1), pod_reason=c.INDEXING)
    first = {k.type: k for k in conditions_of(s)}
    assert first[c.ADMITTED].last_transition_time == ago(50)  # was True before
    assert first[c.RUNNING].last_transition_time == NOW
    mirrored = replace(admitted(A), status=status_of(s))
    later = replace(s, view=replace(s.view, job=mirrored), now=NOW + timedelta(seconds=9), pod_reason=c.RESTARTING)
    second = {k.type: k for k in conditions_of(later)}
    assert (second[c.RUNNING].reason, second[c.RUNNING].last_transition_time) == (c.RESTARTING, NOW)


@pytest.mark.parametrize(
    ("number", "word"), [(1, "1st"), (2, "2nd"), (3, "3rd"), (4, "4th"), (11, "11th"), (12, "12th"), (21, "21st")]
)
def test_ordinals(number: int, word: str) -> None:
    assert ordinal(number) == word


# --- the mirror ------------------------------------------------------------------------------------


def at_work(percent: float = 40.0, **fields: Any) -> StatusInput:
    running = row(
        A, "running", 1, percent=percent, message=f"Embedding {percent}", files_indexed=int(percent), **fields
    )
    return status_input(admitted(A), running, pod(A, restarts=1), pod_reason=c.INDEXING, pod_message="attempt 1")


def mirrored(s: StatusInput, seconds_later: float = 0, **changes: Any) -> StatusInput:
    """The situation a moment later, with the status written."""
    written = replace(s.job, status=status_of(s))
    return replace(s, view=replace(s.view, job=written, **changes), now=s.now + timedelta(seconds=seconds_later))


def test_the_mirror_shows_the_row_and_the_pod() -> None:
    status = status_of(at_work(40.7, files_total=100, eta_seconds=60, commit="abc"))
    assert status.progress == Progress(
        percent=40, phase="embedding", message="Embedding 40.7", files_total=100, files_indexed=40,
        estimated_remaining_seconds=60, last_updated_time=NOW,
    )  # fmt: skip
    assert (status.pod_name, status.node_name, status.attempt, status.restarts) == ("a-a1", "node1", 1, 1)
    assert (status.message, status.commit, status.started_at) == ("Embedding 40.7", "abc", ago(40))


def test_a_status_that_is_written_is_not_written_again() -> None:
    s = mirrored(at_work(), seconds_later=60)
    assert not worth_writing(s, status_of(s))


@pytest.mark.parametrize(("seconds", "written"), [(1.9, False), (2, True)])
def test_progress_is_written_every_two_seconds_at_most(seconds: float, written: bool) -> None:
    s = mirrored(at_work(40), seconds, row=at_work(50).view.row)
    assert worth_writing(s, status_of(s)) is written


def test_a_transition_is_written_at_once() -> None:
    s = mirrored(at_work(40), 0.1, row=row(A, "completed", 1))
    assert worth_writing(s, status_of(s))


def test_without_facts_the_progress_stays() -> None:
    s = mirrored(at_work(40), 10, row=None)
    status = status_of(replace(s, outage=Outage(c.DATABASE_UNAVAILABLE, "the database does not answer")))
    assert (status.phase, status.reason) == ("Blocked", c.DATABASE_UNAVAILABLE)
    assert status.progress == status_of(at_work(40)).progress
    assert (status.pod_name, status.attempt) == ("a-a1", 1)


def test_the_fence_of_a_cancel_is_no_restart() -> None:
    s = mirrored(at_work(), 1, row=row(A, "cancelled", 2), pods=())
    assert status_of(s).restarts == 1


def test_a_status_survives_the_wire() -> None:
    status = status_of(at_work(40.7, files_total=100))
    assert IndexingJobStatus.model_validate(status.model_dump(mode="json", by_alias=True)) == status


# --- events ----------------------------------------------------------------------------------------


def told(s: StatusInput) -> list[str]:
    return [event.reason for event in events_of(s, status_of(s))]


def test_the_story_of_a_job() -> None:
    queued = status_input(A, row(A), position=QueuePosition(1, 1, 3))
    assert told(queued) == ["Queued"]
    admitting = replace(mirrored(queued), admitted=True, position=None)
    assert told(admitting) == ["Admitted"]
    starting = mirrored(admitting, 1, row=row(A, "pending", 1))
    assert told(starting) == []
    running = mirrored(starting, 1, row=row(A, "running", 1), pods=(pod(A),))
    assert told(running) == ["Started"]
    retried = mirrored(running, 1, row=row(A, "running", 2, pod=None), pods=())
    assert told(retried) == ["Retried"]
    blocked = mirrored(retried, 1, row=row(A, "blocked", 2))
    assert told(blocked) == ["Blocked"]
    back = mirrored(blocked, 1, row=row(A, "running", 2))
    assert told(back) == ["Resumed"]
    completed = mirrored(back, 1, row=row(A, "completed", 2))
    assert told(completed) == ["Completed"]


def test_suspend_and_resume_are_no_retry() -> None:
    running = mirrored(status_input(admitted(A), row(A, "running", 1), pod(A), pod_reason=c.INDEXING))
    asked = replace(running.job, spec=job("a", suspend=True).spec)
    suspended = replace(running, view=JobView(asked, row(A, "pending", 2), ()), admitted=False)
    assert told(suspended) == ["Suspended"]
    resumed = replace(mirrored(suspended).view.job, spec=A.spec)
    again = status_input(resumed, row(A, "pending", 2), admitted=True)
    assert told(again) == ["Resumed", "Admitted"]
    waits = status_input(resumed, row(A, "pending", 2), position=QueuePosition(1, 1, 3))
    (event,) = events_of(waits, status_of(waits))
    assert (event.reason, event.message) == ("Resumed", "no longer suspended; Queued: 1st of 1, 3 jobs running")


def test_each_blocking_is_told_once() -> None:
    first = status_input(admitted(A), row(A, "blocked", 1, blocked_since=ago(5)))
    second = status_input(admitted(A), row(A, "blocked", 1, blocked_since=ago(2)))
    keys = [event.key for s in (first, first, second) for event in events_of(s, status_of(s)) if event.warning]
    assert keys[0] == keys[1] != keys[2]


def test_each_resuming_is_told_once() -> None:
    keys = []
    for began in (30, 30, 10):
        blocked = replace(status_input(admitted(A), row(A, "blocked", 1)), now=ago(began))
        back = mirrored(blocked, began, row=row(A, "running", 1))
        keys += [event.key for event in events_of(back, status_of(back))]
    assert len(keys) == 3
    assert keys[0] == keys[1] != keys[2]


def test_a_job_that_is_suspended_twice_before_it_had_a_slot_tells_it_twice() -> None:
    keys = []
    for generation in (2, 4):
        s = status_input(replace(job("a", suspend=True), generation=generation), row(A))
        keys += [event.key for event in events_of(s, status_of(s)) if event.reason == "Suspended"]
    assert len(keys) == 2
    assert keys[0] != keys[1]


def test_a_blocking_by_the_database_is_told_once_and_its_end_too() -> None:
    away = "the database has not answered since 11:59:00 UTC"
    running = mirrored(status_input(admitted(A), row(A, "running", 1), pod(A), pod_reason=c.INDEXING))
    without = replace(running, view=replace(running.view, row=None), outage=Outage(c.DATABASE_UNAVAILABLE, away))
    blocked = [without, replace(without, now=ago(-1))]
    events = [event for s in blocked for event in events_of(s, status_of(s))]
    assert [event.reason for event in events] == ["Blocked", "Blocked"]
    assert events[0].key == events[1].key
    back = mirrored(blocked[0], 1, row=row(A, "running", 1))
    assert told(replace(back, outage=None)) == ["Resumed"]


def test_the_mirror_has_every_counter_of_the_row() -> None:
    counts = {name: number for number, name in enumerate(Counters.model_fields, start=1)}
    progress = status_of(status_input(admitted(A), row(A, "running", 2, **counts), pod(A, 2))).progress
    assert progress is not None and progress.counts() == counts


def test_an_event_knows_what_the_log_tells() -> None:
    counts = {name: number for number, name in enumerate(Counters.model_fields, start=2)}
    counts |= {"files_total": 10, "files_repeated": 1}
    running = status_input(admitted(A), row(A, "running", 2, failures=1, **counts), pod(A, 2))
    (event,) = [e for e in events_of(running, status_of(running)) if e.reason == "Started"]
    assert event.facts == {
        "job": "a", "job_id": A.id, "repository": "/repos/a", "attempt": 2, "pod": "a-a2", "node": "node1",
        "reason": "PodStarting", "failures": 1, **counts,
    }  # fmt: skip
