"""What the planner does in every situation that it has to know. Each row's name is a claim."""

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest

from codebase_index.api.job import ErrorType
from codebase_operator.model.actions import (
    Admit,
    Cancel,
    CancelOrphan,
    DeleteJob,
    DeletePod,
    Emit,
    EnsureRow,
    Fail,
    ReleaseSlot,
    RemoveOrphan,
    Retry,
    SetQueue,
    StartPod,
    Suspend,
    WriteStatus,
    job_of,
)  # fmt: skip
from codebase_operator.model.pod_timeouts import PodTimeouts
from codebase_operator.model.site_policy import SitePolicy
from codebase_operator.model.snapshot import Rejection, Snapshot
from codebase_operator.planning.planner import MAX_COMPLETED_MIRRORS, plan
from tests.operator.builders import NOW, admitted, ago, crashed, ended, finished, job, pod, row, snapshot

_DISPLAY = (SetQueue, WriteStatus, Emit)


def steps(s: Snapshot) -> list[str]:
    """The plan without what only shows it: `Retry a 2`, `DeletePod a-a1`."""
    return [_short(action) for action in plan(s) if not isinstance(action, _DISPLAY)]


def _short(action: Any) -> str:
    name = type(action).__name__
    match action:
        case DeletePod():
            return f"{name} {action.pod.name}" + (" by force" if action.force else "")
        case CancelOrphan() | RemoveOrphan() | ReleaseSlot():
            return f"{name} {action.name}"
        case Retry():
            return f"{name} {action.job.name} {action.attempt}" + (" counted" if action.counted else "")
        case Admit() | StartPod() | Suspend():
            return f"{name} {action.job.name} {action.attempt}"
        case Fail():
            return f"{name} {action.job.name} {action.error}"
        case _:
            return f"{name} {action.job.name}"


@dataclass
class Case:
    claim: str
    given: Snapshot
    then: list[str]


TWINS = sorted([job("x", age=9), job("y", age=9)], key=lambda j: str(j.id))
A, B, C, D = job("a", age=40), job("b", age=30), job("c", age=20), job("d", age=10)


def running(j: Any, attempt: int = 1, **fields: Any) -> Any:
    return row(j, "running", attempt, **fields)


ADMISSION = [
    Case("does nothing without jobs", snapshot(), []),
    Case("makes the row of a job that kubectl created, and admits it in the same pass",
         snapshot(A, without_row=[A]), ["EnsureRow a", "Admit a 1"]),
    Case("admits the oldest first, and no more than the limit",
         snapshot(D, C, B, A), ["Admit a 1", "Admit b 1", "Admit c 1"]),
    Case("admits a higher priority before an older job",
         snapshot(A, job("b", age=1, priority=5), limit=1), ["Admit b 1"]),
    Case("admits of the jobs of one second the one that came first",
         snapshot(*TWINS, limit=1, rows=[row(TWINS[0], arrival=8), row(TWINS[1], arrival=7)]),
         [f"Admit {TWINS[1].name} 1"]),
    Case("admits by uid where no row tells yet who came first",
         snapshot(*reversed(TWINS), limit=1, without_row=TWINS),
         [f"EnsureRow {TWINS[1].name}", f"EnsureRow {TWINS[0].name}", f"Admit {TWINS[0].name} 1"]),
    Case("admits nothing while all slots are used",
         snapshot(admitted(A), B, limit=1, rows=[running(A)], pods=[pod(A)]), []),
    Case("fills the slot that a finished job left",
         snapshot(finished(A), B, limit=1, pods=[pod(A, finished=True)]), ["Admit b 1"]),
    Case("counts the pod of a finished job until it is gone",
         snapshot(A, B, limit=1, rows=[row(A, "completed", 1)], pods=[pod(A)]), []),
    Case("counts a terminating pod",
         snapshot(finished(A), B, limit=1, pods=[pod(A, deleted_at=ago(1))]), []),
    Case("counts a pod whose job was deleted",
         snapshot(B, limit=1, pods=[pod(A)]), []),
    Case("counts a job that is admitted and has no pod yet",
         snapshot(admitted(A), B, limit=1), ["StartPod a 1"]),
    Case("counts two pods of one job once",
         snapshot(admitted(A), B, limit=2, rows=[running(A, 2)], pods=[pod(A, 1, deleted_at=NOW), pod(A, 2)]),
         ["Admit b 1"]),
    Case("admits nobody when the limit is 0", snapshot(A, limit=0), []),
    Case("never runs two jobs of one repository at once",
         snapshot(A, job("b", age=30, repo="a")), ["Admit a 1"]),
    Case("lets others pass a job that waits for its repository",
         snapshot(admitted(A), job("b", age=30, repo="a"), C, rows=[running(A)], pods=[pod(A)]), ["Admit c 1"]),
    Case("admits a resumed job under the token that its suspend raised",
         snapshot(A, rows=[row(A, "pending", 2)]), ["Admit a 2"]),
    Case("does not admit a suspended job", snapshot(job("a", suspend=True)), []),
    Case("does not admit a job whose spec cannot be read", snapshot(job("a", problem="spec.ref: bad")), []),
]  # fmt: skip

