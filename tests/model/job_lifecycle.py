"""A life: users, operators, pods, kubelets and faults at the real store, planner and actuator, in any order.

Each rule is one thing that can happen. `oracle.Oracle` judges after every one; at the end everything is healed,
and every job must come to its end.
"""

from collections.abc import Coroutine, Sequence
from datetime import timedelta
from typing import Any, TypeVar
from uuid import UUID

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from codebase_index.api.job import FINAL, LABEL_ATTEMPT, LABEL_JOB_ID, ExitCode
from codebase_index.api.resource import IndexingJob
from codebase_index.store.errors import IllegalTransition, JobNotFound, StoreUnavailable
from codebase_index.store.jobs.jobs import Jobs
from codebase_operator.planning.planner import plan
from tests.model import content
from tests.model.cluster import Cluster, crash_loop, ended, running, terminating, termination
from tests.model.controller import Controller
from tests.model.faults import Died, Fault, FaultInjector, FaultyApi, FaultyDatabase, Outages
from tests.model.harness import Bench
from tests.model.oracle import Oracle, hold
from tests.model.worker import Worker

T = TypeVar("T")
WHICH = st.integers(0, 5)
CHOICE = st.integers(0, 5)
STATUSES = [409, 410, 429, 500]
FUSES = st.tuples(st.integers(0, 9), st.sampled_from(list(Fault)), st.sampled_from(STATUSES))
"""Where and how a fault is injected: number of the call, kind, status of the API's error."""

Drawn = tuple[int, Fault, int]


