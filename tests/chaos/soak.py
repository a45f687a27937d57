"""The soak: a queue that never runs dry, users who change their minds, and a fault every few seconds."""

import asyncio
import contextlib
import time
import traceback
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx

from codebase_index.api.job import FINAL, JobState
from hack.deployment.mcp_client import ToolFailed
from tests.chaos.faults import machine_faults
from tests.chaos.faults.catalog import FAULTS
from tests.chaos.faults.faults import Fault
from tests.chaos.harness import truth
from tests.chaos.harness.api import ApiRefused
from tests.chaos.harness.cluster import JOBS as JOBS_PATH
from tests.chaos.harness.cluster import Victim
from tests.chaos.harness.invariants import Expected, check
from tests.chaos.harness.machines import LOST_NODE
from tests.chaos.harness.truth import Digests
from tests.chaos.rounds import Bench, repository, row

SIZES = (40, 200, 600)
COPIES = 4
ACTIVE = 8
"""Jobs that are not over: three run, so at least five wait."""

PAUSE_SECONDS = (5.0, 30.0)
CANCELLED_SHARE, SUSPENDED_SHARE, FORCED_SHARE = 0.1, 0.1, 0.6
LAST_SECONDS = 600.0
"""How long the last jobs may take to their end when no more faults come."""

FAILED_LIMIT = 0.02

MOST_STUMBLES = 10
"""Of the harness, over faults of its own making that it does not expect; more mean that it is broken."""


@dataclass
class Started:
    """A job of the soak: what was done to it, and so what has to become of it."""

    job_id: UUID
    folder: Path
    cancelled: bool = False
    suspended: bool = False
    faults: int = 0  # faults while it ran, each of which may repeat 1 % of its files, or one file


@dataclass
class Result:
    """What the soak ends with."""

    minutes: float = 0.0
    states: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    not_done: list[str] = field(default_factory=list)
    stumbles: list[str] = field(default_factory=list)
    """Errors of the harness itself."""

    def as_json(self) -> dict[str, Any]:
        """Return the result for a file."""
        return {**vars(self), "states": dict(self.states), "faults": dict(self.faults), "passed": self.passed}

    @property
    def failed_share(self) -> float:
        """Failed jobs, of all."""
        return self.states["failed"] / max(1, self.states.total())

    @property
    def passed(self) -> bool:
        """Whether nothing is broken and few enough jobs failed, each with a reason."""
        return not self.broken and self.failed_share < FAILED_LIMIT


