"""The operator without kopf, against a small API server and a real Postgres: its cycles are called one by one."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

from codebase_index.store.database import Database
from codebase_index.store.jobs.jobs import Jobs
from codebase_index.store.jobs.rows import JobRow
from codebase_operator.cluster.actuator import Actuator
from codebase_operator.cluster.api import ClusterApi
from codebase_operator.cluster.cache import ClusterCache
from codebase_operator.metrics import Metrics
from codebase_operator.model.site_policy import SitePolicy
from codebase_operator.model.snapshot import Job
from codebase_operator.reconciler import ReconcileLoop
from codebase_operator.settings import PodTemplate
from tests.operator.fake_api import FakeApi

TEMPLATE = PodTemplate(image="localhost/none:0")


class Bench:
    """The operator without kopf: its loop's cycles are called one by one."""

    def __init__(self, server: FakeApi, api: ClusterApi, database: Database) -> None:
        self.server, self.database = server, database
        self.jobs = Jobs(database)
        self.cache = ClusterCache(api)
        self._api = api
        self.restart()

    def restart(
        self,
        *,
        database: Database | None = None,
        metrics: Metrics | None = None,
        site: SitePolicy | None = None,
        is_leader: Callable[[], bool] = lambda: True,
    ) -> None:
        """Start the loop anew, with what is given: it keeps what its cache has seen."""
        database, metrics = database or self.database, metrics or Metrics()
        self.actuator = Actuator(self._api, Jobs(database), self.cache, TEMPLATE, metrics.record_step)
        self.loop = ReconcileLoop(
            self.cache, database, self.actuator, "ns", 3, metrics=metrics, site=site, is_leader=is_leader
        )

    async def cycle(self, times: int = 1) -> None:
        """Do passes, with everything listed afresh in each: the fake sends no events."""
        for _ in range(times):
            self._look()
            await self.loop.cycle()

    async def settle(self) -> None:
        for _ in range(10):
            self._look()
            if not await self.loop.cycle():
                return
        raise AssertionError("the loop does not come to rest")

    def _look(self) -> None:
        """Have everything listed, and the watch deliver what was listed before."""
        for cached in (self.cache.jobs, self.cache.pods):
            cached.observe(str(cached.last_listed_version))
        self.cache.list_soon()

    def status(self, name: str) -> dict[str, Any]:
        return dict(self.server.jobs[name].get("status", {}))

    def job(self, name: str) -> Job:
        return Job.parse(self.server.jobs[name])

    async def row(self, name: str) -> JobRow:
        return await self.jobs.get(UUID(self.server.jobs[name]["metadata"]["uid"]))

    def sent(self, method: str, part: str) -> list[str]:
        return [line for line in self.server.requests if line.startswith(method) and part in line]
