"""What /metrics shows: levels from snapshots, counts from steps, and that Prometheus can read it."""

from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import httpx
import pytest

from codebase_index.api.job import ErrorType, JobState
from codebase_index.api.resource import IndexingJobStatus, Progress
from codebase_index.store import errors
from codebase_index.store.catalog.statistics import Statistics
from codebase_operator.cluster.api import ApiError
from codebase_operator.metrics import Gauges, Metrics, gauges_of
from codebase_operator.model import actions as do
from codebase_operator.model.site_policy import SitePolicy
from codebase_operator.model.snapshot import Job, Rejection
from tests.operator.builders import admitted, ago, finished, job, pod, row, snapshot

A, B, C, D = (job(name, age=age) for name, age in (("a", 400), ("b", 300), ("c", 200), ("d", 100)))
WEEK = timedelta(days=7).total_seconds()


def test_an_empty_namespace() -> None:
    nothing = Gauges(active={}, oldest_seconds=0, queued=0, slots=0, limit=3, stuck=0, database=True)
    assert gauges_of(snapshot()) == nothing


def test_jobs_are_counted_by_the_state_of_their_rows() -> None:
    rows = [
        row(A, "running", 1, slot=True), row(B, "blocked", 1, slot=True), row(C), row(D, "completed", 1),
    ]  # fmt: skip
    gauges = gauges_of(snapshot(A, B, C, D, rows=rows))
    assert dict(gauges.active) == {JobState.RUNNING: 1, JobState.BLOCKED: 1, JobState.PENDING: 1}
    assert gauges.oldest_seconds == 400
    assert (gauges.queued, gauges.slots) == (1, 2)


def test_a_finished_job_is_not_active_however_old() -> None:
    gauges = gauges_of(snapshot(finished(job("old", age=9 * WEEK)), D))
    assert gauges.oldest_seconds == 100
    assert gauges.stuck == 0


@pytest.mark.parametrize(("age", "stuck"), [(WEEK, 0), (WEEK + 1, 1)])
def test_a_job_is_stuck_when_it_is_older_than_seven_days(age: float, stuck: int) -> None:
    assert gauges_of(snapshot(job("old", age=age), D)).stuck == stuck


def test_a_slot_counts_until_the_last_pod_is_gone() -> None:
    ended = row(A, "cancelled", 2, slot=True)
    assert gauges_of(snapshot(A, rows=[ended], pods=[pod(A)])).slots == 1
    assert gauges_of(snapshot(A, rows=[row(A, "cancelled", 2)])).slots == 0


REFUSED = Rejection("SecretRefused", "label it", ago(1), ago(60))


def test_a_job_that_waits_for_its_secret_or_its_repository_waits_for_no_slot() -> None:
    """Or the alert of a queue in which nothing starts would ring for what a person has to do."""
    assert gauges_of(snapshot(C, rejections={C.id: REFUSED})).queued == 0
    begun, twin = job("begun", repo="r", suspend=True), job("twin", repo="r")
    gauges = gauges_of(snapshot(begun, twin, rows=[row(begun, files_total=7)]))
    assert (gauges.queued, gauges.slots, gauges.active[JobState.PENDING]) == (0, 0, 2)


def test_those_that_the_queue_has_no_room_for_wait_for_a_slot_too() -> None:
    jobs = [job(f"j{n}") for n in range(5)]
    gauges = gauges_of(snapshot(A, *jobs, limit=1, rows=[row(A, "running", 1, slot=True)], without_row=jobs,
                                site=SitePolicy(max_waiting=2)))  # fmt: skip
    assert gauges.queued == 5


def test_the_docs_name_every_metric() -> None:
    page = (Path(__file__).parents[2] / "docs" / "observability.md").read_text()
    for metric in Metrics().registry.collect():
        if metric.name.startswith("codebase_operator_"):
            suffix = "_total" if metric.type == "counter" else ""
            assert f"`{metric.name.removeprefix('codebase_operator_')}{suffix}`" in page, metric.name


def test_the_docs_name_every_state_of_a_database() -> None:
    page = (Path(__file__).parents[2] / "docs" / "observability.md").read_text()
    (row_,) = [line for line in page.splitlines() if "`database`:" in line]
    states = {
        error.state for error in vars(errors).values() if isinstance(error, type) and hasattr(error, "state")
    }
    assert [state for state in states if state not in row_.split("`database`:")[1]] == []


def test_a_suspended_job_waits_for_no_slot() -> None:
    gauges = gauges_of(snapshot(job("paused", suspend=True)))
    assert (gauges.queued, gauges.active[JobState.PENDING]) == (0, 1)


def test_without_the_database_the_mirrors_are_counted() -> None:
    running = job("r", status=IndexingJobStatus(phase="Running"))
    blocked = job("b", status=IndexingJobStatus(phase="Blocked"))
    gauges = gauges_of(snapshot(running, blocked, admitted(A), D, finished(B), pods=[pod(running)], away=True))
    assert dict(gauges.active) == {JobState.RUNNING: 1, JobState.BLOCKED: 1, JobState.PENDING: 2}
    assert (gauges.database, gauges.slots) == (False, 1)


# --- counts and the page ---------------------------------------------------------------------------


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(f"codebase_operator_{name}", labels)


def ends(job_: Job, phase: str, reason: str) -> do.WriteStatus:
    return do.WriteStatus(job_, IndexingJobStatus(phase=phase, reason=reason))