@dataclass
class Soak:
    """The state of a running soak."""

    bench: Bench
    truths: dict[Path, Digests]
    until: float  # by the monotonic clock
    result: Result = field(default_factory=Result)
    jobs: dict[UUID, Started] = field(default_factory=dict)
    ended: set[UUID] = field(default_factory=set)
    shared: asyncio.Lock = field(default_factory=asyncio.Lock)  # held while what all jobs share is broken

    @property
    def active(self) -> list[Started]:
        """Jobs that were not over when they were last looked at."""
        return [job for job_id, job in self.jobs.items() if job_id not in self.ended]

    async def lasting(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do a part of the soak to its end, and again when it stumbles: what that was is told at the end."""
        while True:
            try:
                return await work()
            except Exception as error:
                traceback.print_exc()
                self.result.stumbles.append(f"{work.__name__}: {type(error).__name__}: {error}"[:200])
                if len(self.result.stumbles) > MOST_STUMBLES:
                    raise
                await asyncio.sleep(1)

    async def feed(self) -> None:
        """Keep the queue full."""
        while True:
            await self.look()
            busy = {job.folder for job in self.active}
            free = [folder for folder in self.truths if folder not in busy]
            if len(self.active) < ACTIVE and free:
                await self._start(self.bench.rng.choice(free))
            else:
                await asyncio.sleep(0.5)

    async def meddle(self) -> None:
        """Cancel some jobs and suspend others for a while, at any time of their lives."""
        rng = self.bench.rng
        while True:
            await asyncio.sleep(rng.uniform(2, 6))
            untouched = [job for job in self.active if not job.cancelled and not job.suspended]
            if not untouched:
                continue
            job, lot = rng.choice(untouched), rng.random()
            if lot < CANCELLED_SHARE:
                job.cancelled = await self._ask({"cancel": True}, job)
            elif lot < CANCELLED_SHARE + SUSPENDED_SHARE:
                job.suspended = True
                job.faults += 1  # what was in flight is started again
                await self._ask({"suspend": True}, job)
                await asyncio.sleep(rng.uniform(2, 8))
                await self._ask({"suspend": False}, job)  # again at the end, where the API server is away now

    async def inject_faults(self) -> None:
        """Do a random fault every few seconds, also while an earlier one lasts; of shared things one at a time."""
        rng = self.bench.rng
        possible = [fault for fault in FAULTS if fault.nodes <= self.bench.cluster.nodes and not fault.suspends]
        async with asyncio.TaskGroup() as running:
            while time.monotonic() < self.until:
                await asyncio.sleep(rng.uniform(*PAUSE_SECONDS))
                fault = rng.choice([fault for fault in possible if not (fault.hits_all and self.shared.locked())])
                victims = await self._victims()
                if victims:
                    running.create_task(self._inject(fault, victims))

    async def report(self) -> None:
        """Print a line each minute."""
        began = time.monotonic()
        while True:
            await asyncio.sleep(60)
            states = ", ".join(f"{count} {state}" for state, count in sorted(self.result.states.items()))
            minutes, faults = (time.monotonic() - began) / 60, self.result.faults.total()
            print(f"{minutes:3.0f} min: {states}; {len(self.active)} active; {faults} faults", flush=True)

    async def look(self) -> None:
        """Note the jobs that have ended, and check the index of each that completed while nobody rewrites it."""
        for job in self.active:
            try:
                found = await row(self.bench.facts, job.job_id)
            except LookupError:
                continue  # started while the database was away: the operator writes its row when it is back
            state = JobState(found["state"])
            if state not in FINAL:
                continue
            self.ended.add(job.job_id)
            self.result.states[state.value] += 1
            if state is JobState.FAILED:
                self.result.failures.append(f"{found['error_type']}: {found['error_message']}")
            if state is JobState.COMPLETED:
                differs = truth.differences(
                    self.truths[job.folder], await truth.stored(self.bench.facts, job.job_id)
                )
                self.result.broken += [f"job {job.job_id}: {problem}" for problem in differs]

    async def _start(self, folder: Path) -> None:
        force = self.bench.rng.random() < FORCED_SHARE
        try:
            async with asyncio.timeout(10), self.bench.cluster.tools() as tools:
                started = await tools.call("start_indexing_background", repo_path=str(folder), force_reindex=force)
        except (ToolFailed, OSError, TimeoutError, RuntimeError):
            await asyncio.sleep(1)  # the server or what it needs is away; a user would try again, too
        else:
            job_id = UUID(started["job_id"])
            self.jobs.setdefault(job_id, Started(job_id, folder))

    async def _ask(self, spec: dict[str, bool], job: Started) -> bool:
        """Change a job's spec as kubectl does; False when that was not possible."""
        try:
            name = (await row(self.bench.facts, job.job_id))["cr_name"]
            await self.bench.cluster.api.patch(f"{JOBS_PATH}/{name}", {"spec": spec})
        except (ApiRefused, httpx.HTTPError, LookupError):
            return False
        return True

    async def _victims(self) -> list[Victim]:
        """Return the running jobs whose pods are there."""
        victims = []
        for job in self.active:
            with contextlib.suppress(LookupError, ApiRefused, httpx.HTTPError):
                found = await row(self.bench.facts, job.job_id)
                if found["state"] == JobState.RUNNING.value and found["pod"]:
                    pod = await self.bench.cluster.pod(found["pod"])
                    victims.append(Victim(job.job_id, found["cr_name"], found["attempt"], pod))
        return victims

    async def _inject(self, fault: Fault, victims: Sequence[Victim]) -> None:
        self.result.faults[fault.name] += 1
        for victim in victims:
            self.jobs[victim.job_id].faults += 5 if fault.repeated_limit > 0.01 else 1
        if fault.nodes > 1:
            chosen = [victim for victim in victims if victim.pod.node == f"node{LOST_NODE}"]
        else:
            chosen = list(victims) if fault.hits_all else [self.bench.rng.choice(victims)]
        async with self.shared if fault.hits_all else contextlib.nullcontext():
            cluster = self.bench.cluster
            for step in (partial(fault.inject, cluster, chosen), partial(fault.settle, cluster)):
                try:
                    await step()
                except (AssertionError, LookupError, ApiRefused, TimeoutError, OSError, httpx.HTTPError) as error:
                    # The victim ended by itself meanwhile, or an earlier fault holds: no fault then.
                    self.result.not_done.append(f"{fault.name}: {type(error).__name__}: {error}"[:200])


async def run(bench: Bench, seconds: float) -> Result:
    """Run for so long, let the last jobs end, and check everything over all of it."""
    began, since = time.monotonic(), datetime.now(UTC)
    soak = Soak(bench, await asyncio.to_thread(_truths), time.monotonic() + seconds)
    faults = asyncio.create_task(soak.lasting(soak.inject_faults))
    others = [asyncio.create_task(soak.lasting(work)) for work in (soak.feed, soak.meddle, soak.report)]
    # Until the last fault is over, or bugs of the harness end one of them.
    await asyncio.wait([faults, *others], return_when=asyncio.FIRST_COMPLETED)
    for task in (faults, *others):
        task.cancel()
    ends = await asyncio.gather(faults, *others, return_exceptions=True)
    await machine_faults.undo_all(bench.cluster)
    for end in ends:
        if isinstance(end, Exception):
            raise end
    await _resume_all(soak)
    deadline = time.monotonic() + LAST_SECONDS
    while soak.active and time.monotonic() < deadline:
        await asyncio.sleep(1)
        await soak.look()
    expected = [await _expected(soak, job) for job in soak.jobs.values()]
    soak.result.broken += await check(bench.cluster, bench.facts, bench.pods, expected, since)
    soak.result.minutes = round((time.monotonic() - began) / 60, 1)
    return soak.result


def show(result: Result) -> None:
    """Print the result."""
    print(f"\n{result.minutes} min, {result.faults.total()} faults: {dict(result.faults)}")
    print(f"{result.states.total()} jobs: {dict(result.states)}; failure rate {100 * result.failed_share:.2f} %")
    for failure in result.failures:
        print(f"  failed: {failure}")
    for error in result.not_done:
        print(f"  not done: {error}")
    for error in result.stumbles:
        print(f"  the harness stumbled: {error}")
    print(f"{len(result.broken)} broken invariants")
    for problem in result.broken:
        print(f"  {problem}")


def _truths() -> dict[Path, Digests]:
    """Make the repositories; copies of one size share their truth."""
    truths = {}
    for size in SIZES:
        folders = [repository(f"soak-{size}-{copy}", size) for copy in range(COPIES)]
        truths.update(dict.fromkeys(folders, truth.compute(folders[0])))
    return truths


async def _resume_all(soak: Soak) -> None:
    """Resume what a suspend left behind when the time was over."""
    for job in soak.active:
        if job.suspended:
            await soak._ask({"suspend": False}, job)


async def _expected(soak: Soak, job: Started) -> Expected:
    """Say what has to have become of a job: a cancel may come too late, and failures are counted apart."""
    found = await row(soak.bench.facts, job.job_id)
    state = JobState(found["state"])
    fine = state is JobState.FAILED or (state is JobState.CANCELLED and job.cancelled)
    wanted = state if fine else JobState.COMPLETED
    files = found["files_total"] or 1
    limit = max(1, job.faults) * max(0.01, 1 / files) + 1e-9
    return Expected(job.job_id, None, wanted, job.suspended, limit)