class JobLifecycle(RuleBasedStateMachine):
    """The state machine. `bench` is set by the tests."""

    bench: Bench

    @initialize(
        limit=st.integers(1, 2), skew=st.sampled_from([0, -600, 600]),
        jobs=st.lists(st.integers(0, 2), min_size=2), moves=st.integers(0, 5),
    )  # fmt: skip
    def begin(self, limit: int, skew: int, jobs: list[int], moves: int) -> None:
        bench = self.bench
        bench.wipe()
        self.ok = False
        self.outages, self.skew, self.created = Outages(), timedelta(seconds=skew), 0
        self.cluster = Cluster(clock=lambda: bench.now)
        self.pool = bench.database.pool
        self.operators = [
            Controller(self.cluster, self.database(), FaultyApi(self.cluster, self.outages), limit)
            for _ in range(2)
        ]
        self.workers: list[Worker] = []
        self.oracle = Oracle(bench.oracle, bench.database, self.cluster, limit)
        for repo in jobs[:4]:
            self.create(repo, False, False, 0, None)
        for _ in range(moves):
            self.all_goes_well(0, 3)
        self.ok = True

    def database(self) -> FaultyDatabase:
        return FaultyDatabase(self.pool, self.outages)

    # --- users -------------------------------------------------------------------------------------

    @rule(
        repo=st.integers(0, 2), mcp=st.booleans(), force=st.booleans(), priority=st.sampled_from([0, 0, 5]),
        limits=st.sampled_from([None, None, "deadline", "ttl"]),
    )  # fmt: skip
    def create(self, repo: int, mcp: bool, force: bool, priority: int, limits: str | None) -> None:
        if len(self.cluster.jobs) >= 6:
            return
        self.created += 1
        more = {"deadline": {"activeDeadlineSeconds": 300}, "ttl": {"ttlSecondsAfterFinished": 60}}
        body = self.cluster.add_job(
            source={"path": f"/repos/r{repo}"}, forceReindex=force, priority=priority, backoffLimit=2,
            **more.get(limits or "", {}),
        )  # fmt: skip
        self.oracle.entries[UUID(body["metadata"]["uid"])] = content.listing(repo, self.created)
        if mcp and not self.outages.database:
            self.bench.run(Jobs(self.database()).create(IndexingJob.parse(body)))

    @rule(which=WHICH, change=st.sampled_from(["cancel", "suspend", "suspend", "resume", "resume"]))
    def change(self, which: int, change: str) -> None:
        if name := self.pick(sorted(self.cluster.jobs), which):
            spec = {"cancel": True} if change == "cancel" else {"suspend": change == "suspend"}
            self.cluster.change_job(name, **spec)

    @rule(which=WHICH, drawn=FUSES)
    def cancel_through_mcp(self, which: int, drawn: Drawn) -> None:
        """The intent, then the fence; the answer may be lost, the server may die in between."""
        name = self.pick(sorted(self.cluster.jobs), which)
        if name is None:
            return
        uid = UUID(self.cluster.jobs[name]["metadata"]["uid"])
        self.cluster.change_job(name, cancel=True)
        self.bench.run(self._cancel(uid, injector := FaultInjector(*drawn)), injector)

    async def _cancel(self, uid: UUID, injector: FaultInjector) -> None:
        database = self.database()
        database.injector = injector
        try:
            row = await Jobs(database).cancel(uid)
        except (StoreUnavailable, IllegalTransition, JobNotFound, Died):
            return
        hold("a cancel that is answered is true", row.state in FINAL, row)

    @rule(which=WHICH)
    def delete(self, which: int) -> None:
        if name := self.pick(sorted(self.cluster.jobs), which):
            self.cluster.remove("jobs", name)

    # --- operators ---------------------------------------------------------------------------------

    @rule(which=st.integers(0, 1), hears=st.integers(0, 12), relist=st.booleans(), drawn=FUSES)
    def operate(self, which: int, hears: int, relist: bool, drawn: Drawn) -> None:
        operator = self.operators[which]
        operator.observe(hears)
        if relist:
            operator.relist()
        if not operator.busy:
            self.bench.run(operator.cycle(injector := FaultInjector(*drawn)), injector)

    operate_more = operate

    @rule(which=st.integers(0, 1), hears=st.integers(0, 12))
    def think(self, which: int, hears: int) -> None:
        operator = self.operators[which]
        operator.observe(hears)
        if not operator.busy:
            self.bench.run(operator.think(FaultInjector()))

    @rule(which=st.integers(0, 1), drawn=FUSES)
    def act(self, which: int, drawn: Drawn) -> None:
        operator = self.operators[which]
        if not operator.busy:
            self.bench.run(operator.act(injector := FaultInjector(*drawn)), injector)

    @rule(which=st.integers(0, 1))
    def operator_restarts(self, which: int) -> None:
        if not self.operators[which].busy:
            self.operators[which].start()

    # --- kubelets ----------------------------------------------------------------------------------

    @rule(which=WHICH)
    def pod_starts(self, which: int) -> None:
        pods = self.cluster.pods
        pending = [n for n in sorted(pods) if not pods[n].get("status") and not terminating(pods[n])]
        if name := self.pick(pending, which):
            labels, uid = pods[name]["metadata"]["labels"], pods[name]["metadata"]["uid"]
            job_id = UUID(labels[LABEL_JOB_ID])
            force = any(
                body["spec"].get("forceReindex")
                for body in self.cluster.jobs.values()
                if body["metadata"]["uid"] == str(job_id)
            )
            self.workers.append(
                Worker(
                    job_id,
                    int(labels[LABEL_ATTEMPT]),
                    name,
                    uid,
                    self.database(),
                    self.oracle.entries[job_id],
                    force,
                )
            )
            self.cluster.set_status(name, **running(self.bench.now + self.skew))

    @rule(which=WHICH)
    def pod_is_deleted(self, which: int) -> None:
        """By a user, by a drain, by the garbage collector."""
        if name := self.pick(sorted(self.cluster.pods), which):
            self.cluster.terminate(name)
        self.cluster.collect_garbage()

    @rule(which=WHICH)
    def pod_goes(self, which: int) -> None:
        """The kubelet ends what is to be deleted."""
        pods = self.cluster.pods
        if name := self.pick([n for n in sorted(pods) if terminating(pods[n])], which):
            self.end_pod(name)

    @rule(which=WHICH)
    def pod_is_evicted(self, which: int) -> None:
        if name := self.pick(self.cluster.unfinished(), which):
            self.kill(name)
            self.cluster.set_status(name, phase="Failed", reason="Evicted", containerStatuses=[])

    @rule(which=WHICH)
    def pod_vanishes(self, which: int) -> None:
        """Its object is removed by force, and its process lives on behind a broken network."""
        if name := self.pick(sorted(self.cluster.pods), which):
            self.cluster.remove("pods", name)

    @rule(which=WHICH, how=st.sampled_from(["power", "hang", "crash", "loop", "oom"]))
    def worker_breaks(self, which: int, how: str) -> None:
        worker = self.pick([w for w in self.workers if w.able], which)
        if worker is None:
            return
        match how:
            case "power":  # nobody is left to tell
                worker.kill()
            case "hang":
                worker.hangs = True
            case "crash":  # the supervisor starts it again
                worker.restart()
            case "loop" | "oom":
                worker.kill()
                code, reason = (137, "OOMKilled") if how == "oom" else (1, "Error")
                if self.runs(worker):
                    end = termination(code, reason, self.bench.now + self.skew)
                    self.cluster.set_status(worker.pod, **crash_loop(end, 1))

    @rule(which=WHICH)
    def container_restarts(self, which: int) -> None:
        """After its pause; the container may be one that hung."""
        worker = self.pick([w for w in self.workers if w.code == -9 and self.runs(w)], which)
        if worker and not terminating(self.cluster.pods[worker.pod]):
            worker.restart()
            self.cluster.set_status(worker.pod, **running(self.bench.now + self.skew, 1))

    @rule()
    def the_hung_go_on(self) -> None:
        for worker in self.workers:
            worker.hangs = False

    # --- indexers ----------------------------------------------------------------------------------

    @rule(which=WHICH, steps=st.lists(CHOICE, min_size=1, max_size=6), drawn=FUSES)
    def work(self, which: int, steps: list[int], drawn: Drawn) -> None:
        """A worker goes on, also one that lost its fence and does not know."""
        worker = self.pick([w for w in self.workers if w.able], which)
        injector = FaultInjector(*drawn)
        for choice in steps if worker else ():
            if worker and worker.able:
                self.step(worker, choice, injector)

    # Hypothesis takes every rule equally often; most of what matters happens here.
    work_more = work_still_more = work

    @rule(which=WHICH, drawn=FUSES)
    def beat(self, which: int, drawn: Drawn) -> None:
        if worker := self.pick([w for w in self.workers if w.able], which):
            self.guard(worker, worker.beat(injector := FaultInjector(*drawn)), injector)

    @rule(which=WHICH, drawn=FUSES)
    def service_is_away(self, which: int, drawn: Drawn) -> None:
        if worker := self.pick([w for w in self.workers if w.able], which):
            self.guard(worker, worker.wait_for_service(injector := FaultInjector(*drawn)), injector)

    @rule(which=WHICH, drawn=FUSES)
    def worker_gives_up(self, which: int, drawn: Drawn) -> None:
        if worker := self.pick([w for w in self.workers if w.able], which):
            self.guard(worker, worker.give_up(injector := FaultInjector(*drawn)), injector)

    # --- everything else ---------------------------------------------------------------------------

    @rule(database=st.booleans(), api=st.booleans())
    def outages_change(self, database: bool, api: bool) -> None:
        self.outages.database, self.outages.api = database, api

    @rule(seconds=st.sampled_from([1, 6, 20, 130]))
    def time_passes(self, seconds: int) -> None:
        """Those who are well show it."""
        self.bench.advance(seconds)
        for worker in [w for w in self.workers if w.able]:
            self.guard(worker, worker.beat(FaultInjector()), None)

    @rule()
    def the_halted_go_on(self) -> None:
        self.bench.wake()

    @rule(which=st.integers(0, 1), steps=st.integers(1, 3))
    def all_goes_well(self, which: int, steps: int) -> None:
        """One operator sees everything, and everybody moves a little."""
        operator = self.operators[which]
        operator.observe(1000)
        operator.relist()
        if not operator.busy:
            self.bench.run(operator.cycle(FaultInjector()))
        self.kubelets_do_their_work()
        for worker in [w for w in self.workers if w.able]:
            for choice in range(steps):
                if worker.able:
                    self.step(worker, choice, FaultInjector())

    @invariant()
    def holds(self) -> None:
        if getattr(self, "ok", False):
            self.ok = False
            self.bench.run(self.oracle.check(self.workers, self.bench.halted))
            self.ok = True

    # --- the end: everything is healed, and every job has a way out ---------------------------------

    def teardown(self) -> None:
        if not getattr(self, "ok", False):
            return  # it failed already
        self.bench.wake()
        self.outages.database = self.outages.api = False
        self.the_hung_go_on()
        for name in list(self.cluster.jobs):
            self.cluster.change_job(name, suspend=False)
        for _ in range(40 + 10 * self.created):
            if self.calm():
                break
            self.all_goes_well(0, 4)
            self.all_goes_well(1, 4)
            self.holds()
            for worker in [w for w in self.workers if w.code == -9 and self.runs(w)]:
                worker.restart()
                self.cluster.set_status(worker.pod, **running(self.bench.now + self.skew, 1))
            self.time_passes(6)
        self.bench.run(self.everything_is_over())

    def calm(self) -> bool:
        """Whether nothing is left to do, by the database and by the operator's own plan."""
        active = self.bench.loop.run_until_complete(
            self.bench.oracle.fetchval(
                "SELECT count(*) FROM jobs WHERE slot OR state NOT IN ('completed', 'failed', 'cancelled')"
            )
        )
        rows = self.bench.loop.run_until_complete(self.bench.oracle.fetchval("SELECT count(*) FROM jobs"))
        return not active and rows >= len(self.cluster.jobs) and not self.cluster.unfinished() and self.at_rest()

    def at_rest(self) -> bool:
        operator = self.operators[0]
        operator.observe(1000)
        operator.relist()
        self.bench.run(operator.think(FaultInjector()))
        return operator.planned is not None and not operator.planned[0]

    async def everything_is_over(self) -> None:
        rows = await self.bench.oracle.fetch("SELECT cr_name, state, slot, attempt, message FROM jobs")
        stuck = [dict(row) for row in rows if row["state"] not in FINAL]
        hold("every state has a way out", not stuck, stuck)
        leaked = [row["cr_name"] for row in rows if row["slot"]]
        hold("no slot is left when all is over", not leaked, leaked)
        hold("no pod is left when all is over", not self.cluster.unfinished(), self.cluster.unfinished())
        planned = self.operators[0].planned
        assert planned is not None
        again = plan(planned[1])
        hold("the plan comes to rest", not again, again)

    # --- helpers -----------------------------------------------------------------------------------

    @staticmethod
    def pick(found: Sequence[T], which: int) -> T | None:
        return found[which % len(found)] if found else None

    def step(self, worker: Worker, choice: int, injector: FaultInjector) -> None:
        self.guard(worker, worker.step(choice, injector), injector)

    def guard(self, worker: Worker, step: Coroutine[Any, Any, None], injector: FaultInjector | None) -> None:
        try:
            self.bench.run(step, injector)
        except Died:
            worker.restart()
        self.report_ends()

    def report_ends(self) -> None:
        """The kubelets tell of workers that ended for good."""
        for worker in self.workers:
            over = worker.code in (ExitCode.DONE, ExitCode.FAILED, ExitCode.FENCED)
            if over and self.runs(worker):
                end = {"terminated": termination(0, "Completed", self.bench.now + self.skew)}
                self.cluster.set_status(worker.pod, phase="Succeeded", containerStatuses=[{"state": end}])

    def runs(self, worker: Worker) -> bool:
        """Whether the worker's pod is there and has not ended."""
        body = self.cluster.pods.get(worker.pod)
        return body is not None and body["metadata"]["uid"] == worker.pod_uid and not ended(body)

    def kill(self, name: str) -> None:
        for worker in self.workers:
            if worker.pod_uid == self.cluster.pods[name]["metadata"]["uid"] and worker.code is None:
                worker.kill()

    def end_pod(self, name: str) -> None:
        self.kill(name)
        self.cluster.remove("pods", name)

    def kubelets_do_their_work(self) -> None:
        self.cluster.collect_garbage()
        for name, body in sorted(self.cluster.pods.items()):
            if terminating(body):
                self.end_pod(name)
        for _ in range(len(self.cluster.pods)):
            self.pod_starts(0)
