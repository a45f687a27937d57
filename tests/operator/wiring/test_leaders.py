"""Two operators at once, with and without the lease."""

import asyncio
import signal
import time
from pathlib import Path

import pytest
from kubernetes.aio import client

from codebase_index.api.job import LABEL_JOB
from tests.operator.wiring.environment import Cluster, Operator, eventually

pytestmark = pytest.mark.cluster


async def test_two_operators_keep_the_limit(
    cluster: Cluster, operator: Operator, dsn: str, tmp_path: Path
) -> None:
    folder = tmp_path / "second"
    folder.mkdir()
    second = Operator(cluster.namespace, dsn, folder)
    second.start()
    try:
        for number in range(8):
            await cluster.create(f"twin{number}")

        async def full() -> bool:
            return len(await cluster.all_pods()) >= 3

        await eventually("three jobs run", full)
        for _ in range(20):
            owners = {pod.metadata.labels[LABEL_JOB] for pod in await cluster.all_pods()}
            assert len(owners) == 3
            await asyncio.sleep(0.2)
    finally:
        second.stop()


async def test_of_two_operators_with_a_lease_one_leads_and_the_other_takes_over(
    cluster: Cluster, dsn: str, tmp_path: Path
) -> None:
    leases = client.CoordinationV1Api(cluster.api)
    both = [
        Operator(cluster.namespace, dsn, tmp_path / name, name=name, lease="codebase-operator")
        for name in ("one", "two")
    ]  # fmt: skip

    async def holder() -> str | None:
        found = await leases.read_namespaced_lease("codebase-operator", cluster.namespace)
        return found.spec.holder_identity if found.spec else None

    async def leader() -> Operator | None:
        leading = [operator for operator in both if await operator.is_leader()]
        assert len(leading) <= 1
        return leading[0] if leading else None

    async def job_gets_a_pod(name: str) -> None:
        await cluster.create(name)

        async def has_pod() -> bool:
            return f"{name}-a1" in await cluster.pods()

        await eventually(f"{name} has a pod", has_pod)

    async def takes_over(operator: Operator) -> bool:
        return await operator.is_leader() and await holder() == operator.name

    for operator in both:
        operator.start()
    try:
        first = await eventually("one leads", leader)
        (second,) = (operator for operator in both if operator is not first)
        assert await holder() == first.name
        await job_gets_a_pod("before")

        async def watches() -> bool:
            sees = 'codebase_operator_jobs_active{state="pending"} 1.0' in await second.samples("jobs_active")
            return sees and await second.probe() == 200

        await eventually("the other one is well and sees the job", watches)
        assert all(sample.endswith(" 0.0") for sample in await second.samples("steps_total"))
        assert not all(sample.endswith(" 0.0") for sample in await first.samples("steps_total"))

        began = time.monotonic()
        first.stop(signal.SIGKILL)
        await eventually("the other one takes over", lambda: takes_over(second))
        print(f"taken over {time.monotonic() - began:.1f} s after the kill")
        await job_gets_a_pod("after")

        first.start()
        await eventually("the first one is back, and watches", lambda: says_ok(first))
        assert not await first.is_leader()
        began = time.monotonic()
        assert second.stop(signal.SIGTERM) == 0
        await eventually("it leads again", lambda: takes_over(first))
        print(f"handed over within {time.monotonic() - began:.1f} s of the SIGTERM")
        await job_gets_a_pod("again")
        assert [line for operator in both for line in operator.tracebacks()] == []
    finally:
        for operator in both:
            if operator.running():
                operator.stop()


async def says_ok(operator: Operator) -> bool:
    return await operator.probe() == 200
