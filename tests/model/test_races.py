"""Lives that were written by hand: races that need more luck than random lives have."""

import pytest

from codebase_index.api.job import ExitCode
from tests.model.faults import Strike
from tests.model.harness import Bench
from tests.model.job_lifecycle import Drawn, Life
from tests.model.worker import Stage

WELL: Drawn = (0, Strike.REFUSE, 500)


@pytest.fixture
def life(bench: Bench) -> Life:
    """One slot, one job, whose pod has taken it."""
    Life.bench = bench
    life = Life()
    life.begin(limit=1, skew=0, jobs=[0], moves=1)
    return life


def settle(life: Life, operator: int, times: int = 3) -> None:
    for _ in range(times):
        life.operate(which=operator, hears=1000, relist=True, drawn=WELL)
        life.holds()


def test_a_job_that_is_resumed_while_its_slot_is_released_waits_for_another_one(life: Life) -> None:
    """One operator has seen that no pod is left, and stands still; the other one resumes the job."""
    life.change(0, "suspend")
    settle(life, 0)
    life.pod_goes(0)
    life.operate(which=0, hears=1000, relist=True, drawn=(6, Strike.HALT, 500))
    assert life.operators[0].busy
    life.change(0, "resume")
    settle(life, 1)
    life.pod_starts(0)
    life.the_halted_go_on()
    life.holds()
    life.work(which=0, steps=[1, 1], drawn=WELL)
    life.holds()
    life.teardown()


def test_another_job_does_not_sweep_what_a_suspended_one_has_done(life: Life) -> None:
    """The suspended one goes on with its list later, and does not look at finished files again."""
    life.work(which=0, steps=[0, 1] * 3, drawn=WELL)
    life.change(0, "suspend")
    life.create(0, False, False, 0, None)
    settle(life, 0)
    life.pod_goes(0)
    for _ in range(8):
        life.all_goes_well(0, 4)
        life.holds()
    life.teardown()


def test_an_operator_with_an_old_plan_admits_no_second_job_for_a_repository(life: Life) -> None:
    life.begin(limit=2, skew=0, jobs=[0], moves=0)
    life.think(which=0, hears=1000)
    life.create(0, False, False, 5, None)
    settle(life, 1)
    life.act(which=0, drawn=WELL)
    life.holds()
    life.teardown()


def test_an_operator_that_does_not_see_a_pod_asks_before_it_frees_the_slot(life: Life) -> None:
    """Its watch lags: the other operator has made a pod, and the job is cancelled."""
    life.begin(limit=1, skew=0, jobs=[0], moves=0)
    life.think(which=0, hears=1000)
    settle(life, 1)
    life.cancel_through_mcp(which=0, drawn=WELL)
    life.operate(which=0, hears=0, relist=False, drawn=WELL)
    life.holds()
    life.teardown()


def test_a_worker_of_a_lost_node_comes_back_when_another_one_has_its_job(life: Life) -> None:
    """It holds a batch, sweeps, ends and beats as if nothing had happened: nothing of it may count."""
    life.work(which=0, steps=[0, 1] * 3 + [0], drawn=WELL)
    life.worker_breaks(which=0, how="hang")
    for _ in range(6):
        life.time_passes(20)
        settle(life, 0, 1)
        life.pod_starts(0)
    [lost, *_, heir] = life.workers
    assert lost.attempt < heir.attempt
    life.work(which=len(life.workers) - 2, steps=[1], drawn=WELL)
    assert heir.stage is not Stage.CLAIM
    life.holds()
    life.the_hung_go_on()
    life.holds()
    life.work(which=0, steps=[1], drawn=WELL)
    assert lost.code == ExitCode.FENCED
    life.holds()
    life.teardown()


@pytest.mark.parametrize("strike", [Strike.LOSE, Strike.REFUSE, Strike.DIE_AFTER])
def test_a_batch_whose_commit_broke_is_committed_again(life: Life, strike: Strike) -> None:
    life.work(which=0, steps=[0, 0, 0, 0, 0], drawn=WELL)
    assert life.workers[0].batches
    life.work(which=0, steps=[1], drawn=(2, strike, 500))
    life.holds()
    for _ in range(4):
        life.work(which=0, steps=[1, 0], drawn=WELL)
        life.holds()
    life.teardown()