REPAIR = [
    Case("finishes an admission that was interrupted after the mark",
         snapshot(admitted(A), rows=[row(A, "pending", 0)]), ["StartPod a 1"]),
    Case("finishes an admission that was interrupted after the fence",
         snapshot(admitted(A), rows=[row(A, "pending", 1)]), ["StartPod a 1"]),
    Case("finishes a retry that was interrupted after the fence, without another token",
         snapshot(admitted(A), rows=[running(A, 2, pod=None)]), ["StartPod a 2"]),
    Case("leaves a pod that starts alone",
         snapshot(admitted(A), rows=[row(A, "pending", 1)], pods=[pod(A, running_since=None)]), []),
    Case("leaves a pod at work alone", snapshot(admitted(A), rows=[running(A)], pods=[pod(A)]), []),
    Case("waits before it offers a refused pod again",
         snapshot(admitted(A), rows=[row(A, "pending", 1)],
                  rejections={A.id: Rejection("QuotaExceeded", "exceeded quota", ago(2))}), []),
    Case("offers a refused pod again after a while",
         snapshot(admitted(A), rows=[row(A, "pending", 1)],
                  rejections={A.id: Rejection("QuotaExceeded", "exceeded quota", ago(6))}), ["StartPod a 1"]),
    Case("removes the pod of an attempt that was replaced",
         snapshot(admitted(A), rows=[running(A, 2)], pods=[pod(A, 1), pod(A, 2)]), ["DeletePod a-a1"]),
    Case("keeps the finished pod of an earlier attempt, for its log",
         snapshot(admitted(A), rows=[running(A, 2)], pods=[pod(A, 1, finished=True), pod(A, 2)]), []),
]  # fmt: skip

DISRUPTION = [
    Case("starts again, uncounted, when the pod is gone",
         snapshot(admitted(A), rows=[running(A)]), ["Retry a 2"]),
    Case("starts again at once when somebody deletes the pod",
         snapshot(admitted(A), rows=[running(A)], pods=[pod(A, deleted_at=ago(-3))]), ["Retry a 2"]),
    Case("starts again under a new name when the pod was deleted before it took the job",
         snapshot(admitted(A), rows=[row(A, "pending", 1)], pods=[pod(A, deleted_at=ago(-3))]), ["Retry a 2"]),
    Case("starts again, uncounted, after an eviction",
         snapshot(admitted(A), rows=[running(A)], pods=[pod(A, finished=True, failure="Evicted")]), ["Retry a 2"]),
    Case("starts again, uncounted, after a preemption, also with no retries left",
         snapshot(admitted(job("a", backoffLimit=0)), rows=[running(A)],
                  pods=[pod(A, disrupted="PreemptionByScheduler: by x")]), ["Retry a 2"]),
    Case("removes by force a terminating pod whose node does not answer",
         snapshot(admitted(A), rows=[running(A, 2)], pods=[pod(A, 1, deleted_at=ago(20)), pod(A, 2)]),
         ["DeletePod a-a1 by force"]),
    Case("gives a terminating pod its time",
         snapshot(admitted(A), rows=[running(A, 2)], pods=[pod(A, 1, deleted_at=ago(10)), pod(A, 2)]), []),
]  # fmt: skip

