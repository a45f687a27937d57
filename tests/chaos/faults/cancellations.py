"""Cancels, by every way and in the worst moments: one round stops three jobs in their midst.

Here the table's times are those from the cancel's answer to the end of the pod's last process, and `outage` is how
long the answer took. A cancel by kubectl is answered by the API server, which knows of no fence: there the time
counts from kubectl's end, and includes the operator's part.
"""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from codebase_index.api.job import JobState
from hack.deployment.chart import NAMESPACE
from hack.deployment.commands import kubectl
from hack.deployment.mcp_client import ToolFailed
from tests.chaos.faults.process_faults import stop
from tests.chaos.harness import truth
from tests.chaos.harness.cluster import Cluster, Victim
from tests.chaos.harness.containers import processes
from tests.chaos.harness.invariants import Expected, about, check
from tests.chaos.rounds import WINDOW, Bench, Outcome, over, row, start, victim_at

ANSWER_SECONDS = 1.0
QUIET_SECONDS = 2.0
"""How long a cancelled job is watched for writes: two heartbeats, some fifty batches."""

Cancel = Callable[[Bench, Victim], Awaitable[None]]
Disturbance = Callable[[Cluster, Sequence[Victim]], AbstractAsyncContextManager[None]]
"""Lasts while the block runs, and ends with it."""


@dataclass(frozen=True)
class Cancellation:
    """A row of the matrix: a way to cancel, and the disturbance during it."""

    name: str
    title: str
    cancel: Cancel
    answers: bool  # whether the answer says that the fence is in the database
    disturbance: Disturbance
    counted_from: str = "the answer"
    nodes: int = 1
    limit_seconds: float = 5.0
    repeated_limit: float = 0.01


async def run_cancellations(bench: Bench, kind: Cancellation) -> list[Outcome]:
    """Run one round: cancel three jobs in their midst, and check what is left of each."""
    since = datetime.now(UTC)
    job_ids = await start(bench)
    share = bench.rng.uniform(*WINDOW)
    victims = await asyncio.gather(*(victim_at(bench, job_id, share) for job_id in job_ids))
    async with kind.disturbance(bench.cluster, victims):
        outcomes = await asyncio.gather(*(_cancel(bench, kind, victim) for victim in victims))
    expected = [Expected(job_id, None, JobState.CANCELLED) for job_id in job_ids]
    broken = await check(bench.cluster, bench.facts, bench.pods, expected, since)
    return [
        replace(outcome, problems=(*outcome.problems, *about(broken, victim.job_id)))
        for outcome, victim in zip(outcomes, victims, strict=True)
    ]


async def _cancel(bench: Bench, kind: Cancellation, victim: Victim) -> Outcome:
    problems = []
    asked = time.monotonic()
    await kind.cancel(bench, victim)
    answer = time.monotonic() - asked
    answered = datetime.now(UTC)
    if kind.answers and (await row(bench.facts, victim.job_id))["state"] != JobState.CANCELLED.value:
        problems.append("the cancel answered before the fence was in the database")
    if kind.answers and answer > ANSWER_SECONDS:
        problems.append(f"the cancel took {answer:.2f} s to answer")
    gone = await _gone(victim, kind.limit_seconds * 4)
    if gone is None or (gone - answered).total_seconds() > kind.limit_seconds:
        problems.append(f"its processes were there {kind.limit_seconds:.0f} s after the answer")
    await over(bench, victim.job_id)  # what the invariants say when it is not
    problems += await _left_behind(bench, victim)
    job = await row(bench.facts, victim.job_id)
    return Outcome(
        fault=kind.name, job_id=str(victim.job_id),
        recovered=None if gone is None else max(0.0, (gone - answered).total_seconds()), working=None,
        outage=answer, repeated=job["files_repeated"] / job["files_total"], attempts=job["attempt"],
        failures=job["failures"], took=(answered - job["created_at"]).total_seconds(), problems=tuple(problems),
    )  # fmt: skip


