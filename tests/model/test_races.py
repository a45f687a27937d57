"""Lives that were written by hand: races that need more luck than random lives have."""

import pytest

from codebase_index.api.job import ExitCode
from tests.model.faults import Fault
from tests.model.harness import Bench
from tests.model.job_lifecycle import Drawn, JobLifecycle
from tests.model.worker import Stage

WELL: Drawn = (0, Fault.REFUSE, 500)


@pytest.fixture
def lifecycle(bench: Bench) -> JobLifecycle:
    """One slot, one job, whose pod has taken it."""
    JobLifecycle.bench = bench
    lifecycle = JobLifecycle()
    lifecycle.begin(limit=1, skew=0, jobs=[0], moves=1)
    return lifecycle


def settle(lifecycle: JobLifecycle, operator: int, times: int = 3) -> None:
    for _ in range(times):
        lifecycle.operate(which=operator, hears=1000, relist=True, drawn=WELL)
        lifecycle.holds()


def test_a_job_that_is_resumed_while_its_slot_is_released_waits_for_another_one(lifecycle: JobLifecycle) -> None:
    """One operator has seen that no pod is left, and stands still; the other one resumes the job."""
    lifecycle.change(0, "suspend")
    settle(lifecycle, 0)
    lifecycle.pod_goes(0)
    lifecycle.operate(which=0, hears=1000, relist=True, drawn=(6, Fault.HALT, 500))
    assert lifecycle.operators[0].busy
    lifecycle.change(0, "resume")
    settle(lifecycle, 1)
    lifecycle.pod_starts(0)
    lifecycle.the_halted_go_on()
    lifecycle.holds()
    lifecycle.work(which=0, steps=[1, 1], drawn=WELL)
    lifecycle.holds()
    lifecycle.teardown()


def test_another_job_does_not_sweep_what_a_suspended_one_has_done(lifecycle: JobLifecycle) -> None:
    """The suspended one goes on with its list later, and does not look at finished files again."""
    lifecycle.work(which=0, steps=[0, 1] * 3, drawn=WELL)
    lifecycle.change(0, "suspend")
    lifecycle.create(0, False, False, 0, None)
    settle(lifecycle, 0)
    lifecycle.pod_goes(0)
    for _ in range(8):
        lifecycle.all_goes_well(0, 4)
        lifecycle.holds()
    lifecycle.teardown()


def test_an_operator_with_an_old_plan_admits_no_second_job_for_a_repository(lifecycle: JobLifecycle) -> None:
    lifecycle.begin(limit=2, skew=0, jobs=[0], moves=0)
    lifecycle.think(which=0, hears=1000)
    lifecycle.create(0, False, False, 5, None)
    settle(lifecycle, 1)
    lifecycle.act(which=0, drawn=WELL)
    lifecycle.holds()
    lifecycle.teardown()


def test_an_operator_that_does_not_see_a_pod_asks_before_it_frees_the_slot(lifecycle: JobLifecycle) -> None:
    """Its watch lags: the other operator has made a pod, and the job is cancelled."""
    lifecycle.begin(limit=1, skew=0, jobs=[0], moves=0)
    lifecycle.think(which=0, hears=1000)
    settle(lifecycle, 1)
    lifecycle.cancel_through_mcp(which=0, drawn=WELL)
    lifecycle.operate(which=0, hears=0, relist=False, drawn=WELL)
    lifecycle.holds()
    lifecycle.teardown()


def test_a_worker_of_a_lost_node_comes_back_when_another_one_has_its_job(lifecycle: JobLifecycle) -> None:
    """It holds a batch, sweeps, ends and beats as if nothing had happened: nothing of it may count."""
    lifecycle.work(which=0, steps=[0, 1] * 3 + [0], drawn=WELL)
    lifecycle.worker_breaks(which=0, how="hang")
    for _ in range(6):
        lifecycle.time_passes(20)
        settle(lifecycle, 0, 1)
        lifecycle.pod_starts(0)
    [lost, *_, heir] = lifecycle.workers
    assert lost.attempt < heir.attempt
    lifecycle.work(which=len(lifecycle.workers) - 2, steps=[1], drawn=WELL)
    assert heir.stage is not Stage.CLAIM
    lifecycle.holds()
    lifecycle.the_hung_go_on()
    lifecycle.holds()
    lifecycle.work(which=0, steps=[1], drawn=WELL)
    assert lost.code == ExitCode.FENCED
    lifecycle.holds()
    lifecycle.teardown()


@pytest.mark.parametrize("fault", [Fault.LOSE, Fault.REFUSE, Fault.DIE_AFTER])
def test_a_batch_whose_commit_broke_is_committed_again(lifecycle: JobLifecycle, fault: Fault) -> None:
    lifecycle.work(which=0, steps=[0, 0, 0, 0, 0], drawn=WELL)
    assert lifecycle.workers[0].batches
    lifecycle.work(which=0, steps=[1], drawn=(2, fault, 500))
    lifecycle.holds()
    for _ in range(4):
        lifecycle.work(which=0, steps=[1, 0], drawn=WELL)
        lifecycle.holds()
    lifecycle.teardown()