FAILURE = [
    Case("replaces a pod that keeps crashing, and counts it",
         snapshot(admitted(A), rows=[running(A)], pods=[crashed(A)]), ["Retry a 2 counted", "DeletePod a-a1"]),
    Case("waits 1 s before the first retry",
         snapshot(admitted(A), rows=[running(A)], pods=[crashed(A, since=0.5)]), []),
    Case("lets the kubelet start a container again that has just ended",
         snapshot(admitted(A), rows=[running(A)], pods=[ended(A, since=2.5)]), []),
    Case("replaces a pod whose container stays down: the kubelet tells of its back-off only 10 s later",
         snapshot(admitted(A), rows=[running(A, heartbeat_at=ago(4))], pods=[ended(A, since=3.5)]),
         ["Retry a 2 counted", "DeletePod a-a1"]),
    Case("lets the kubelet start it again when the whole cluster was down, and the kubelet with it",
         snapshot(admitted(A), rows=[running(A, heartbeat_at=ago(21))], pods=[ended(A, since=20)],
                  database_since=ago(2)), []),
    Case("but not for ever",
         snapshot(admitted(A), rows=[running(A, heartbeat_at=ago(21))], pods=[ended(A, since=20)],
                  database_since=ago(3.5)), ["Retry a 2 counted", "DeletePod a-a1"]),
    Case("believes a heartbeat before a kubelet that has not told yet that the container runs again",
         snapshot(admitted(A), rows=[running(A, heartbeat_at=ago(1))], pods=[ended(A, since=20)]), []),
    Case("waits 8 s before the fourth retry",
         snapshot(admitted(A), rows=[running(A, 4, failures=3)], pods=[crashed(A, 4, since=7)]), []),
    Case("waits no longer than 30 s",
         snapshot(admitted(job("a", backoffLimit=50)), rows=[running(A, 21, failures=20)],
                  pods=[crashed(A, 21, since=31)]), ["Retry a 22 counted", "DeletePod a-a21"]),
    Case("is not put off by a node whose clock is an hour ahead",
         snapshot(admitted(A), rows=[running(A)], pods=[crashed(A, since=-3600)]),
         ["Retry a 2 counted", "DeletePod a-a1"]),
    Case("gives up after backoffLimit failures",
         snapshot(admitted(A), rows=[running(A, 7, failures=6)], pods=[crashed(A, 7)]),
         ["Fail a BackoffLimitExceeded", "DeletePod a-a7"]),
    Case("names memory as the reason where it is",
         snapshot(admitted(A), rows=[running(A, 7, failures=6)], pods=[crashed(A, 7, reason="OOMKilled")]),
         ["Fail a OOMKilled", "DeletePod a-a7"]),
    Case("counts a pod that ended without finishing its job",
         snapshot(admitted(A), rows=[running(A)], pods=[pod(A, finished=True)]), ["Retry a 2 counted"]),
    Case("counts a pod that crashes before it takes the job",
         snapshot(admitted(A), rows=[row(A, "pending", 1)], pods=[crashed(A)]),
         ["Retry a 2 counted", "DeletePod a-a1"]),
    Case("does not count an image that cannot be pulled",
         snapshot(admitted(A), rows=[row(A, "pending", 1)],
                  pods=[pod(A, running_since=None, waiting=("ImagePullBackOff", "no such image"))]), []),
    Case("does not count a pod that no node takes",
         snapshot(admitted(A), rows=[row(A, "pending", 1)],
                  pods=[pod(A, running_since=None, node=None, unschedulable="Unschedulable: 0/1 nodes")]), []),
    Case("replaces a pod that does not take its job for minutes",
         snapshot(admitted(A), rows=[row(A, "pending", 1)], pods=[pod(A, running_since=ago(200))]),
         ["Retry a 2 counted", "DeletePod a-a1"]),
    Case("ends a job at its deadline",
         snapshot(admitted(job("a", activeDeadlineSeconds=30)), rows=[running(A, started_at=ago(31))],
                  pods=[pod(A)]),
         ["Fail a DeadlineExceeded", "DeletePod a-a1"]),
]  # fmt: skip

