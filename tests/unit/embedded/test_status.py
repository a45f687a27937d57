"""What is said of a process is what Kubernetes says of a container: the operator's own parser reads it."""

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from codebase_embedded.pods import status
from codebase_embedded.processes import Process
from codebase_index.api.job import LABEL_ATTEMPT, LABEL_JOB_ID
from codebase_index.store.jobs.rows import JobRow
from codebase_operator.model.pod_timeouts import PodTimeouts
from codebase_operator.model.snapshot import Pod
from codebase_operator.planning.diagnosis import PodHealth, diagnose

PROCESS = Process(4711, "boot-99")
NOW, LATER = "2026-05-01T12:00:00.000Z", "2026-05-01T12:00:05.000Z"


def pod(told: dict[str, Any] | None = None, *, deleted: bool = False) -> dict[str, Any]:
    labels = {LABEL_JOB_ID: str(uuid4()), LABEL_ATTEMPT: "1"}
    metadata = {"name": "shop-a1", "uid": str(uuid4()), "resourceVersion": "7", "labels": labels}
    if deleted:
        metadata["deletionTimestamp"] = NOW
    return {"metadata": metadata, "spec": {}, "status": told or {"phase": "Pending"}}


def parsed(told: dict[str, Any]) -> Pod:
    found = Pod.parse(pod(told))
    assert found is not None
    return found


def test_a_new_pod_is_to_be_started() -> None:
    assert status.is_new(pod()) and status.process_of(pod()) is None


def test_a_started_process_is_a_running_container_that_is_found_again() -> None:
    told = status.running(pod(), PROCESS, NOW)
    assert status.process_of(pod(told)) == PROCESS and not status.is_new(pod(told))
    found = parsed(told)
    assert found.running_since is not None and found.restarts == 0 and not found.finished


def test_a_process_that_is_done_finishes_its_pod() -> None:
    told = status.ended(pod(status.running(pod(), PROCESS, NOW)), 0, LATER)
    found = parsed(told)
    assert found.finished and found.termination is not None and found.termination.exit_code == 0
    assert status.is_finished(pod(told)) and status.process_of(pod(told)) is None


def test_a_first_crash_is_a_container_that_is_down_and_started_again_at_once() -> None:
    running = status.running(pod(), PROCESS, NOW)
    crashed = status.ended(pod(running), 137, LATER)
    assert parsed(crashed).down and not parsed(crashed).finished and status.is_down(pod(crashed))
    again = parsed(status.running(pod(crashed), PROCESS, LATER))
    assert again.restarts == 1 and again.running_since is not None and not again.down
    assert again.termination is not None and again.termination.exit_code == 137


def test_a_second_crash_is_left_to_the_operator() -> None:
    told = status.running(pod(), PROCESS, NOW)
    for _ in range(2):
        told = status.ended(pod(told), 1, LATER) if status.process_of(pod(told)) else told
        if status.is_down(pod(told)):
            told = status.running(pod(told), PROCESS, LATER)
    told = status.ended(pod(told), 1, LATER) if status.process_of(pod(told)) else told
    found = parsed(told)
    assert found.waiting is not None and found.waiting[0] == "CrashLoopBackOff"
    assert not status.is_down(pod(told)) and not found.finished


def test_a_process_that_was_asked_to_end_is_not_started_again() -> None:
    told = status.ended(pod(status.running(pod(), PROCESS, NOW), deleted=True), 66, LATER)
    assert parsed(told).finished


def test_an_end_that_nobody_saw_is_told_as_a_kubelet_does() -> None:
    told = status.ended(
        pod(status.running(pod(), PROCESS, NOW)), status.LOST_EXIT_CODE, LATER, "ContainerStatusUnknown"
    )
    termination = parsed(told).termination
    assert termination is not None and (termination.exit_code, termination.reason) == (
        137,
        "ContainerStatusUnknown",
    )


def test_a_process_that_cannot_be_started_says_why() -> None:
    found = parsed(status.refused("PermissionError: no"))
    assert found.waiting == ("CreateContainerError", "PermissionError: no") and not found.finished


def test_a_pod_that_ended_with_its_instance_is_a_disruption_and_no_failure() -> None:
    running = pod(status.running(pod(), PROCESS, NOW))
    lost = parsed(status.node_lost(running, LATER))
    row = JobRow.model_construct(pod="p", files_indexed=5, files_skipped=0, done_at_claim=0)
    at = datetime(2026, 5, 1, 12, tzinfo=UTC)
    assert status.is_finished(pod(status.node_lost(running, LATER)))
    assert diagnose(lost, row, at, at, PodTimeouts()).health is PodHealth.DISRUPTED
