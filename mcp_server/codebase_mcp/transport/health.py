"""Health routes for probes and people: unauthenticated, and without anything about repositories."""

import asyncio
import logging
from collections.abc import Awaitable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from codebase_index.store.errors import StoreError
from codebase_index.store.jobs.jobs import Jobs
from codebase_index.store.jobs.rows import JobRow
from codebase_mcp.jobs.cluster import Cluster, ClusterUnavailable
from codebase_mcp.transport.answer_cache import Remembered

log = logging.getLogger(__name__)

PATIENCE_SECONDS = 0.8
"""Below the second after which a Kubernetes probe gives up by default."""

Answer = tuple[dict[str, Any], int]
"""What is told, and the HTTP status."""


@dataclass(frozen=True)
class Verdict:
    """How a service stands, in one word: ok, away, or a StoreError's `state`; and why it is not ok."""

    state: str = "ok"
    reason: str = ""


class Health:
    """`/healthz`: the process answers. `/readyz`: it can serve. No restart for what it would not mend."""

    def __init__(self, jobs: Jobs, cluster: Cluster) -> None:
        self._jobs = jobs
        self._cluster = cluster
        self._alive = Remembered(self._whether_alive)
        self._ready = Remembered(self._whether_ready)

    def routes(self) -> list[Route]:
        """Return the two routes."""
        return [Route("/healthz", self.healthz), Route("/readyz", self.readyz)]

    async def healthz(self, _: Request) -> Response:
        """Answer whether the process is alive: always 200."""
        facts, status = await self._alive.get()
        return JSONResponse(facts, status)

    async def readyz(self, _: Request) -> Response:
        """Answer whether it can serve: 200 or 503."""
        facts, status = await self._ready.get()
        return JSONResponse(facts, status)

    async def _whether_alive(self) -> Answer:
        """Always 200 while the process answers; how many jobs are active, and the oldest one's age in seconds."""
        facts: dict[str, Any] = {"status": "ok", "active_jobs": None, "oldest_active_job_seconds": None}
        active: list[JobRow] | None = None

        async def look() -> None:
            nonlocal active
            active = await self._jobs.unfinished()
            await self._jobs.check()

        database = await _verdict(look())
        if active is not None:
            facts["active_jobs"] = len(active)
        if active:
            age = datetime.now(UTC) - min(row.created_at for row in active)
            # The times are those of the Kubernetes API, whose clock may be ahead of this one.
            facts["oldest_active_job_seconds"] = max(0, round(age.total_seconds()))
        return facts | _told(database=database), 200

    async def _whether_ready(self) -> Answer:
        """200 while the database or the Kubernetes API answers, 503 when neither does; the body names each.

        One is enough on purpose: without the database, jobs can still be started and watched; without the API,
        searched, watched and listed. A server that left its Service for either could do none of it.
        """
        database, api = await asyncio.gather(_verdict(self._jobs.check()), _verdict(self._cluster.ping()))
        well = [verdict.state == "ok" for verdict in (database, api)]
        status = "ok" if all(well) else "degraded" if any(well) else "unavailable"
        facts = {"status": status} | _told(database=database, kubernetes=api)
        return facts, 200 if any(well) else 503


def _told(**services: Verdict) -> dict[str, str]:
    """Return each service's state, and under `NAME_reason` why it is not ok."""
    states = {name: verdict.state for name, verdict in services.items()}
    return states | {f"{name}_reason": verdict.reason for name, verdict in services.items() if verdict.reason}


async def _verdict(question: Awaitable[object]) -> Verdict:
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await question
    except StoreError as error:
        return Verdict(error.state, str(error))
    except ClusterUnavailable as error:
        return Verdict("away", str(error))
    except TimeoutError:
        return Verdict("away", f"no answer within {PATIENCE_SECONDS:g} s")
    except Exception:
        # A fault of this program. It is told, but no probe may fail for it: a restart would not mend it.
        log.exception("a health check failed")
        return Verdict("error", "the check itself failed; this server's log says why")
    return Verdict()
