"""What fails for one job ends the steps of this job alone, is told, and keeps neither the loop nor another job.

On a small API server and a real Postgres, which refuses for real.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from codebase_index.api.resource import IndexingJobSpec
from codebase_index.store.database import Database
from codebase_operator import reconciler as loop_module
from codebase_operator.cluster import actuator
from codebase_operator.cluster import cache as cache_module
from codebase_operator.cluster.actuator import MAX_UNANSWERED_STEPS
from codebase_operator.cluster.pods import indexer_pod
from codebase_operator.metrics import Metrics
from codebase_operator.model import snapshot
from codebase_operator.model.site_policy import SitePolicy
from codebase_operator.model.snapshot import Job, JobView, Snapshot
from codebase_operator.planning import lifecycle, planner
from codebase_operator.reporting import conditions
from tests.operator.fake_api import Fault
from tests.operator.harness import Bench

pytestmark = pytest.mark.usefixtures("at_once")


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let conditions tell failures and outages without waiting some seconds for the next pass to mend them."""
    monkeypatch.setattr(conditions, "FAILED_FOR", timedelta(0))
    monkeypatch.setattr(planner, "OUTAGE_GRACE", timedelta(0))
    monkeypatch.setattr(snapshot, "STUCK_AFTER", timedelta.max)  # the jobs of the fake API are old


@pytest.fixture
def counted(bench: Bench) -> Metrics:
    metrics = Metrics()
    bench.restart(metrics=metrics)
    return metrics


def degraded(bench: Bench, name: str) -> tuple[str, str, str]:
    (found,) = [c for c in bench.status(name)["conditions"] if c["type"] == "Degraded"]
    return found["status"], found["reason"], found["message"]


async def sql(database: Database, text: str) -> None:
    async with database.connection() as connection:
        await connection.execute(text)


REFUSE_B = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF NEW.cr_name = 'b' THEN RAISE 'what nobody has foreseen' USING ERRCODE = '22P02'; END IF; RETURN NEW;
END $$;
CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON jobs FOR EACH ROW EXECUTE FUNCTION refuse();
"""


async def test_a_row_that_the_database_refuses_is_told_on_its_job_and_keeps_no_other(
    bench: Bench,
    database: Database,
    counted: Metrics,
    caplog: pytest.LogCaptureFixture,
) -> None:
    await sql(database, REFUSE_B)
    for name in ("a", "b", "c"):
        bench.server.create_job(name)
    await bench.cycle(3)
    assert set(bench.server.pods) == {"a-a1", "c-a1"}
    status, reason, message = degraded(bench, "b")
    assert (status, reason) == ("True", "StepFailed")
    assert message.startswith("EnsureRow has been failing since ") and "this is a bug: please report it" in message
    assert (bench.status("b")["phase"], bench.status("b")["reason"]) == ("Pending", "StepFailed")
    assert degraded(bench, "a")[0] == "False"
    assert counted.registry.get_sample_value(
        "codebase_operator_steps_total", {"step": "EnsureRow", "outcome": "failed"}
    )
    assert any("EnsureRow not done" in record.message and record.exc_info for record in caplog.records)
    assert not bench.cache.unhealthy_reason() and "steps of 1 jobs failed" in (bench.cache.degraded_reason() or "")
    await sql(database, "DROP TRIGGER refuse ON jobs")
    await bench.cycle(3)
    assert "b-a1" in bench.server.pods
    assert degraded(bench, "b")[:2] == ("False", "AsExpected") and bench.cache.degraded_reason() is None


async def test_jobs_that_cannot_be_started_keep_no_slot_from_the_others(bench: Bench, database: Database) -> None:
    await sql(database, REFUSE_B.replace("= 'b'", "LIKE 'b%'"))
    for name in ("b1", "b2", "b3", "a", "c"):
        bench.server.create_job(name, priority=5 if name[0] == "b" else 0)
    await bench.cycle(3)
    assert set(bench.server.pods) == {"a-a1", "c-a1"}
    assert [degraded(bench, name)[1] for name in ("b1", "b2", "b3")] == ["StepFailed"] * 3


async def test_a_failure_that_stays_is_written_once(bench: Bench, database: Database) -> None:
    await sql(database, REFUSE_B)
    bench.server.create_job("b")
    await bench.cycle(8)
    assert len(bench.sent("PATCH", "/b/status")) <= 2


async def test_a_bug_of_the_planner_keeps_no_other_job(
    bench: Bench,
    monkeypatch: pytest.MonkeyPatch,
    counted: Metrics,
) -> None:
    def steps_for(view: JobView, s: Snapshot) -> Any:
        if view.job.name == "b":
            raise KeyError("cpu")
        return lifecycle.steps_for(view, s)

    monkeypatch.setattr(planner, "steps_for", steps_for)
    for name in ("a", "b", "c"):
        bench.server.create_job(name)
    await bench.cycle(3)
    assert {"a-a1", "c-a1"} <= set(bench.server.pods)
    status, reason, message = degraded(bench, "b")
    assert (status, reason) == ("True", "StepFailed") and "KeyError in the operator" in message
    assert counted.registry.get_sample_value(
        "codebase_operator_steps_total", {"step": "PlanFailed", "outcome": "failed"}
    )


async def test_a_job_that_cannot_be_judged_keeps_no_other_from_being_admitted(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is decided about all jobs together asks each of them, too."""
    violation_of = SitePolicy.violation_of

    def broken(site: SitePolicy, spec: IndexingJobSpec) -> Any:
        if str(spec.source) == "/repos/b":
            raise ValueError("no quantity")
        return violation_of(site, spec)

    monkeypatch.setattr(SitePolicy, "violation_of", broken)
    for name in ("a", "b", "c"):
        bench.server.create_job(name)
    await bench.cycle(3)
    assert set(bench.server.pods) == {"a-a1", "c-a1"}
    assert degraded(bench, "b")[1] == "StepFailed"


