"""The reconcile loop: snapshot, plan, apply; again on every event and every second."""

import asyncio
import contextlib
import logging
from datetime import UTC, datetime
from typing import Final

from codebase_index.store.database import Database
from codebase_index.store.errors import StoreError, StoreUnavailable
from codebase_index.store.jobs import Jobs
from codebase_operator.actuator import Actuator
from codebase_operator.api import ApiError
from codebase_operator.model import Snapshot
from codebase_operator.planner import plan
from codebase_operator.world import World

log = logging.getLogger(__name__)

TICK: Final = 1.0
"""Seconds between cycles when nothing happens: a heartbeat that stops is no event."""

PAUSE: Final = 0.1
"""Seconds between cycles at least: a burst of events is one cycle."""


class Loop:
    """Owns the database's side of a snapshot, and the pace."""

    def __init__(self, world: World, database: Database, actuator: Actuator, namespace: str, limit: int) -> None:
        self._world = world
        self._database = database
        self._jobs = Jobs(database)
        self._actuator = actuator
        self._namespace = namespace
        self._limit = limit
        self._wake = asyncio.Event()
        self._migrated = False
        self._answers: bool | None = None
        self._since = datetime.now(UTC)

    def wake(self) -> None:
        """Start a cycle now."""
        self._wake.set()

    async def run(self) -> None:
        """Run until cancelled. No error of one cycle ends the loop."""
        while True:
            self._wake.clear()
            try:
                if await self.cycle():
                    self._wake.set()  # what was just changed may make the next step possible
                self._world.cycle_done()
            except ApiError as error:
                log.warning("cycle given up", extra={"error": str(error)})
            except Exception:
                log.exception("cycle failed")
            await asyncio.sleep(PAUSE)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), TICK)

    async def cycle(self) -> int:
        """Do one pass; return how many steps it carried out."""
        await self._world.refresh()
        snapshot = await self.snapshot()
        return await self._actuator.apply(plan(snapshot), snapshot.now)

    async def snapshot(self) -> Snapshot:
        """Take everything that is true now: cluster first, so that the rows are never older than the pods."""
        jobs, pods = tuple(self._world.jobs.items.values()), tuple(self._world.pods.items.values())
        rows, now = None, datetime.now(UTC)
        try:
            if not self._migrated:
                applied = await self._database.migrate()
                self._migrated = True
                log.info("schema is up to date", extra={"applied": applied})
            now, rows = await self._jobs.watched(self._namespace, [job.id for job in jobs if not job.finished])
        except StoreUnavailable as error:
            self._migrated = False  # it may come back as another, empty one
            if self._answers is not False:
                log.warning("database does not answer", extra={"error": str(error)})
        except StoreError as error:
            log.error("database refuses", extra={"error": str(error)})
        if (rows is not None) != self._answers:
            self._answers, self._since = rows is not None, now
        return Snapshot(
            now=now, namespace=self._namespace, limit=self._limit, jobs=jobs, pods=pods, rows=rows,
            database_since=self._since, refusals=dict(self._world.refusals),
        )  # fmt: skip