HEARTBEAT = [
    Case("replaces a pod that is silent for more than 4 s, by force, for its node may be lost",
         snapshot(admitted(A), rows=[running(A, heartbeat_at=ago(6.1))], pods=[pod(A)]),
         ["Retry a 2 counted", "DeletePod a-a1 by force"]),
    Case("bears 4 s of silence",
         snapshot(admitted(A), rows=[running(A, heartbeat_at=ago(3.9))], pods=[pod(A)]), []),
    Case("bears more where the site says so",
         snapshot(admitted(A), rows=[running(A, heartbeat_at=ago(6.1))], pods=[pod(A)],
                  site=SitePolicy(pod_timeouts=PodTimeouts(heartbeat=timedelta(seconds=8)))), []),
    Case("gives a restarted container time to come back",
         snapshot(admitted(A), rows=[running(A, heartbeat_at=ago(12))], pods=[pod(A, running_since=ago(10))]), []),
    Case("notices a node that is lost soon after the pod's start",
         snapshot(admitted(A), rows=[running(A, heartbeat_at=ago(5.1))], pods=[pod(A, running_since=ago(8))]),
         ["Retry a 2 counted", "DeletePod a-a1 by force"]),
    Case("takes the start for the later one when the node's clock is an hour ahead",
         snapshot(admitted(A), rows=[running(A, heartbeat_at=ago(6.1))],
                  pods=[pod(A, running_since=ago(-3600))]), []),
    Case("waits no longer than for a start when the node's clock is an hour ahead",
         snapshot(admitted(A), rows=[running(A, heartbeat_at=ago(16.1))],
                  pods=[pod(A, running_since=ago(-3600))]), ["Retry a 2 counted", "DeletePod a-a1 by force"]),
    Case("does not count silence from while the database was away",
         snapshot(admitted(A), rows=[running(A, heartbeat_at=ago(60))], pods=[pod(A)], database_since=ago(7)), []),
    Case("judges the silence of a blocked job too",
         snapshot(admitted(A), rows=[row(A, "blocked", 1, heartbeat_at=ago(7))], pods=[pod(A)]),
         ["Retry a 2 counted", "DeletePod a-a1 by force"]),
]  # fmt: skip

VERBS = [
    Case("cancels a running job and removes its pod in the same pass",
         snapshot(admitted(job("a", cancel=True)), rows=[running(A)], pods=[pod(A)]),
         ["Cancel a", "DeletePod a-a1"]),
    Case("cancels a job that never ran",
         snapshot(job("a", cancel=True), without_row=[A]), ["EnsureRow a", "Cancel a"]),
    Case("removes the pod of a job that the MCP server cancelled",
         snapshot(admitted(A), rows=[row(A, "cancelled", 2)], pods=[pod(A)]), ["DeletePod a-a1"]),
    Case("cancels a job that is about to be deleted",
         snapshot(admitted(job("a", deleting=True)), rows=[running(A)], pods=[pod(A)]),
         ["Cancel a", "DeletePod a-a1"]),
    Case("makes no row for a job that is about to be deleted",
         snapshot(job("a", deleting=True), without_row=[A]), []),
    Case("cancels the row of a job that was deleted", snapshot(rows=[running(A)]), ["CancelOrphan a"]),
    Case("leaves the final row of a deleted job alone", snapshot(rows=[row(A, "completed", 1)]), []),
    Case("suspends a running job",
         snapshot(admitted(job("a", suspend=True)), rows=[running(A)], pods=[pod(A)]),
         ["Suspend a 2", "DeletePod a-a1"]),
    Case("suspends a job whose pod has not taken it yet",
         snapshot(admitted(job("a", suspend=True)), rows=[row(A, "pending", 1)],
                  pods=[pod(A, running_since=None)]),
         ["Suspend a 2", "DeletePod a-a1"]),
    Case("suspends a blocked job: it may be the service's outage that makes its user ask for it",
         snapshot(admitted(job("a", suspend=True)), rows=[row(A, "blocked", 1)], pods=[pod(A)]),
         ["Suspend a 2", "DeletePod a-a1"]),
    Case("keeps the slot of a job that is over while a pod of it is left",
         snapshot(finished(A), B, limit=1, rows=[row(A, "completed", 1, slot=True)],
                  pods=[pod(A, deleted_at=ago(-3))]), []),
    Case("frees the slot of a job that is over when its pods are gone",
         snapshot(finished(A), B, limit=1, rows=[row(A, "completed", 1, slot=True)],
                  pods=[pod(A, finished=True)]), ["ReleaseSlot a"]),
    Case("frees the slot of a job whose resource is gone",
         snapshot(B, limit=1, rows=[row(A, "cancelled", 2, slot=True)]), ["ReleaseSlot a"]),
    Case("frees the slot of a suspended job that was never started",
         snapshot(job("a", suspend=True), B, limit=1, rows=[row(A, "pending", 1, slot=True)]), ["ReleaseSlot a"]),
    Case("does not spend the budget on a node that is lost: the attempt worked before it fell silent",
         snapshot(admitted(A), rows=[running(A, heartbeat_at=ago(6.1), files_indexed=20, done_at_claim=10)],
                  pods=[pod(A)]), ["Retry a 2", "DeletePod a-a1 by force"]),
    Case("gives a suspended job's slot to the next one",
         snapshot(admitted(job("a", suspend=True)), B, limit=1, rows=[row(A, "pending", 2)]), ["Admit b 1"]),
    Case("cancels a suspended job",
         snapshot(job("a", suspend=True, cancel=True), rows=[row(A, "pending", 2)]), ["Cancel a"]),
]  # fmt: skip

