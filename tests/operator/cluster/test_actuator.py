"""Whole cycles against a small API server and a real Postgres, with the faults that both have."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from codebase_index.api.job import JobState
from codebase_index.store.database import Database
from codebase_index.store.errors import JobNotFound
from codebase_operator.cluster.actuator import event_manifest
from codebase_operator.metrics import Metrics
from codebase_operator.model import actions as do
from codebase_operator.model.snapshot import Job
from codebase_operator.planning import lifecycle, planner
from tests.operator.builders import NOW, job
from tests.operator.fake_api import Fault
from tests.operator.harness import Bench


async def test_admission_takes_the_slot_and_the_fence_then_creates_the_pod(bench: Bench) -> None:
    bench.server.create_job("a")
    bench.server.faults = [Fault("POST .*/pods", 500)]
    await bench.cycle()
    row = await bench.row("a")
    assert (row.state, row.slot, row.attempt, row.pod) == (JobState.PENDING, True, 1, None)
    assert bench.server.pods == {}
    await bench.cycle()
    assert (await bench.row("a")).attempt == 1
    assert set(bench.server.pods) == {"a-a1"}


async def test_the_database_holds_the_limit_against_an_operator_that_sees_too_little(bench: Bench) -> None:
    for name in ("a", "b", "c", "d"):
        bench.server.create_job(name)
    blind = [do.EnsureRow(bench.job(name)) for name in ("a", "b", "c", "d")]
    await bench.actuator.apply(blind, NOW)
    done = await bench.actuator.apply([do.Admit(bench.job(name), 1, 3) for name in ("a", "b", "c", "d")], NOW)
    assert done == 3
    assert set(bench.server.pods) == {"a-a1", "b-a1", "c-a1"}


async def test_a_slot_is_freed_only_when_the_api_confirms_that_no_pod_is_left(bench: Bench) -> None:
    bench.server.create_job("a")
    await bench.settle()
    row = await bench.row("a")
    await bench.jobs.cancel(row.id)
    await bench.actuator.apply([do.ReleaseSlot(row.id, "a")], NOW)
    assert (await bench.row("a")).slot
    bench.server.pods.clear()
    await bench.actuator.apply([do.ReleaseSlot(row.id, "a")], NOW)
    assert not (await bench.row("a")).slot


@pytest.mark.parametrize("status", [0, 429, 500])
@pytest.mark.parametrize("before", [True, False], ids=["before the pod is made", "after the pod is made"])
async def test_a_pod_that_could_not_be_created_is_created_under_the_same_token(
    bench: Bench, status: int, before: bool
) -> None:
    bench.server.create_job("a")
    bench.server.faults = [Fault("POST .*/pods", status, before=before)]
    await bench.settle()
    assert (await bench.row("a")).attempt == 1
    assert set(bench.server.pods) == {"a-a1"}


async def test_a_failure_of_one_job_does_not_hold_up_another(bench: Bench) -> None:
    bench.server.create_job("a")
    bench.server.create_job("b")
    bench.server.faults = [Fault("POST .*/pods", 500)]  # of the first in the queue
    await bench.cycle()
    assert set(bench.server.pods) == {"b-a1"}
    await bench.settle()
    assert set(bench.server.pods) == {"a-a1", "b-a1"}


async def test_a_pod_of_somebody_else_in_the_way_is_told(bench: Bench) -> None:
    bench.server.create_job("a")
    stranger = {"metadata": {"name": "a-a1", "uid": "x", "resourceVersion": "5"}}
    bench.server.pods["a-a1"] = stranger
    await bench.cycle(3)
    status = bench.status("a")
    assert (status["phase"], status["reason"]) == ("Pending", "PodRefused")
    assert "not this job's" in status["message"]
    assert bench.server.pods["a-a1"] is stranger


@pytest.mark.parametrize(
    ("status", "message", "reason"),
    [
        (403, 'pods "a-a1" is forbidden: exceeded quota: indexers, used: pods=6', "QuotaExceeded"),
        (403, 'pods "a-a1" is forbidden: violates PodSecurity "restricted"', "PodRefused"),
        (422, 'Pod "a-a1" is invalid: spec.containers[0].image: Required value', "PodRefused"),
    ],
)
async def test_a_refused_pod_is_the_reason_that_is_shown(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, status: int, message: str, reason: str
) -> None:
    bench.server.create_job("a")
    bench.server.faults = [Fault("POST .*/pods", status, message)]
    await bench.settle()
    shown = bench.status("a")
    assert (shown["phase"], shown["reason"], shown["message"]) == ("Pending", reason, message)
    assert (await bench.row("a")).message == f"Starting: {message}"
    assert len(bench.sent("POST", "/pods")) == 1  # not offered again at once
    monkeypatch.setattr(lifecycle, "REJECTION_RETRY_INTERVAL", timedelta(0))
    await bench.settle()
    assert set(bench.server.pods) == {"a-a1"}
    assert bench.status("a")["reason"] == "PodStarting"


async def test_lists_that_fail_change_nothing(bench: Bench) -> None:
    bench.server.create_job("a")
    bench.server.faults = [Fault("GET .*/pods", 410)]
    with pytest.raises(Exception, match="410"):
        await bench.cycle()
    assert bench.server.pods == {}
    await bench.cycle()
    assert set(bench.server.pods) == {"a-a1"}


async def test_cancel_fences_first_and_deletes_the_pod_in_the_same_pass(bench: Bench) -> None:
    bench.server.create_job("a")
    await bench.settle()
    await bench.jobs.claim((await bench.row("a")).id, 1, "a-a1")
    bench.server.change_job("a", cancel=True)
    await bench.cycle()
    row = await bench.row("a")
    assert (row.state, row.attempt) == (JobState.CANCELLED, 2)
    assert "deletionTimestamp" in bench.server.pods["a-a1"]["metadata"]
    await bench.settle()
    assert bench.status("a")["phase"] == "Cancelled"
    assert len(bench.sent("DELETE", "/pods/a-a1")) == 1


async def test_a_row_is_cancelled_when_its_resource_is_gone(bench: Bench) -> None:
    body = bench.server.create_job("a")
    await bench.settle()
    del bench.server.jobs["a"]
    await bench.settle()
    assert (await bench.jobs.get(UUID(body["metadata"]["uid"]))).state is JobState.CANCELLED


async def test_a_row_is_cancelled_when_another_job_took_the_name(bench: Bench) -> None:
    body = bench.server.create_job("a")
    await bench.settle()
    bench.server.create_job("a")
    await bench.settle()
    assert (await bench.jobs.get(UUID(body["metadata"]["uid"]))).state is JobState.CANCELLED
    assert (await bench.row("a")).state is JobState.PENDING


async def test_a_row_whose_resource_is_only_not_known_yet_is_left_alone(bench: Bench) -> None:
    """The MCP server writes the row right after the resource: the watch may be slower than the database."""
    await bench.cycle()
    bench.server.create_job("a")
    created = bench.server.jobs["a"]
    await bench.jobs.create(Job.parse(created).resource)
    await bench.loop.cycle()  # without a new list: only the row is known
    assert (await bench.row("a")).state is JobState.PENDING
    assert [known.name for known in bench.cache.jobs.items.values()] == ["a"]


async def test_an_api_that_is_away_keeps_a_row_from_being_cancelled(bench: Bench) -> None:
    body = bench.server.create_job("a")
    await bench.settle()
    del bench.server.jobs["a"]
    bench.server.faults = [Fault(r"GET .*/indexingjobs/a$", 500)]
    await bench.cycle()
    job_id = UUID(body["metadata"]["uid"])
    assert (await bench.jobs.get(job_id)).state is JobState.PENDING
    await bench.cycle()
    assert (await bench.jobs.get(job_id)).state is JobState.CANCELLED


async def test_a_transition_is_told_once_also_after_a_restart_in_between(bench: Bench) -> None:
    bench.server.create_job("a")
    bench.server.faults = [Fault("PATCH", 500, times=2)]  # the event is told, the mark fails
    await bench.settle()
    assert sorted(event["reason"] for event in bench.server.events.values()) == ["Admitted", "Queued"]
    assert len(bench.sent("POST", "/events")) > 2


def stories(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    """The log lines about transitions."""
    return [vars(record) for record in caplog.records if hasattr(record, "event")]


async def test_an_event_that_cannot_be_told_stops_nothing_and_is_logged(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.server.create_job("a")
    bench.server.faults = [Fault("POST .*/events", 403, times=99)]
    with caplog.at_level("INFO", "codebase_operator.cluster.actuator"):
        await bench.settle()
    assert set(bench.server.pods) == {"a-a1"}
    assert sorted(story["event"] for story in stories(caplog)) == ["Admitted", "Queued"]


async def test_each_transition_is_one_log_line_with_the_counts(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.server.create_job("a")
    bench.server.faults = [Fault("PATCH", 500, times=2)]  # the event is told, the mark fails, both are tried again
    with caplog.at_level("INFO", "codebase_operator.cluster.actuator"):
        await bench.settle()
        job_id = (await bench.row("a")).id
        await bench.jobs.claim(job_id, 1, "a-a1")
        await bench.settle()
        await bench.jobs.fail(job_id, 1, "SourceUnreadable", "chmod it")
        await bench.settle()
    told = stories(caplog)
    assert [story["event"] for story in told] == ["Queued", "Admitted", "Started", "Failed"]
    failed = told[-1]
    assert (failed["levelname"], failed["why"], failed["reason"]) == ("WARNING", "chmod it", "SourceUnreadable")
    names = ("job", "job_id", "repository", "attempt", "files_indexed", "chunks_created", "files_repeated")
    assert [failed[name] for name in names] == ["a", job_id, "/repos/a", 1, 0, 0, 0]


async def test_every_step_is_counted_and_every_end_once(bench: Bench) -> None:
    metrics = Metrics()
    bench.restart(metrics=metrics)
    bench.server.create_job("a")
    bench.server.create_job("b")
    await bench.settle()
    for name in ("a", "b"):
        await bench.jobs.claim((await bench.row(name)).id, 1, f"{name}-a1")
    del bench.server.pods["b-a1"]
    await bench.jobs.fail((await bench.row("a")).id, 1, "SourceUnreadable", "chmod it")
    bench.server.faults = [Fault("PATCH .*/a/status", 409, times=2)]
    await bench.settle()

    def value(name: str, **labels: str) -> float | None:
        return metrics.registry.get_sample_value(f"codebase_operator_{name}", labels)

    assert value("jobs_ended_total", state="failed", error_type="SourceUnreadable") == 1
    assert value("retries_total", counted="false") == 1
    assert value("steps_total", step="WriteStatus", outcome="conflict") == 2
    assert value("jobs_active", state="running") == 1
    assert value("slots_used") == 2  # the failed one's pod is not finished yet
    assert value("database_up") == 1


# --- several operators ----------------------------------------------------------------------------


async def test_who_does_not_lead_sees_everything_and_changes_nothing(bench: Bench) -> None:
    metrics = Metrics()
    bench.restart(is_leader=lambda: False, metrics=metrics)
    bench.server.create_job("a")
    await bench.cycle(3)
    assert {line.split()[0] for line in bench.server.requests} == {"GET"}
    assert metrics.registry.get_sample_value("codebase_operator_queue_length") == 1
    with pytest.raises(JobNotFound):
        await bench.row("a")


async def test_a_plan_stops_at_the_step_before_which_the_lease_is_lost(bench: Bench) -> None:
    bench.server.create_job("a")
    bench.server.create_job("b")
    await bench.cycle()
    asked: list[None] = []

    def is_leader() -> bool:
        asked.append(None)
        return len(asked) <= 3  # for the schema, for the plan, and for its first step

    bench.server.requests.clear()
    bench.restart(is_leader=is_leader)
    assert await bench.loop.cycle() == 1  # of several: the places in the queue, then events and mirrors
    assert bench.server.requests == []
    bench.restart()
    assert await bench.loop.cycle() > 1
    assert bench.server.requests != []


async def test_a_job_is_removed_with_its_row_when_its_time_is_over(bench: Bench) -> None:
    body = bench.server.create_job("a", ttlSecondsAfterFinished=0)
    await bench.settle()
    job_id = UUID(body["metadata"]["uid"])
    await bench.jobs.cancel(job_id)
    bench.server.pods.clear()
    await bench.settle()
    assert bench.server.jobs == {}
    assert await bench.jobs.get_many([job_id]) == {}


async def test_a_job_is_failed_with_what_to_do(bench: Bench) -> None:
    bench.server.create_job("a", backoffLimit=0)
    await bench.settle()
    bench.server.pods["a-a1"]["status"] = {
        "phase": "Failed",
        "containerStatuses": [{"state": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}}],
    }
    await bench.settle()
    row = await bench.row("a")
    assert (row.state, row.error_type) == (JobState.FAILED, "OOMKilled")
    assert "spec.resources.memory" in (row.error_message or "")
    assert bench.status("a")["phase"] == "Failed"


async def test_a_deleted_pod_is_retried_uncounted(bench: Bench) -> None:
    bench.server.create_job("a")
    await bench.settle()
    await bench.jobs.claim((await bench.row("a")).id, 1, "a-a1")
    del bench.server.pods["a-a1"]
    await bench.settle()
    row = await bench.row("a")
    assert (row.attempt, row.failures, row.pod) == (2, 0, None)
    assert set(bench.server.pods) == {"a-a2"}
    assert [e["message"] for e in bench.server.events.values() if e["reason"] == "Retried"] == [
        "Restarting: pod a-a1 is gone"
    ]


async def test_suspend_keeps_an_unclaimed_pod_from_starting(bench: Bench) -> None:
    bench.server.create_job("a")
    await bench.settle()
    bench.server.change_job("a", suspend=True)
    await bench.cycle()
    assert (await bench.row("a")).attempt == 2
    bench.server.pods.clear()
    await bench.settle()
    assert bench.status("a")["phase"] == "Suspended"
    assert (await bench.row("a")).message == "Suspended"
    bench.server.change_job("a", suspend=False)
    await bench.settle()
    assert set(bench.server.pods) == {"a-a3"}, "the slot was freed, which raises the token once more"


async def test_an_invalid_spec_is_told_and_does_not_stop_the_others(bench: Bench) -> None:
    bench.server.create_job("bad", priority="high")
    bench.server.create_job("good")
    await bench.settle()
    assert (bench.status("bad")["phase"], bench.status("bad")["reason"]) == ("Failed", "InvalidSpec")
    assert set(bench.server.pods) == {"good-a1"}


async def test_the_fourth_waits_and_follows(bench: Bench) -> None:
    for name in "abcd":
        bench.server.create_job(name)
    await bench.settle()
    assert set(bench.server.pods) == {"a-a1", "b-a1", "c-a1"}
    assert bench.status("d")["message"] == "Queued: 1st of 1, 3 jobs running"
    assert (await bench.row("d")).queue_position == 1
    await bench.jobs.cancel((await bench.row("b")).id)
    del bench.server.pods["b-a1"]
    await bench.settle()
    assert set(bench.server.pods) == {"a-a1", "c-a1", "d-a1"}
    assert "queuePosition" not in bench.status("d")


async def test_without_a_database_nothing_starts_and_the_jobs_say_so(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planner, "OUTAGE_GRACE", timedelta(0))
    nowhere = await Database.open("postgresql://nobody@127.0.0.1:1/none", name="test", timeout=1)
    bench.restart(database=nowhere)
    bench.server.create_job("a")
    await bench.cycle(2)
    assert bench.server.pods == {}
    assert (bench.status("a")["phase"], bench.status("a")["reason"]) == ("Pending", "DatabaseUnavailable")
    bench.restart()
    await bench.settle()
    assert set(bench.server.pods) == {"a-a1"}
    assert bench.status("a")["reason"] == "PodStarting"
    await nowhere.close()


async def test_an_event_is_named_after_its_transition() -> None:
    first = event_manifest(do.Emit(job("a"), "Retried", "why", "Retried/2"), NOW)
    again = event_manifest(do.Emit(job("a"), "Retried", "why else", "Retried/2"), NOW)
    other = event_manifest(do.Emit(job("a"), "Retried", "why", "Retried/3"), NOW)
    assert first["metadata"]["name"] == again["metadata"]["name"] != other["metadata"]["name"]
    assert first["metadata"]["name"].startswith("a.")
