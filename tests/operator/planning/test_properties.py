"""Properties that hold whatever happens, in whatever order: Hypothesis plays users, nodes, pods and database."""

from dataclasses import replace
from datetime import timedelta
from uuid import UUID

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from codebase_index.api.job import FINAL, JobState
from codebase_index.api.resource import IndexingJobSpec
from codebase_operator.model.site_policy import SitePolicy
from codebase_operator.model.snapshot import FINAL_PHASES, STUCK_AFTER, Job, Pod
from codebase_operator.planning.lifecycle import MAX_DISRUPTIONS, RETENTION
from codebase_operator.reporting.conditions import DEGRADED, STUCK
from tests.operator.builders import job
from tests.operator.simulation import Simulation

REPOSITORIES = 3

WHICH = st.integers(0, 7)


class Life(RuleBasedStateMachine):
    """After every event the plan is carried out until it is at rest; then the invariants must hold."""

    def __init__(self) -> None:
        super().__init__()
        self.simulation = Simulation()
        self.created = 0

    @initialize(limit=st.integers(1, 3), repos=st.lists(st.integers(1, REPOSITORIES), min_size=2, max_size=6))
    def begin(self, limit: int, repos: list[int]) -> None:
        self.simulation.limit = limit
        for repo in repos:
            self.create(repo, 0, None)

    # --- users -------------------------------------------------------------------------------------

    @rule(
        repo=st.integers(1, REPOSITORIES),
        priority=st.sampled_from([0, 0, 5]),
        deadline=st.sampled_from([None, 60]),
    )
    def create(self, repo: int, priority: int, deadline: int | None) -> None:
        self.add(repo, priority, deadline)
        self.simulation.settle()

    def add(self, repo: int, priority: int, deadline: int | None) -> None:
        self.created += 1
        new = job(
            f"j{self.created}", repo=f"r{repo}", priority=priority, activeDeadlineSeconds=deadline, backoffLimit=2
        )
        self.simulation.jobs[new.id] = replace(new, created=self.simulation.now)

    def change(self, job_: Job | None, **spec: bool) -> None:
        if job_ is None or job_.spec is None:
            return
        changed = IndexingJobSpec.model_validate({**job_.spec.model_dump(by_alias=True), **spec})
        self.simulation.jobs[job_.id] = replace(job_, spec=changed)
        self.simulation.settle()

    @rule(which=WHICH)
    def cancel(self, which: int) -> None:
        self.change(self.any_job(which), cancel=True)

    @rule(which=WHICH, suspend=st.booleans())
    def suspend(self, which: int, suspend: bool) -> None:
        self.change(self.any_job(which), suspend=suspend)

    @rule(which=WHICH)
    def delete(self, which: int) -> None:
        job_ = self.any_job(which)
        if job_:
            del self.simulation.jobs[job_.id]
        self.simulation.settle()

    # --- pods and nodes ----------------------------------------------------------------------------

    @rule(which=WHICH)
    def pod_claims(self, which: int) -> None:
        if pod := self.any_pod(which):
            self.simulation.claim(pod)
        self.simulation.settle()

    @rule(which=WHICH)
    def pod_completes(self, which: int) -> None:
        if pod := self.any_pod(which):
            self.simulation.complete(pod)
        self.simulation.settle()

    @rule(which=WHICH)
    def pod_crashes(self, which: int) -> None:
        if pod := self.any_pod(which):
            self.simulation.crash(pod)
        self.simulation.settle()

    @rule(which=WHICH, how=st.sampled_from(["evicted", "deleted", "gone"]))
    def pod_is_taken_away(self, which: int, how: str) -> None:
        pod = self.any_pod(which)
        if pod is None:
            return
        if how == "evicted":
            self.simulation.pods[pod.name] = replace(pod, finished=True, failure="Evicted", running_since=None)
        elif how == "deleted":
            self.simulation.pods[pod.name] = replace(pod, deleted_at=self.simulation.now + timedelta(seconds=3))
        else:
            del self.simulation.pods[pod.name]
        self.simulation.settle()

    @rule(which=WHICH)
    def node_is_lost(self, which: int) -> None:
        """The heart stops, and the pod object says what it said before."""
        pod = self.any_pod(which)
        current = self.simulation.rows.get(pod.job_id) if pod else None
        if pod and current and current.heartbeat_at:
            self.simulation.change(pod.job_id, heartbeat_at=self.simulation.now - timedelta(seconds=60))
            self.simulation.settle()

    @rule(repo=st.integers(1, REPOSITORIES), calls=st.integers(0, 6), which=WHICH, end=st.booleans())
    def operator_crashes(self, repo: int, calls: int, which: int, end: bool) -> None:
        """In the middle of whatever is due after a new job and the end, or the loss, of a pod."""
        self.add(repo, 0, None)
        if pod := self.any_pod(which):
            if end:
                self.simulation.claim(pod)
                self.simulation.complete(self.simulation.pods[pod.name])
            else:
                del self.simulation.pods[pod.name]
        self.simulation.crash_after(calls)
        self.simulation.settle()

    # --- the database and time ---------------------------------------------------------------------

    @rule(away=st.booleans())
    def database(self, away: bool) -> None:
        if away != self.simulation.away:
            self.simulation.away = away
            self.simulation.database_since = self.simulation.now
        self.simulation.settle()

    @rule(which=WHICH)
    def the_service_is_away(self, which: int) -> None:
        rows = sorted(self.simulation.rows.values(), key=lambda r: r.cr_name)
        if not rows or self.simulation.away:
            return
        current = rows[which % len(rows)]
        if current.state is JobState.RUNNING:
            self.simulation.change(current.id, state=JobState.BLOCKED, blocked_since=self.simulation.now)
        elif current.state is JobState.BLOCKED:
            self.simulation.change(current.id, state=JobState.RUNNING, blocked_since=None)
        self.simulation.settle()

    @rule(seconds=st.sampled_from([1, 4, 20, 200, 4_000, 700_000]))
    def time_passes(self, seconds: int) -> None:
        """The last is longer than the time for which a final job is kept."""
        self.simulation.advance(seconds)
        self.simulation.settle()

    # --- what must hold ----------------------------------------------------------------------------

    @invariant()
    def never_over_the_limit(self) -> None:
        assert (
            len({pod.job_id for pod in self.simulation.pods.values() if not pod.finished}) <= self.simulation.limit
        )

    @invariant()
    def no_slot_is_leaked(self) -> None:
        """A slot belongs to a job that has a pod, or is about to get one."""
        if self.simulation.away:
            return
        with_pods = {pod.job_id for pod in self.simulation.pods.values() if not pod.finished}
        for row in self.simulation.rows.values():
            if row.slot and row.id not in with_pods:
                job_ = self.simulation.jobs.get(row.id)
                assert row.state not in FINAL and job_ and job_.spec and not job_.spec.suspend, row

    @invariant()
    def no_slot_is_held_for_ever_without_work(self) -> None:
        if self.simulation.away:
            return
        site, uptime, now = SitePolicy(), self.simulation.uptime, self.simulation.now
        assert site.start_deadline and site.blocked_deadline
        for row in self.simulation.rows.values():
            job_ = self.simulation.jobs.get(row.id)
            if not row.slot or row.state in FINAL or job_ is None or self.stands_aside(job_):
                continue  # its slot goes with its pods, within seconds: no_slot_is_leaked
            if row.state is JobState.BLOCKED:
                assert row.blocked_since
                assert uptime.answered_time(row.blocked_since, now) <= site.blocked_deadline, row
            elif row.pod is None:
                assert row.starting_since
                assert uptime.answered_time(row.starting_since, now) <= site.start_deadline, row
            assert row.disruptions <= MAX_DISRUPTIONS + 1

    @invariant()
    def never_two_jobs_of_one_repository(self) -> None:
        """No two rows of a target are running: the database would refuse the second one's claim."""
        targets = [
            r.target for r in self.simulation.rows.values() if r.state in (JobState.RUNNING, JobState.BLOCKED)
        ]
        assert len(targets) == len(set(targets))

    @invariant()
    def one_live_pod_holds_the_token(self) -> None:
        if self.simulation.away:
            return
        for pod in self.live_pods():
            current = self.simulation.rows.get(pod.job_id)
            if current is not None and current.state not in FINAL:
                assert pod.attempt == current.attempt

    @invariant()
    def no_free_slot_while_somebody_could_use_it(self) -> None:
        if self.simulation.away:
            return
        holding = self.holding()
        taken = {self.simulation.rows[i].target for i in holding if i in self.simulation.rows}
        for job_ in self.simulation.jobs.values():
            if job_.id in holding or job_.status.phase in FINAL_PHASES or self.stands_aside(job_):
                continue
            assert job_.spec and (len(holding) >= self.simulation.limit or job_.spec.target in taken)

    @invariant()
    def every_waiting_job_is_told_its_place(self) -> None:
        if self.simulation.away:
            return
        waiting = [
            j for j in self.simulation.jobs.values()
            if j.id not in self.holding() and j.status.phase not in FINAL_PHASES and not self.stands_aside(j)
        ]  # fmt: skip
        in_order = sorted(
            waiting,
            key=lambda j: (-(j.spec.priority if j.spec else 0), j.created, self.simulation.rows[j.id].arrival),
        )
        assert [self.simulation.rows[j.id].queue_position for j in in_order] == list(range(1, len(in_order) + 1))

    @invariant()
    def what_is_over_goes_in_its_time_and_nothing_else(self) -> None:
        if self.simulation.away:
            return
        for current in self.simulation.rows.values():
            ended = current.completed_at or current.cancelled_at
            assert ended is None or current.slot or self.simulation.now < ended + RETENTION, current
        for job_ in self.simulation.jobs.values():
            assert job_.id in self.simulation.rows, f"{job_.name} lost its row"

    @invariant()
    def only_old_jobs_are_flagged_as_stuck(self) -> None:
        for job_ in self.simulation.jobs.values():
            degraded = job_.condition(DEGRADED)
            if degraded and degraded.reason == STUCK:
                assert self.simulation.now - job_.created > STUCK_AFTER

    @invariant()
    def the_mirror_agrees_with_the_row(self) -> None:
        if self.simulation.away:
            return
        for job_ in self.simulation.jobs.values():
            state = self.simulation.rows[job_.id].state
            waiting = ("Pending", "Suspended")
            assert job_.status.phase in (waiting if state is JobState.PENDING else (state.value.title(),)), job_

    def teardown(self) -> None:
        """Every active job has a way out: when all goes well from here, all of them end."""
        simulation = self.simulation
        simulation.away, simulation.database_since = False, simulation.now
        simulation.settle()
        for job_ in list(simulation.jobs.values()):
            if job_.spec and job_.spec.suspend:
                self.change(job_, suspend=False)
        for _ in range(12 * (self.created + 1)):
            if all(j.status.phase in FINAL_PHASES for j in simulation.jobs.values()) and not self.live_pods():
                break
            for state in list(simulation.rows.values()):
                if state.state is JobState.BLOCKED:
                    simulation.change(state.id, state=JobState.RUNNING, blocked_since=None)
            for pod in self.live_pods():
                simulation.claim(pod)
                simulation.complete(simulation.pods[pod.name])
            simulation.settle()
            simulation.advance(20)
            simulation.settle()
        assert [j.name for j in simulation.jobs.values() if j.status.phase not in FINAL_PHASES] == []
        assert [r.cr_name for r in simulation.rows.values() if r.state not in FINAL] == []
        assert self.live_pods() == []

    # --- helpers -----------------------------------------------------------------------------------

    def any_job(self, which: int) -> Job | None:
        jobs = sorted(self.simulation.jobs.values(), key=lambda j: j.name)
        return jobs[which % len(jobs)] if jobs else None

    def any_pod(self, which: int) -> Pod | None:
        pods = self.live_pods()
        return pods[which % len(pods)] if pods else None

    def live_pods(self) -> list[Pod]:
        return sorted(
            (p for p in self.simulation.pods.values() if not p.finished and p.deleted_at is None),
            key=lambda p: p.name,
        )

    def holding(self) -> set[UUID]:
        pods = {p.job_id for p in self.simulation.pods.values() if not p.finished}
        return pods | {row.id for row in self.simulation.rows.values() if row.slot}

    @staticmethod
    def stands_aside(job_: Job) -> bool:
        return job_.spec is None or job_.spec.suspend or job_.spec.cancel


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=80, stateful_step_count=25)


def test_first_in_first_out_within_a_priority() -> None:
    """Twenty jobs of two priorities through three slots: admitted in the one order there is."""
    simulation = Simulation()
    jobs = [job(f"q{n:02}", age=100 - n, priority=5 * (n % 2)) for n in range(20)]
    simulation.jobs = {j.id: j for j in reversed(jobs)}
    for _ in range(40):
        simulation.settle()
        for pod in [p for p in simulation.pods.values() if not p.finished]:
            simulation.claim(pod)
            simulation.complete(simulation.pods[pod.name])
        simulation.advance(1)
    names = {j.id: j.name for j in jobs}
    expected = [j.name for j in sorted(jobs, key=lambda j: (-(j.spec.priority if j.spec else 0), j.created))]
    assert [names[i] for i in simulation.admissions] == expected