def test_retries_are_counted_apart() -> None:
    metrics = Metrics()
    assert value(metrics, "retries_total", counted="true") == 0
    metrics.record_step(do.Retry(A, 2, True, "why"), None)
    metrics.record_step(do.Retry(A, 3, False, "why"), None)
    metrics.record_step(do.Retry(B, 2, False, "why"), ApiError(500, "fenced, but the pod was not created"))
    metrics.record_step(do.Retry(C, 2, False, "why"), OSError("not fenced"))
    assert value(metrics, "retries_total", counted="true") == 1
    assert value(metrics, "retries_total", counted="false") == 2


def test_the_end_of_a_job_is_counted_once_when_it_is_told() -> None:
    metrics = Metrics()
    metrics.record_step(ends(A, "Failed", "OOMKilled"), ApiError(409, "the object has been modified"))
    metrics.record_step(ends(A, "Failed", "OOMKilled"), None)
    metrics.record_step(ends(finished(A, "Failed"), "Failed", "OOMKilled"), None)
    metrics.record_step(ends(B, "Completed", "Completed"), None)
    metrics.record_step(do.WriteStatus(C, IndexingJobStatus(phase="Running", reason="Indexing")), None)
    assert value(metrics, "jobs_ended_total", state="failed", error_type="OOMKilled") == 1
    assert value(metrics, "jobs_ended_total", state="completed", error_type="") == 1
    assert value(metrics, "jobs_ended_total", state="running", error_type="") is None


def test_the_first_failure_of_each_kind_is_an_increase() -> None:
    """A series that begins with 1 has no increase: the alert would sleep through the first failure."""
    metrics = Metrics()
    for error in ErrorType:
        assert value(metrics, "jobs_ended_total", state="failed", error_type=error) == 0


def test_what_jobs_do_is_counted_from_one_status_to_the_next() -> None:
    metrics = Metrics()
    begun = IndexingJobStatus(phase="Running", started_at=A.created + timedelta(seconds=40), attempt=1)
    half = begun.model_copy(update={"progress": Progress(percent=50, files_indexed=30, chunks_created=300)})
    whole = half.model_copy(
        update={
            "phase": "Completed", "completed_at": A.created + timedelta(seconds=100),
            "progress": Progress(percent=100, files_indexed=70, files_skipped=2, chunks_created=700),
        }
    )  # fmt: skip
    for before, now in pairwise([IndexingJobStatus(), begun, half, half, whole]):
        metrics.record_step(do.WriteStatus(replace(A, status=before), now), None)
    assert value(metrics, "files_indexed_total") == 70
    assert value(metrics, "files_skipped_total") == 2
    assert value(metrics, "chunks_created_total") == 700
    assert value(metrics, "queue_wait_seconds_sum") == 40 and value(metrics, "queue_wait_seconds_count") == 1
    assert value(metrics, "job_seconds_sum", state="completed") == 60


def test_a_write_that_failed_is_counted_when_it_succeeds() -> None:
    metrics = Metrics()
    write = do.WriteStatus(A, IndexingJobStatus(phase="Running", progress=Progress(files_indexed=7)))
    metrics.record_step(write, ApiError(409, "the object has been modified"))
    assert value(metrics, "files_indexed_total") == 0
    metrics.record_step(write, None)
    assert value(metrics, "files_indexed_total") == 7


def test_what_the_database_holds_is_shown() -> None:
    metrics = Metrics()
    metrics.set_statistics(Statistics(2, 500, 3600.0, 10**9, 12, 100))
    shown = {"indexes": 2, "index_chunks": 500, "oldest_index_seconds": 3600, "database_bytes": 10**9}
    assert {name: value(metrics, name) for name in shown} == shown


def test_steps_are_counted_by_how_they_went() -> None:
    metrics = Metrics()
    for error in (None, None, ApiError(409, "conflict"), ApiError(500, "etcd")):
        metrics.record_step(do.StartPod(A, 1), error)
    outcomes = {
        o: value(metrics, "steps_total", step="StartPod", outcome=o) for o in ("done", "conflict", "failed")
    }
    assert outcomes == {"done": 2, "conflict": 1, "failed": 1}


def test_a_state_that_nobody_is_in_any_more_falls_to_zero() -> None:
    metrics = Metrics()
    metrics.set_gauges(gauges_of(snapshot(A, rows=[row(A, "running", 1, slot=True)])))
    metrics.set_gauges(gauges_of(snapshot(A, rows=[row(A, "completed", 1)])))
    assert value(metrics, "jobs_active", state="running") == 0


def test_the_page_is_served_and_stopped(unused_tcp_port: int) -> None:
    leading = [False]
    metrics = Metrics(lambda: leading[0], lambda: None if leading[0] else "release other runs the jobs")
    metrics.set_gauges(gauges_of(snapshot(A, B, away=True)))
    stop = metrics.serve(unused_tcp_port)
    url = f"http://127.0.0.1:{unused_tcp_port}/metrics"
    try:
        lines = httpx.get(url, trust_env=False).text.splitlines()
        assert 'codebase_operator_jobs_active{state="pending"} 2.0' in lines
        assert "codebase_operator_database_up 0.0" in lines
        assert "codebase_operator_leader 0.0" in lines and "codebase_operator_ready 0.0" in lines
        ready = httpx.get(url.replace("/metrics", "/readyz"), trust_env=False)
        assert (ready.status_code, ready.text) == (503, "release other runs the jobs\n")
        leading[0] = True
        assert "codebase_operator_leader 1.0" in httpx.get(url, trust_env=False).text.splitlines()
        assert httpx.get(url.replace("/metrics", "/readyz"), trust_env=False).status_code == 200
    finally:
        stop()
    with pytest.raises(httpx.ConnectError):
        httpx.get(url, trust_env=False)
