"""Slow work on the database beside the reconcile loop: the vector indexes of large repositories.

It has a connection of its own, so that a build of minutes keeps no cycle waiting. Several operators may run it:
the database lets one of them build. Nothing depends on it but the speed of searches: errors are only told.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from codebase_index.store.database import Database
from codebase_index.store.errors import StoreError
from codebase_index.store.vector_indexes import VectorIndexes

log = logging.getLogger(__name__)

INTERVAL: Final = 30.0
"""Seconds between looks: a job that just ended is searched exactly so much longer."""


class Maintenance:
    """Looks after the vector indexes for as long as the operator runs and leads."""

    def __init__(
        self, graphs: VectorIndexes, leads: Callable[[], bool], *,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:  # fmt: skip
        self._graphs = graphs
        self._leads = leads
        self._pause = pause

    async def run(self) -> None:
        """Run until cancelled; a build that goes on then is given up, and begun again by the next operator."""
        while True:
            await self._pause(INTERVAL)
            try:
                while self._leads() and await self._graphs.maintain():
                    pass  # one was built: there may be more to build
            except StoreError as error:
                log.warning("vector indexes are looked after later", extra={"error": str(error)})
            except Exception:
                log.exception("the look at the vector indexes failed")

    @staticmethod
    async def open() -> Database:
        """Return the pool that it needs."""
        return await Database.open(name="codebase-operator-maintenance", size=1, timeout=30.0)
