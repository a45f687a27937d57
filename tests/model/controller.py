"""An operator of the model: the real ClusterCache, Loop, planner and Actuator, with a view that may lag behind."""

import math
from collections.abc import Coroutine
from typing import Any, TypeVar

from codebase_index.store.errors import StoreError
from codebase_index.store.jobs.jobs import Jobs
from codebase_operator.cluster.actuator import Actuator
from codebase_operator.cluster.api import ApiError
from codebase_operator.cluster.cache import ClusterCache
from codebase_operator.metrics import Metrics
from codebase_operator.model.actions import Action
from codebase_operator.model.snapshot import Snapshot
from codebase_operator.planning.planner import plan
from codebase_operator.reconciler import ReconcileLoop
from codebase_operator.settings import PodTemplate
from tests.model.cluster import Cluster
from tests.model.faults import Died, FaultInjector, FaultyApi, FaultyDatabase

TEMPLATE = PodTemplate(image="localhost/none:0")
METRICS = Metrics()
T = TypeVar("T")


class Controller:
    """One operator process after another: when one dies, the next begins with nothing."""

    def __init__(self, cluster: Cluster, database: FaultyDatabase, api: FaultyApi, limit: int) -> None:
        self._cluster, self._database, self._api, self._limit = cluster, database, api, limit
        self.busy = False
        self.start()

    def start(self) -> None:
        """Begin: the first thing that an operator does is to list everything."""
        self.cache = ClusterCache(self._api, math.inf)  # lists when it is asked to: time here is not the model's
        self.seen_events = len(self._cluster.changes)
        actuator = Actuator(self._api, Jobs(self._database), self.cache, TEMPLATE)
        self.actuator = actuator
        self.loop = ReconcileLoop(self.cache, self._database, actuator, "ns", self._limit, metrics=METRICS)
        self.planned: tuple[list[Action], Snapshot] | None = None

    def observe(self, events: int) -> None:
        """Let the watch deliver so many events of those that are on their way."""
        for change in self._cluster.changes[self.seen_events : self.seen_events + events]:
            take = self.cache.job_event if change.kind == "jobs" else self.cache.pod_event
            take(change.type, change.body)
            self.seen_events += 1

    def relist(self) -> None:
        """List everything in the next cycle."""
        self.cache.list_soon()

    async def think(self, injector: FaultInjector) -> None:
        """Look and plan; the plan is carried out later, when other things are true."""
        await self._guarded(self._think(), injector)

    async def act(self, injector: FaultInjector) -> None:
        """Carry out the plan that was made."""
        await self._guarded(self._act(), injector)

    async def cycle(self, injector: FaultInjector) -> int:
        """Look, plan and carry out. Return how many steps succeeded."""
        return await self._guarded(self._cycle(), injector) or 0

    async def _cycle(self) -> int:
        await self._think()
        return await self._act()

    async def _think(self) -> None:
        await self.cache.refresh()
        snapshot = await self.loop.snapshot()
        self.planned = plan(snapshot), snapshot

    async def _act(self) -> int:
        if self.planned is None:
            return 0
        (actions, snapshot), self.planned = self.planned, None
        return await self.actuator.apply(actions, snapshot.now)

    async def _guarded(self, work: Coroutine[Any, Any, T], injector: FaultInjector) -> T | None:
        self._database.injector = self._api.injector = injector
        self.busy = True
        try:
            return await work
        except (ApiError, StoreError):
            return None  # the loop gives up the cycle, and tries again
        except Died:
            self.start()
            return None
        finally:
            self._database.injector = self._api.injector = FaultInjector()
            self.busy = False