async def test_a_bug_in_carrying_out_keeps_no_other_job(
    bench: Bench,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def manifest(job: Job, *arguments: Any, **more: Any) -> dict[str, Any]:
        if job.name == "b":
            raise ZeroDivisionError
        return indexer_pod(job, *arguments, **more)

    monkeypatch.setattr(actuator, "indexer_pod", manifest)
    for name in ("a", "b", "c"):
        bench.server.create_job(name)
    await bench.cycle(4)
    assert set(bench.server.pods) == {"a-a1", "c-a1"}
    assert degraded(bench, "b")[1] == "StepFailed"


async def test_a_job_that_cannot_be_read_is_left_alone_and_hides_no_other(bench: Bench) -> None:
    bench.server.create_job("a")
    bench.server.create_job("b")["metadata"]["creationTimestamp"] = "nonsense"
    await bench.cycle(2)
    assert set(bench.server.pods) == {"a-a1"}


async def test_services_that_do_not_answer_end_the_pass_after_a_few_steps(bench: Bench) -> None:
    """Each would wait for its time, and hundreds of jobs would keep a cancel waiting for minutes."""
    for number in range(20):
        bench.server.create_job(f"job-{number}")
    await bench.cycle()
    bench.server.faults = [Fault("PATCH .*/status", 0, times=100)]
    asked = len(bench.server.requests)
    await bench.cycle()
    assert (
        len([line for line in bench.server.requests[asked:] if line.startswith("PATCH")])
        <= 2 * MAX_UNANSWERED_STEPS
    )
    bench.server.faults = []
    await bench.cycle(3)
    assert all(bench.status(f"job-{number}") for number in range(20))


async def test_a_cycle_that_fails_is_told_and_is_no_reason_to_restart(
    bench: Bench,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cycles, several = itertools.count(1), asyncio.Event()

    async def refresh() -> None:
        if next(cycles) == 10:
            several.set()
        raise RuntimeError("a bug")

    metrics = Metrics()
    bench.restart(metrics=metrics)
    monkeypatch.setattr(bench.cache, "refresh", refresh)
    monkeypatch.setattr(cache_module, "STUCK_LOOP_SECONDS", 0.5)  # fewer than ten cycles take
    monkeypatch.setattr(loop_module, "RESYNC_INTERVAL", 0.05)
    running = asyncio.create_task(bench.loop.run())
    await asyncio.wait_for(several.wait(), 30)
    assert not bench.cache.unhealthy_reason()
    assert bench.cache.degraded_reason() == "the last cycle failed: RuntimeError: a bug"
    assert metrics.registry.get_sample_value("codebase_operator_cycle_errors_total")
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


# --- a database that answers and refuses -----------------------------------------------------------


@pytest.fixture
async def role(database: Database) -> AsyncIterator[str]:
    name = f"operator_{uuid4().hex[:8]}"
    await sql(database, f"CREATE ROLE {name} LOGIN; GRANT ALL ON ALL TABLES IN SCHEMA public TO {name};")
    await sql(
        database, f"GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {name}; GRANT ALL ON SCHEMA public TO {name}"
    )
    yield name
    await sql(database, f"DROP OWNED BY {name}; DROP ROLE {name}")


@pytest.mark.parametrize(
    ("broken", "mended", "says"),
    [
        ("ALTER ROLE {role} NOLOGIN", "ALTER ROLE {role} LOGIN", "let this role log in"),
        (
            "ALTER ROLE {role} SET default_transaction_read_only = on", "ALTER ROLE {role} RESET ALL",
            "takes no writes",
        ),
        ("REVOKE ALL ON jobs FROM {role}", "GRANT ALL ON jobs TO {role}", "permission denied for table jobs"),
        ("ALTER TABLE jobs RENAME TO gone", "ALTER TABLE gone RENAME TO jobs", "its schema is missing"),
    ],
    ids=["the role may not log in", "read-only", "rights withdrawn", "table missing"],
)  # fmt: skip
async def test_the_jobs_say_what_has_to_be_mended_and_go_on_when_it_is(
    bench: Bench,
    database: Database,
    dsn: str,
    role: str,
    broken: str,
    mended: str,
    says: str,
) -> None:
    own = await Database.open(dsn.replace("//postgres", f"//{role}"), name="test")
    bench.restart(database=own)
    try:
        bench.server.create_job("before")
        await bench.cycle(3)
        assert set(bench.server.pods) == {"before-a1"}
        await sql(database, broken.format(role=role))
        async with database.connection() as connection:
            await connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1", role
            )
        await asyncio.sleep(0.1)
        bench.server.create_job("after")
        await bench.cycle(3)
        status, reason, message = degraded(bench, "after")
        assert (status, reason) == ("True", "DatabaseMisconfigured")
        assert says in message and message.endswith("the job goes on by itself when this is mended")
        assert not bench.cache.unhealthy_reason() and says in (bench.cache.degraded_reason() or "")
        await sql(database, mended.format(role=role))
        await bench.cycle(4)
        assert set(bench.server.pods) == {"before-a1", "after-a1"}
        assert degraded(bench, "after")[0] == "False" and bench.cache.degraded_reason() is None
    finally:
        await own.close()


async def test_a_right_that_only_a_step_needs_is_told_on_its_job(
    bench: Bench,
    database: Database,
    dsn: str,
    role: str,
) -> None:
    own = await Database.open(dsn.replace("//postgres", f"//{role}"), name="test")
    bench.restart(database=own)
    try:
        await sql(database, f"REVOKE INSERT ON jobs FROM {role}")
        bench.server.create_job("a")
        await bench.cycle(3)
        status, reason, message = degraded(bench, "a")
        assert (status, reason) == ("True", "StepFailed") and "grant this right" in message
    finally:
        await own.close()
