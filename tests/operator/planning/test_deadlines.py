"""A slot is never held for ever: by a job that does not start, that stays blocked, or that is disturbed."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from codebase_index.api.job import ErrorType, JobState
from codebase_operator.cluster.api import ApiError
from codebase_operator.model.actions import Admit, Fail, Retry
from codebase_operator.model.site_policy import SitePolicy
from codebase_operator.model.snapshot import Pod, Rejection, StepFailure
from codebase_operator.model.uptime import Uptime
from codebase_operator.planning.lifecycle import MAX_DISRUPTIONS
from codebase_operator.planning.planner import plan
from tests.operator.builders import NOW, admitted, ago, crashed, job, pod, row, snapshot
from tests.operator.fake_api import Fault
from tests.operator.harness import Bench
from tests.operator.simulation import Simulation

A, B = job("a", age=900), job("b", age=800)
START, BLOCKED = 600, 3600  # seconds: the defaults


def failure(
    *, since: float = START + 1, pods: list[Pod] | None = None, row_: Any = None, **more: Any
) -> Fail | None:
    """How the job `a` ends that has held a slot for so many seconds without a pod at work."""
    given = row_ or row(A, "pending", 1, slot=True, starting_since=ago(since))
    fails = [x for x in plan(snapshot(admitted(A), rows=[given], pods=pods, **more)) if isinstance(x, Fail)]
    return fails[0] if fails else None


def waiting(reason: str, message: str) -> Pod:
    return pod(A, running_since=None, waiting=(reason, message))


STARTS = {
    "memory that no node has": (
        pod(A, running_since=None, node=None, unschedulable="Unschedulable: 0/2 nodes: 2 Insufficient memory."),
        "no node takes pod a-a1: Unschedulable: 0/2 nodes: 2 Insufficient memory.",
    ),
    "an image that cannot be pulled": (
        waiting("ImagePullBackOff", "Back-off pulling image x:1"),
        "pod a-a1: ImagePullBackOff: Back-off pulling image x:1; check indexer.image in the chart",
    ),
    "a Secret's key that is missing": (
        waiting("CreateContainerConfigError", "couldn't find key url in Secret ns/db"),
        "CreateContainerConfigError: couldn't find key url in Secret ns/db",
    ),
    "a volume that is not there": (
        waiting("ContainerCreating", ""),
        "kubectl get events --field-selector involvedObject.name=a-a1",
    ),
    "a node that does not answer": (
        pod(A, running_since=None), "node node1 has not started the container of pod a-a1",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", STARTS)
def test_a_job_that_does_not_start_fails_with_what_it_waits_for(what: str) -> None:
    stuck, said = STARTS[what]
    end = failure(pods=[stuck])
    assert end is not None and end.error is ErrorType.START_DEADLINE_EXCEEDED
    assert said in end.message and f"within {START} s" in end.message
    assert "limits.startDeadlineSeconds" in end.message


@pytest.mark.parametrize("what", STARTS)
def test_before_the_deadline_it_waits(what: str) -> None:
    assert failure(since=START - 1, pods=[STARTS[what][0]]) is None


def test_a_pod_that_the_api_server_refuses_is_no_excuse() -> None:
    rejection = Rejection("PodRefused", "pods is forbidden: violates PodSecurity", ago(1))
    end = failure(rejections={A.id: rejection})
    assert end is not None and "violates PodSecurity" in end.message


def test_the_deadline_counts_over_attempts_that_never_took_the_job() -> None:
    again = row(A, "running", 3, pod=None, slot=True, starting_since=ago(START + 1))
    end = failure(row_=again, pods=[pod(A, 3, running_since=None)])
    assert end is not None and end.error is ErrorType.START_DEADLINE_EXCEEDED


def test_a_job_at_work_has_no_start_deadline() -> None:
    assert failure(row_=row(A, "running", 1, starting_since=ago(9 * START)), pods=[pod(A)]) is None


def test_a_start_is_not_counted_from_before_this_operator_looked() -> None:
    stuck = [waiting("ImagePullBackOff", "")]
    assert failure(since=9 * START, pods=stuck, uptime=Uptime(ago(30))) is None
    assert failure(since=9 * START, pods=stuck, uptime=Uptime(ago(START + 1))) is not None


def test_a_start_is_not_counted_while_the_database_or_the_cluster_was_away() -> None:
    stuck = [waiting("ImagePullBackOff", "")]
    outage = Uptime(ago(9 * START), outages=((ago(300), ago(200)),))
    assert failure(since=START + 99, pods=stuck, uptime=outage) is None
    assert failure(since=START + 101, pods=stuck, uptime=outage) is not None


@pytest.mark.parametrize("state", ["starting", "blocked"])
def test_hiccups_of_the_database_do_not_put_a_deadline_off(state: str) -> None:
    """One a minute, for twice the deadline."""
    simulation = Simulation(limit=1)
    simulation.jobs = {A.id: replace(A, created=NOW)}
    simulation.settle()
    if state == "blocked":
        (held,) = simulation.pods.values()
        simulation.claim(held)
        simulation.change(A.id, state=JobState.BLOCKED, blocked_since=simulation.now)
    for _ in range(2 * (START if state == "starting" else BLOCKED) // 60):
        simulation.advance(59)
        simulation.settle()
        simulation.away, simulation.database_since = True, simulation.now
        simulation.settle()
        simulation.advance(1)
        simulation.away, simulation.database_since = False, simulation.now
        simulation.settle()
    expected = "StartDeadlineExceeded" if state == "starting" else "BlockedDeadlineExceeded"
    assert simulation.rows[A.id].error_type == expected


def test_a_row_of_an_older_operator_that_noted_no_start_is_not_forgotten() -> None:
    old = row(A, "pending", 1, slot=True, starting_since=None)
    assert failure(row_=old, pods=[pod(A, running_since=None)]) is not None


def test_the_deadline_can_be_set_and_switched_off() -> None:
    stuck = [waiting("ImagePullBackOff", "")]
    assert failure(since=61, pods=stuck, site=SitePolicy(start_deadline=timedelta(seconds=60))) is not None
    assert failure(since=9 * START, pods=stuck, site=SitePolicy(start_deadline=None)) is None


def blocked(seconds: float) -> Any:
    return row(A, "blocked", 1, blocked_since=ago(seconds), message="waits for ollama since 10:00 UTC")


def test_a_job_that_stays_blocked_fails_with_what_it_waited_for() -> None:
    assert failure(row_=blocked(BLOCKED - 1), pods=[pod(A)]) is None
    end = failure(row_=blocked(BLOCKED + 1), pods=[pod(A)])
    assert end is not None and end.error is ErrorType.BLOCKED_DEADLINE_EXCEEDED
    assert "waits for ollama since 10:00 UTC" in end.message and "limits.blockedDeadlineSeconds" in end.message


def test_a_block_is_not_counted_from_before_the_database_answered() -> None:
    assert failure(row_=blocked(9 * BLOCKED), pods=[pod(A)], uptime=Uptime(ago(5))) is None


def evicted(message: str, **fields: Any) -> Pod:
    return pod(A, running_since=None, finished=True, failure="Evicted", failure_message=message, **fields)


OWN_MAKING = {
    "the volume of clones": (
        'Usage of EmptyDir volume "work" exceeds the limit "10Gi". ', "raise indexer.workSizeLimit of the chart"),
    "the volume of temporary files": (
        'Usage of EmptyDir volume "tmp" exceeds the limit "1Gi". ', "raise indexer.tmpSizeLimit of the chart"),
    "the container's ephemeral storage": (
        'Container indexer exceeded its local ephemeral storage limit "2Gi". ', "ephemeral-storage in"),
    "the pod's ephemeral storage": (
        "Pod ephemeral local storage usage exceeds the total limit of containers 2Gi. ", "ephemeral-storage"),
}  # fmt: skip


@pytest.mark.parametrize("what", OWN_MAKING)
def test_an_eviction_of_the_pods_own_making_ends_the_job_once_with_what_to_set(what: str) -> None:
    message, advice = OWN_MAKING[what]
    end = failure(row_=row(A, "running", 1), pods=[evicted(message)])
    assert end is not None and end.error is ErrorType.OUT_OF_EPHEMERAL_STORAGE
    assert message.rstrip(". ") in end.message and advice in end.message


NODE_FULL = (
    "The node was low on resource: ephemeral-storage. Threshold quantity: 10Gi, available: 9Gi. Container indexer "
    "was using 12Gi, request is 0, has larger consumption of ephemeral-storage. "
)


def test_filling_a_nodes_disk_is_counted_and_ends_at_the_backoff_limit() -> None:
    disrupted = "TerminationByKubelet: " + NODE_FULL
    for failures, expected in ((0, Retry), (6, Fail)):
        given = row(A, "running", 1, failures=failures)
        actions = plan(snapshot(admitted(A), rows=[given], pods=[evicted(NODE_FULL, disrupted=disrupted)]))
        (step,) = [x for x in actions if isinstance(x, Retry | Fail)]
        assert isinstance(step, expected)
        assert step.counted if isinstance(step, Retry) else step.error is ErrorType.OUT_OF_EPHEMERAL_STORAGE


NODE_WITHOUT_MEMORY = (
    "The node was low on resource: memory. Threshold quantity: 100Mi, available: 50Mi. Container indexer was "
    "using 2Gi, request is 512Mi, has larger consumption of memory. "
)


@pytest.mark.parametrize(("done", "counted"), [(0, True), (5, False)])
def test_taking_a_nodes_memory_is_counted_unless_the_attempt_got_further(done: int, counted: bool) -> None:
    given = row(A, "running", 1, files_indexed=done)
    actions = plan(snapshot(admitted(A), rows=[given], pods=[evicted(NODE_WITHOUT_MEMORY)]))
    (retry,) = [x for x in actions if isinstance(x, Retry)]
    assert retry.counted is counted
    given = row(A, "running", 1, files_indexed=done, failures=6)
    end = failure(row_=given, pods=[evicted(NODE_WITHOUT_MEMORY)])
    assert (end is not None and end.error is ErrorType.OUT_OF_MEMORY) is counted


def test_another_pods_pressure_is_not_counted() -> None:
    victim = evicted("The node was low on resource: memory. Container indexer was using 1Gi, request is 512Mi. ")
    actions = plan(snapshot(admitted(A), rows=[row(A, "running", 1)], pods=[victim]))
    (retry,) = [x for x in actions if isinstance(x, Retry)]
    assert not retry.counted


@pytest.mark.parametrize("how", ["deleted", "gone"])
def test_disruptions_without_progress_are_bounded(how: str) -> None:
    pods = [pod(A, deleted_at=ago(-2))] if how == "deleted" else []
    for disruptions, expected in ((MAX_DISRUPTIONS - 1, Retry), (MAX_DISRUPTIONS, Fail)):
        given = row(A, "running", 1, disruptions=disruptions)
        (step,) = [x for x in plan(snapshot(admitted(A), rows=[given], pods=pods)) if isinstance(x, Retry | Fail)]
        assert isinstance(step, expected)
        if isinstance(step, Fail):
            assert step.error is ErrorType.DISRUPTION_LIMIT_EXCEEDED
            assert f"disruption {MAX_DISRUPTIONS + 1} in a row" in step.message


def test_an_attempt_that_did_files_begins_a_new_count_of_disruptions() -> None:
    """The count is that of the fence before: the attempt that is disrupted now may have done files since."""
    given = row(A, "running", 31, disruptions=MAX_DISRUPTIONS, done_at_claim=200, files_indexed=1200)
    evicted_pod = pod(A, 31, running_since=None, finished=True, failure="Evicted")
    actions = plan(snapshot(admitted(A), rows=[given], pods=[evicted_pod]))
    (step,) = [x for x in actions if isinstance(x, Retry | Fail)]
    assert isinstance(step, Retry) and not step.counted


def test_files_of_the_attempt_before_do_not_count_for_a_pod_that_never_took_the_job() -> None:
    given = row(A, "running", 2, pod=None, files_indexed=500, done_at_claim=0, failures=6)
    end = failure(row_=given, pods=[evicted(NODE_WITHOUT_MEMORY, attempt=2)])
    assert end is not None and end.error is ErrorType.OUT_OF_MEMORY


def test_the_slot_goes_on_to_the_next_job() -> None:
    """Three jobs whose image cannot be pulled, and a fourth that could run."""
    simulation = Simulation(limit=3)
    jobs = [job(f"j{n}", age=100 - n) for n in range(4)]
    simulation.jobs = {j.id: j for j in jobs}
    simulation.settle()
    assert len(simulation.admissions) == 3
    for _ in range(5):
        simulation.advance(START / 4)
        simulation.settle()
    simulation.advance(20)
    simulation.settle()
    assert simulation.admissions[3:] == [jobs[3].id]
    assert {simulation.jobs[j.id].status.reason for j in jobs[:3]} == {"StartDeadlineExceeded"}


def test_an_eviction_loop_ends_by_itself() -> None:
    """A pod that is taken away as soon as it has taken the job, whatever the attempt."""
    simulation = Simulation(limit=1)
    simulation.jobs = {A.id: replace(A, created=NOW)}
    for _ in range(MAX_DISRUPTIONS + 2):
        simulation.settle()
        for live in [p for p in simulation.pods.values() if not p.finished]:
            simulation.claim(live)
            simulation.pods[live.name] = replace(simulation.pods[live.name], finished=True, failure="Evicted")
    simulation.settle()
    assert simulation.rows[A.id].error_type == "DisruptionLimitExceeded"


def test_a_crash_loop_of_pods_that_never_claim_is_bounded_twice() -> None:
    end = failure(row_=row(A, "pending", 1, slot=True, failures=6, starting_since=ago(30)), pods=[crashed(A)])
    assert end is not None and end.error is ErrorType.BACKOFF_LIMIT_EXCEEDED
    end = failure(row_=row(A, "pending", 1, slot=True, failures=0), since=1) or failure(pods=[crashed(A)])
    assert end is not None and end.error is ErrorType.START_DEADLINE_EXCEEDED


def test_a_violation_is_refused_before_a_slot_is_taken() -> None:
    greedy = job("a", age=900, resources={"memory": "64Gi"})
    actions = plan(snapshot(greedy, B, limit=1, site=SitePolicy(max_memory="32Gi")))
    (end,) = [x for x in actions if isinstance(x, Fail)]
    assert end.error is ErrorType.RESOURCES_REFUSED and "64Gi is more than the 32Gi" in end.message
    assert [x.job.name for x in actions if isinstance(x, Admit)] == ["b"]


def test_a_job_that_works_already_goes_on_under_new_limits() -> None:
    greedy = job("a", resources={"memory": "64Gi"})
    given = row(greedy, "running", 1)
    s = snapshot(admitted(greedy), rows=[given], pods=[pod(greedy)], site=SitePolicy(max_memory="1Gi"))
    assert [x for x in plan(s) if isinstance(x, Fail)] == []


def test_a_step_that_always_fails_is_what_the_job_failed_to_start_for() -> None:
    broken = StepFailure("StartPod", "500: the webhook does not answer", ago(590))
    end = failure(failures={A.id: broken})
    assert end is not None and "(StartPod: 500: the webhook does not answer)" in end.message


async def test_the_time_in_which_the_api_server_was_away_is_not_counted(bench: Bench) -> None:
    await bench.cycle()
    before = (await bench.loop.snapshot()).uptime
    bench.server.faults = [Fault("GET .*/pods", 503)]
    with pytest.raises(ApiError):
        await bench.cycle()
    await bench.cycle()
    after = await bench.loop.snapshot()
    ((start, end),) = after.uptime.outages
    assert before.since is not None
    assert before.since == after.uptime.since and before.last_answer == start and end > start
    assert after.uptime.answered_time(None, after.now) == after.now - before.since - (end - start)
