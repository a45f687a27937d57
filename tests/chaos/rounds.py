"""A round: three jobs at once on equal repositories, a fault in the midst of each, and what became of them."""

import asyncio
import random
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from codebase_index.api.job import FINAL, JobState
from hack.deployment.mcp_client import ToolFailed
from tests.chaos.faults.faults import Fault
from tests.chaos.harness import truth
from tests.chaos.harness.client import Client
from tests.chaos.harness.cluster import Cluster, Pod, Victim
from tests.chaos.harness.facts import Facts
from tests.chaos.harness.invariants import Expected, about, check
from tests.chaos.harness.podwatch import PodWatch
from tests.chaos.harness.trace import Change, advanced_after, changes, claimed_after, witness
from tests.chaos.harness.truth import Digests
from tests.fixtures.generate_test_repo import generate
from tests.support.cluster import REPOSITORIES

JOBS = 3
FILES = 400
"""Of some 32 kB: three jobs take some 10 s on two cores, and 1 % of the files are four."""

WINDOW = (0.2, 0.5)
"""Share of the files after which a fault is injected; a job is beyond 60 % before the slowest fault is done."""

END_SECONDS = 240.0
"""A job that is not over so long after its start hangs."""

SERVER_SECONDS = 60.0
"""Until the server of a cluster that was just broken on purpose takes calls again."""


class TooLate(Exception):
    """A job was over before its fault could be done: the round proves nothing, and has to be done again."""


@dataclass(frozen=True)
class Outcome:
    """What became of one job of a round. Times in seconds."""

    fault: str
    job_id: str
    recovered: float | None  # from the counted moment to the worker's claim, or to the next finished file
    working: float | None  # to the next finished file
    outage: float  # from the fault to the counted moment
    repeated: float  # share of the files that were started more than once
    attempts: int
    failures: int
    took: float
    problems: tuple[str, ...]


@dataclass(frozen=True)
class Injection:
    """When a fault was injected, from when recovery counts, and what the fault itself found to be wrong."""

    began: datetime
    moment: datetime
    problem: str | None = None


@dataclass(frozen=True)
class Bench:
    """What rounds are run with."""

    cluster: Cluster
    facts: Facts
    pods: PodWatch
    repositories: Sequence[Path]
    truth: Digests
    rng: random.Random

    @classmethod
    @asynccontextmanager
    async def open(cls, rng: random.Random) -> AsyncIterator["Bench"]:
        """Prepare repositories, their truth, and the recorders."""
        folders = [repository(f"chaos-{FILES}-{copy}", FILES) for copy in range(JOBS)]
        expected = await asyncio.to_thread(truth.compute, folders[0])
        async with (
            Cluster.open() as cluster,
            Facts.open(cluster) as facts,
            witness(facts),
            PodWatch.open(cluster.api) as pods,
        ):
            yield cls(cluster, facts, pods, folders, expected, rng)


def repository(name: str, files: int, lines: int = 200) -> Path:
    """Return a generated repository, made once; equal numbers of files, and lines in each, are equal ones."""
    folder = REPOSITORIES / name
    complete = folder.with_suffix(".complete")
    if not complete.exists():
        shutil.rmtree(folder, ignore_errors=True)
        generate(folder, file_count=files, avg_lines=lines)
        complete.touch()
    return folder


async def run_round(bench: Bench, fault: Fault) -> list[Outcome]:
    """Run one round of a fault, and bring the cluster back to a fresh state."""
    since = datetime.now(UTC)
    job_ids = await start(bench)
    async with Client.watching(bench.cluster, job_ids) as client:
        if fault.hits_all:
            injections = [await _inject(bench, fault, job_ids)] * len(job_ids)
        else:
            injections = await _all(*(_inject(bench, fault, [job_id]) for job_id in job_ids))
        await asyncio.gather(*(over(bench, job_id) for job_id in job_ids))
        if fault.kills_server:  # small jobs may be over before it is back
            await client.until_answered(injections[0].moment, fault.limit_seconds)
    expected = [
        Expected(job_id, bench.truth, may_be_suspended=fault.suspends, repeated_limit=fault.repeated_limit)
        for job_id in job_ids
    ]
    broken = await check(bench.cluster, bench.facts, bench.pods, expected, since)
    broken += [f"job {job_id}: {problem}" for job_id in job_ids for problem in client.wrong(job_id)]
    histories = await changes(bench.facts, job_ids)
    outcomes = []
    for job_id, injection in zip(job_ids, injections, strict=True):
        recovery = _recovery(fault, histories[job_id], client, job_id, injection)
        outcomes.append(await _outcome(bench, fault, job_id, injection, recovery, about(broken, job_id)))
    await fault.settle(bench.cluster)
    return outcomes


async def start(bench: Bench, folders: Sequence[Path] = (), *, anew: bool = True) -> list[UUID]:
    """Start a job for each folder through the MCP server, on no index at all; what was noted is forgotten.

    Without folders those of the bench. Not `anew`: on the index that is there, every file of which is done again.
    """
    folders = folders or bench.repositories
    # Not TRUNCATE: its lock and those of a transaction that still notes something wait for each other.
    await bench.facts.fetch("DELETE FROM chaos.changes")
    await bench.facts.fetch("DELETE FROM chaos.writes")
    if anew:
        await bench.facts.fetch("DELETE FROM indexes WHERE source = ANY ($1::text[])", [*map(str, folders)])
    active = [job["id"] for job in await _jobs(bench, folders) if JobState(job["state"]) not in FINAL]
    assert not active, f"jobs of an earlier round are still active: {active}"
    # At once: on a busy machine a small job may be over before a third call has been answered.
    return await asyncio.gather(*(_start(bench.cluster, folder, force=not anew) for folder in folders))


