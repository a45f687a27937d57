"""The reconcile loop: snapshot, plan, apply; again on every event and every second.

Of several operators, each watches and measures, and the one that holds the lease applies.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import takewhile
from typing import Final
from uuid import UUID

from codebase_index.store.database import Database
from codebase_index.store.errors import (
    StatementRefused,
    StoreError,
    StoreMisconfigured,
    StoreReadOnly,
    TransactionAborted,
)
from codebase_index.store.jobs.jobs import Jobs
from codebase_index.store.jobs.rows import JobRow
from codebase_operator.cluster.actuator import Actuator
from codebase_operator.cluster.api import ApiError
from codebase_operator.cluster.cache import ClusterCache
from codebase_operator.metrics import Metrics, gauges_of
from codebase_operator.model.site_policy import SitePolicy
from codebase_operator.model.snapshot import Snapshot
from codebase_operator.model.uptime import Uptime
from codebase_operator.planning.lifecycle import RETENTION
from codebase_operator.planning.planner import plan

log = logging.getLogger(__name__)

RESYNC_INTERVAL: Final = 1.0
"""Seconds between cycles without events: a missing heartbeat is no event."""

MIN_CYCLE_INTERVAL: Final = 0.1
"""Minimum seconds between cycles: a burst of events is one cycle."""

LIVENESS_INTERVAL: Final = 5.0
"""Seconds between liveness updates during a migration, far below cache.STUCK_LOOP_SECONDS."""

POSITIONS_INTERVAL: Final = 3.0
"""Seconds between writes of a long queue's positions."""

SWEEP_INTERVAL: Final = 60.0
"""Seconds between searches for rows of deleted resources."""

MAX_SWEEP_ROWS: Final = 100
"""Rows removed per sweep: each takes two API calls, and the loop has other work."""


class ReconcileLoop:
    """Takes snapshots, applies plans, and sets the pace."""

    def __init__(
        self, cache: ClusterCache, database: Database, actuator: Actuator, namespace: str, limit: int, *,
        worker_limit: int = 0, is_leader: Callable[[], bool] = lambda: True, metrics: Metrics | None = None,
        site: SitePolicy | None = None,
    ) -> None:  # fmt: skip
        self._cache = cache
        self._database = database
        self._jobs = Jobs(database, [namespace])
        self._actuator = actuator
        self._namespace = namespace
        self._limit = limit
        self._worker_limit = worker_limit
        self._site = site or SitePolicy()
        self._is_leader = is_leader
        self._metrics = metrics or Metrics(is_leader)
        self._wake = asyncio.Event()
        self._migrated = False
        self._next_sweep = 0.0
        self._next_positions = 0.0
        self._database_up: bool | None = None
        self._database_since = datetime.now(UTC)
        self._uptime = Uptime()

    def wake(self) -> None:
        """Start a cycle now."""
        self._wake.set()

    async def run(self) -> None:
        """Run until cancelled. No error of one cycle ends the loop."""
        while True:
            self._wake.clear()
            try:
                with self._metrics.cycle.time():
                    changed = await self.cycle()
                if changed:
                    self._wake.set()  # what was just changed may make the next step possible
                self._cache.record_cycle()
            except ApiError as error:
                log.warning("cycle given up", extra={"error": str(error)})
                self._cache.record_cycle()  # the loop is well: it is the API server that is not
            except Exception as error:
                # A bug, but the loop is alive: a restart would meet it again, and take the probe's answer with it.
                log.exception("cycle failed")
                self._metrics.cycle_errors.inc()
                self._cache.record_cycle(f"{type(error).__name__}: {error}")
            await asyncio.sleep(MIN_CYCLE_INTERVAL)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), RESYNC_INTERVAL)

    async def cycle(self) -> int:
        """Do one pass, up to where the lease is lost; return how many steps it carried out."""
        try:
            await self._cache.refresh()
        except ApiError:
            self._uptime = self._uptime.record_outage()
            raise
        snapshot = await self.snapshot()
        try:
            self._metrics.set_gauges(gauges_of(snapshot))
        except Exception:  # what counts jobs must not keep them from being run
            log.exception("gauges not updated")
        steps = plan(snapshot) if self._is_leader() else []
        return await self._actuator.apply(takewhile(lambda _: self._is_leader(), steps), snapshot.now)

    def _positions_due(self) -> bool:
        """Whether it is time to write the positions of a long queue again."""
        if time.monotonic() < self._next_positions:
            return False
        self._next_positions = time.monotonic() + POSITIONS_INTERVAL
        return True

    async def _orphans(self, existing: list[UUID]) -> dict[UUID, JobRow]:
        """Return the rows of deleted resources, once per SWEEP_INTERVAL: they are not urgent."""
        if time.monotonic() < self._next_sweep:
            return {}
        rows = await self._jobs.orphans(self._namespace, existing, RETENTION, MAX_SWEEP_ROWS)
        self._next_sweep = time.monotonic() + SWEEP_INTERVAL
        return rows

    async def _migrate(self) -> list[str]:
        """Migrate; a migration that takes minutes, or waits for another program's, is no stuck loop."""
        migration = asyncio.create_task(self._database.migrate(self._namespace))
        try:
            while not (await asyncio.wait({migration}, timeout=LIVENESS_INTERVAL))[0]:
                self._cache.mark_alive()
            return migration.result()
        finally:
            migration.cancel()

    async def snapshot(self) -> Snapshot:
        """Take everything that is true now: cluster first, so that the rows are never older than the pods."""
        jobs, pods = tuple(self._cache.jobs.items.values()), tuple(self._cache.pods.items.values())
        rows, now = None, datetime.now(UTC)
        database_error: StoreError | None
        try:
            if not self._migrated and self._is_leader():  # one that may have to stay out changes nothing
                applied = await self._migrate()
                self._migrated = True
                log.info("schema is up to date", extra={"applied": applied})
            now, rows = await self._jobs.list_active(self._namespace, [job.id for job in jobs if not job.finished])
            rows |= await self._orphans([job.id for job in jobs])
            database_error = None
        except StoreError as error:
            database_error = error
            if not isinstance(error, StoreReadOnly | TransactionAborted):
                self._migrated = False  # it may come back as another, empty one
            if str(error) != self._cache.database:
                log.warning("the database cannot be used", extra={"state": error.state, "error": str(error)})
        self._cache.database = str(database_error) if database_error else None
        refused = (
            database_error.reason if isinstance(database_error, StoreMisconfigured | StatementRefused) else None
        )
        if (rows is not None) != self._database_up:
            self._database_up, self._database_since = rows is not None, now
        self._uptime = self._uptime.record_answer(now) if rows is not None else self._uptime.record_outage()
        return Snapshot(
            now=now, namespace=self._namespace, limit=self._limit, jobs=jobs, pods=pods, rows=rows,
            database_since=self._database_since, worker_limit=self._worker_limit,
            rejections=dict(self._cache.rejections), site=self._site, uptime=self._uptime,
            positions_due=self._positions_due(), database_misconfigured=refused,
            failures=dict(self._cache.failures),
        )  # fmt: skip
