"""The operator without kopf, against a small API server and a real Postgres: its cycles are called one by one."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from codebase_index.store.jobs.jobs import Jobs
from codebase_index.store.jobs.rows import JobRow
from codebase_operator.cluster.actuator import Actuator
from codebase_operator.cluster.cache import ClusterCache
from codebase_operator.model.snapshot import Job
from codebase_operator.reconciler import ReconcileLoop
from codebase_operator.settings import PodTemplate
from tests.operator.fake_api import FakeApi

TEMPLATE = PodTemplate(image="localhost/none:0")


@dataclass
class Bench:
    """The operator without kopf: its loop's cycles are called one by one."""

    server: FakeApi
    jobs: Jobs
    loop: ReconcileLoop
    cache: ClusterCache
    actuator: Actuator

    async def cycle(self, times: int = 1) -> None:
        """Do passes, with everything listed afresh in each: the fake sends no events."""
        for _ in range(times):
            self.cache._next_list = 0
            await self.loop.cycle()

    async def settle(self) -> None:
        for _ in range(10):
            self.cache._next_list = 0
            if not await self.loop.cycle():
                return
        raise AssertionError("the loop does not come to rest")

    def status(self, name: str) -> dict[str, Any]:
        return dict(self.server.jobs[name].get("status", {}))

    def job(self, name: str) -> Job:
        return Job.parse(self.server.jobs[name])

    async def row(self, name: str) -> JobRow:
        return await self.jobs.get(UUID(self.server.jobs[name]["metadata"]["uid"]))

    def sent(self, method: str, part: str) -> list[str]:
        return [line for line in self.server.requests if line.startswith(method) and part in line]