async def _start(cluster: Cluster, folder: Path, *, force: bool) -> UUID:
    """Start a job as a patient user does: after the last fault, a call may still meet the former server."""
    deadline = time.monotonic() + SERVER_SECONDS
    while True:
        try:
            async with asyncio.timeout(10), cluster.tools() as tools:
                arguments = {"repo_path": str(folder), "force_reindex": force}
                return UUID((await tools.call("start_indexing_background", **arguments))["job_id"])
        except (ToolFailed, OSError, TimeoutError, RuntimeError):
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.5)


async def row(facts: Facts, job_id: UUID) -> Any:
    """Return a job's row. Raises LookupError where there is none."""
    for found in await facts.fetch("SELECT * FROM jobs WHERE id = $1", job_id):
        return found
    raise LookupError(f"there is no job {job_id}")


async def victim_at(bench: Bench, job_id: UUID, share: float) -> Victim:
    """Wait until a job has finished this share of its files. Raises TooLate when it is over before."""
    deadline = time.monotonic() + END_SECONDS
    pod: Pod | None = None  # asked for in time: the API server takes longer than the job for its last files
    while True:
        job = await row(bench.facts, job_id)
        if job["pod"] and (pod is None or pod.name != job["pod"]):
            pod = await bench.cluster.pod(job["pod"])
        if JobState(job["state"]) in FINAL:
            raise TooLate(f"job {job_id} is {job['state']} before the fault: {job['message']}")
        assert time.monotonic() < deadline, f"job {job_id} does not start: {job['message']}"
        done = job["files_indexed"] + job["files_skipped"]
        if pod and job["files_total"] and done >= share * job["files_total"]:
            return Victim(job_id, job["cr_name"], job["attempt"], pod)
        await asyncio.sleep(0.05)


async def over(bench: Bench, job_id: UUID) -> None:
    """Wait until a job is final, or hangs."""
    deadline = time.monotonic() + END_SECONDS
    while time.monotonic() < deadline:
        if JobState((await row(bench.facts, job_id))["state"]) in FINAL:
            return
        await asyncio.sleep(0.2)


async def _all(*injections: Awaitable[Injection]) -> list[Injection]:
    """Wait for all of them, also when one was too late: none may hit the next round."""
    done = await asyncio.gather(*injections, return_exceptions=True)
    for end in done:
        if isinstance(end, BaseException):
            raise end
    return [end for end in done if isinstance(end, Injection)]


async def over_all(bench: Bench) -> None:
    """Wait until no job of the bench's repositories is active."""
    await asyncio.gather(*(over(bench, job["id"]) for job in await _jobs(bench, bench.repositories)))


async def _jobs(bench: Bench, folders: Sequence[Path]) -> Sequence[Any]:
    return await bench.facts.fetch("SELECT * FROM jobs WHERE source = ANY ($1::text[])", [*map(str, folders)])


async def _inject(bench: Bench, fault: Fault, job_ids: Sequence[UUID]) -> Injection:
    """Inject the fault when every one of the jobs is far enough."""
    share = bench.rng.uniform(*WINDOW)
    victims = await asyncio.gather(*(victim_at(bench, job_id, share) for job_id in job_ids))
    began = datetime.now(UTC)
    try:
        return Injection(began, await fault.inject(bench.cluster, victims))
    except (AssertionError, TimeoutError) as error:  # what the fault itself found broken
        return Injection(began, datetime.now(UTC), str(error) or type(error).__name__)


@dataclass(frozen=True)
class Recovery:
    """When a job had recovered from a fault, and when it finished its next file."""

    recovered: datetime | None
    working: datetime | None


def _recovery(
    fault: Fault, history: Sequence[Change], client: Client, job_id: UUID, injection: Injection
) -> Recovery:
    working = advanced_after(history, injection.moment)
    if fault.kills_worker:
        return Recovery(claimed_after(history, injection.began), working)
    if fault.kills_server:
        return Recovery(client.answered_after(job_id, injection.moment), working)
    return Recovery(working, working)


async def _outcome(
    bench: Bench, fault: Fault, job_id: UUID, injection: Injection, recovery: Recovery, broken: Sequence[str]
) -> Outcome:
    job = await row(bench.facts, job_id)
    recovered = _seconds(injection.moment, recovery.recovered)
    problems = [*broken, *([injection.problem] if injection.problem else [])]
    if recovered is None:
        problems.append("did not recover")
    elif recovered > fault.limit_seconds:
        problems.append(f"recovered after {recovered:.1f} s")
    ended = job["completed_at"] or job["cancelled_at"] or datetime.now(UTC)
    return Outcome(
        fault=fault.name, job_id=str(job_id), recovered=recovered,
        working=_seconds(injection.moment, recovery.working),
        outage=(injection.moment - injection.began).total_seconds(),
        repeated=job["files_repeated"] / (job["files_total"] or 1), attempts=job["attempt"],
        failures=job["failures"], took=(ended - job["created_at"]).total_seconds(), problems=tuple(problems),
    )  # fmt: skip


def _seconds(moment: datetime, later: datetime | None) -> float | None:
    return None if later is None else max(0.0, (later - moment).total_seconds())