THE_END = [
    Case("gives the pod of a completed job time to end",
         snapshot(admitted(A), rows=[row(A, "completed", 1, completed_at=ago(5))], pods=[pod(A)]), []),
    Case("gives it that time also when the mirror is final already",
         snapshot(finished(A, ended=5), pods=[pod(A)]), []),
    Case("removes the pod of a cancelled job at once, also when the mirror is final already",
         snapshot(finished(A, "Cancelled", ended=1), pods=[pod(A)]), ["DeletePod a-a1"]),
    Case("removes the pod of a completed job that does not end",
         snapshot(admitted(A), rows=[row(A, "completed", 1, completed_at=ago(11))], pods=[pod(A)]),
         ["DeletePod a-a1"]),
    Case("deletes a job when its time is over",
         snapshot(finished(job("a", ttlSecondsAfterFinished=60), ended=60)), ["DeleteJob a"]),
    Case("keeps a finished job until then",
         snapshot(finished(job("a", ttlSecondsAfterFinished=60), "Cancelled", ended=59)), []),
    Case("deletes also a job whose spec could not be read",
         snapshot(finished(job("a", problem="spec.ref: bad"), "Failed", ended=604800)), ["DeleteJob a"]),
    Case("makes no row for a finished job", snapshot(finished(A), without_row=[A]), []),
    Case("fails the row of a job whose spec cannot be read any more",
         snapshot(job("a", problem="spec.ref: bad"), rows=[row(A)]), ["Fail a InvalidSpec"]),
]  # fmt: skip

DATABASE_AWAY = [
    Case("admits nothing while the database is away", snapshot(A, away=True), []),
    Case("retries nothing while the database is away",
         snapshot(admitted(A), away=True, pods=[crashed(A)]), []),
    Case("stops a cancelled job's pod also while the database is away",
         snapshot(admitted(job("a", cancel=True)), away=True, pods=[pod(A)]), ["DeletePod a-a1"]),
]  # fmt: skip

TABLE = [*ADMISSION, *REPAIR, *DISRUPTION, *FAILURE, *HEARTBEAT, *VERBS, *THE_END, *DATABASE_AWAY]


@pytest.mark.parametrize("case", TABLE, ids=lambda case: case.claim)
def test_plan(case: Case) -> None:
    assert steps(case.given) == case.then


def positions(s: Snapshot) -> dict[str, tuple[int | None, str]]:
    names = {j.id: j.name for j in s.jobs}
    return {
        names[job_id]: (position, message)
        for action in plan(s) if isinstance(action, SetQueue) for job_id, position, message in action.positions
    }  # fmt: skip


def test_the_fourth_job_is_told_its_place() -> None:
    jobs = [admitted(A), admitted(B), admitted(C)]
    waiting = [D, job("e", age=5)]
    s = snapshot(*jobs, *waiting, rows=[running(j) for j in jobs], pods=[pod(j) for j in jobs])
    assert positions(s) == {
        "d": (1, "Queued: 1st of 2, 3 jobs running"),
        "e": (2, "Queued: 2nd of 2, 3 jobs running"),
    }


def test_a_job_that_waits_for_its_repository_is_told_for_whom() -> None:
    twin = job("b", age=30, repo="a")
    s = snapshot(admitted(A), twin, rows=[running(A)], pods=[pod(A)])
    assert positions(s) == {
        "b": (1, "Queued: 1st of 1, 1 job running; waits for job a, which indexes the same repository")
    }


def test_a_place_that_is_written_is_not_written_again() -> None:
    queued = row(B, queue_position=1, message="Queued: 1st of 1, 1 job running")
    assert positions(snapshot(admitted(A), B, limit=1, rows=[running(A), queued], pods=[pod(A)])) == {}