async def _gone(victim: Victim, patience: float) -> datetime | None:
    """Wait until no process of the pod lives but the one that holds its network; None: they live on."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        living = await asyncio.to_thread(processes, victim.pod.uid)
        if all(process.arguments[0] == "/pause" for process in living):
            return datetime.now(UTC)
        await asyncio.sleep(0.05)
    return None


async def _left_behind(bench: Bench, victim: Victim) -> list[str]:
    """Say what is wrong with a cancelled job: it must stand still, its partial index be true and found."""
    problems = []
    before = await row(bench.facts, victim.job_id)
    await asyncio.sleep(QUIET_SECONDS)
    after = await row(bench.facts, victim.job_id)
    if dict(before) != {**dict(after), "slot": before["slot"]}:
        changed = [name for name in before.keys() if before[name] != after[name]]  # noqa: SIM118 (a record)
        problems.append(f"the cancelled job's {', '.join(changed)} changed")
    if after["completed_at"] is not None:
        problems.append("completed_at is set")
    found = await truth.stored(bench.facts, victim.job_id)
    wrong = [path for path, digest in found.items() if bench.truth.get(path) != digest]
    if wrong or len(found) != after["files_indexed"]:
        problems.append(
            f"the partial index holds {len(found)} files of {after['files_indexed']}, {len(wrong)} wrong"
        )
    async with bench.cluster.tools() as tools:
        answer = await tools.call("search_code", query="parse the configuration", repo=after["source"], limit=5)
        if not answer["results"]:
            problems.append("the partial index is not searchable")
        try:
            await tools.call("cancel_indexing_background", job_id=str(victim.job_id))
            problems.append("a second cancel was accepted")
        except ToolFailed as refusal:
            if f"cannot cancel: job {victim.job_id} is already cancelled" not in str(refusal):
                problems.append(f"a second cancel was refused with: {refusal}")
    return problems


# --- ways to cancel ----------------------------------------------------------------------------------


async def by_mcp(bench: Bench, victim: Victim) -> None:
    """As an agent does."""
    async with bench.cluster.tools() as tools:
        answer = await tools.call("cancel_indexing_background", job_id=str(victim.job_id))
        assert answer["status"] == "cancelled"


async def by_patch(_: Bench, victim: Victim) -> None:
    """As a user of kubectl does who wants to keep the job's resource."""
    patch = '{"spec": {"cancel": true}}'
    await asyncio.to_thread(
        kubectl, "patch", "ij", victim.name, "-n", NAMESPACE, "--type=merge", f"--patch={patch}"
    )


async def by_delete(_: Bench, victim: Victim) -> None:
    """As a user of kubectl does who wants the job gone."""
    await asyncio.to_thread(kubectl, "delete", "ij", victim.name, "-n", NAMESPACE)


# --- troubles ----------------------------------------------------------------------------------------


@asynccontextmanager
async def no_trouble(_: Cluster, __: Sequence[Victim]) -> AsyncIterator[None]:
    """All is well."""
    yield


@asynccontextmanager
async def operator_down(cluster: Cluster, _: Sequence[Victim]) -> AsyncIterator[None]:
    """The operator stands still: only the worker itself can see that it was cancelled."""
    stopped = processes((await cluster.component("operator")).uid)
    for process in stopped:
        process.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for process in stopped:
            process.signal(signal.SIGCONT)


@asynccontextmanager
async def worker_hangs(_: Cluster, victims: Sequence[Victim]) -> AsyncIterator[None]:
    """The workers stand still: they cannot see that they were cancelled."""
    for victim in victims:
        stop(victim)
    yield


CANCELLATIONS = (
    Cancellation("cancel-mcp", "cancel through MCP", by_mcp, True, no_trouble),
    Cancellation("cancel-patch", "cancel by kubectl patch", by_patch, False, no_trouble, "kubectl's end"),
    Cancellation("cancel-delete", "cancel by kubectl delete", by_delete, False, no_trouble, "kubectl's end"),
    Cancellation("cancel-operator-down", "cancel while the operator is down", by_mcp, True, operator_down),
    Cancellation("cancel-worker-hangs", "cancel while the worker hangs", by_mcp, True, worker_hangs),
)