def test_a_starting_job_says_what_it_waits_for() -> None:
    starting = pod(A, running_since=None, node=None, unschedulable="Unschedulable: 0/1 nodes are available")
    s = snapshot(admitted(A), rows=[row(A, "pending", 1)], pods=[starting])
    assert positions(s) == {
        "a": (None, "Starting: no node takes pod a-a1: Unschedulable: 0/1 nodes are available")
    }


def test_out_of_memory_says_what_to_raise() -> None:
    s = snapshot(admitted(A), rows=[running(A, 7, failures=6)], pods=[crashed(A, 7, reason="OOMKilled", code=137)])
    (fail,) = [action for action in plan(s) if isinstance(action, Fail)]
    assert fail.error is ErrorType.OUT_OF_MEMORY
    assert "its limit of 2Gi" in fail.message
    assert "spec.resources.memory" in fail.message and "indexer.resources.limits.memory" in fail.message


def test_a_retry_after_silence_avoids_the_node() -> None:
    s = snapshot(admitted(A), rows=[running(A, heartbeat_at=ago(7))], pods=[pod(A, node="node2")])
    (retry,) = [action for action in plan(s) if isinstance(action, Retry)]
    assert retry.avoid_node == "node2"


def test_a_job_is_mirrored_once_a_pass_and_not_in_the_pass_that_changes_it() -> None:
    s = snapshot(admitted(A), B, C, D, rows=[running(A), running(B)], pods=[pod(A)])
    written = [action.job.name for action in plan(s) if isinstance(action, WriteStatus)]
    changed = {action.job.name for action in plan(s) if isinstance(action, (Admit, Retry))}
    assert changed == {"b", "c"}
    assert sorted(written) == ["a", "d"]


def test_the_mirrors_say_so_when_the_database_is_away() -> None:
    at_work = replace(admitted(A), status=admitted(A).status.model_copy(update={"phase": "Running"}))
    away = snapshot(at_work, B, away=True, database_since=NOW - timedelta(seconds=4))
    written = {a.job.name: (a.status.phase, a.status.reason) for a in plan(away) if isinstance(a, WriteStatus)}
    assert written == {"a": ("Blocked", "DatabaseUnavailable"), "b": ("Pending", "DatabaseUnavailable")}


def test_a_hiccup_of_the_database_is_not_mirrored() -> None:
    assert plan(snapshot(A, away=True, database_since=NOW - timedelta(seconds=2))) == []


def test_a_job_with_an_invalid_spec_is_told_why() -> None:
    (write,) = [a for a in plan(snapshot(job("a", problem="spec.ref: bad"))) if isinstance(a, WriteStatus)]
    assert (write.status.phase, write.status.reason, write.status.completed_at) == ("Failed", "InvalidSpec", NOW)
    assert "spec.ref: bad" in (write.status.message or "")


def test_every_action_names_its_job() -> None:
    s = snapshot(A, B, without_row=[A], rows=[running(B)], pods=[crashed(B)])
    assert {job_of(action) for action in plan(s) if not isinstance(action, SetQueue)} == {A.id, B.id}
    assert any(isinstance(action, EnsureRow) for action in plan(s))
    assert not any(isinstance(action, (Cancel, CancelOrphan, DeleteJob, Suspend, StartPod)) for action in plan(s))


def test_mirrors_of_final_jobs_are_completed_a_few_in_a_pass_and_once_each() -> None:
    jobs = [finished(job(f"job{n}")) for n in range(MAX_COMPLETED_MIRRORS + 1)]
    passes = []
    for _ in range(3):
        writes = [action for action in plan(snapshot(*jobs)) if isinstance(action, WriteStatus)]
        passes.append(len(writes))
        written = {write.job.id: write.status for write in writes}
        jobs = [replace(job_, status=written.get(job_.id, job_.status)) for job_ in jobs]
    assert passes == [MAX_COMPLETED_MIRRORS, 1, 0]
    assert all(job_.condition("Complete") for job_ in jobs)


def test_a_final_job_that_is_about_to_go_is_left_as_it_is() -> None:
    going = finished(job("a", ttlSecondsAfterFinished=0))
    assert [type(action) for action in plan(snapshot(going))] == [DeleteJob]
    assert plan(snapshot(replace(going, deleting=True))) == []
