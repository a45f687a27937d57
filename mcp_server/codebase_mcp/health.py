"""Health routes for probes and people: unauthenticated, and without anything about repositories."""

import asyncio
from collections.abc import Awaitable
from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from codebase_index.store.errors import StoreError
from codebase_index.store.jobs import Jobs
from codebase_mcp.cluster import Cluster, ClusterUnavailable

PATIENCE_SECONDS = 0.8
"""Below the second after which a Kubernetes probe gives up by default."""


class Health:
    """`/healthz`: the process answers. `/readyz`: it can serve."""

    def __init__(self, jobs: Jobs, cluster: Cluster) -> None:
        self._jobs = jobs
        self._cluster = cluster

    def routes(self) -> list[Route]:
        """Return the two routes."""
        return [Route("/healthz", self.healthz), Route("/readyz", self.readyz)]

    async def healthz(self, _: Request) -> Response:
        """Always 200 while the process answers; how many jobs are active, and the oldest one's age in seconds."""
        facts: dict[str, Any] = {"status": "ok", "active_jobs": None, "oldest_active_job_seconds": None}
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                active = await self._jobs.unfinished()
        except (StoreError, TimeoutError):
            return JSONResponse(facts | {"database": "away"})
        facts["active_jobs"] = len(active)
        if active:
            age = datetime.now(UTC) - min(row.created_at for row in active)
            # The times are those of the Kubernetes API, whose clock may be ahead of this one.
            facts["oldest_active_job_seconds"] = max(0, round(age.total_seconds()))
        return JSONResponse(facts | {"database": "ok"})

    async def readyz(self, _: Request) -> Response:
        """200 while the database or the Kubernetes API answers, 503 when neither does; the body names each.

        One is enough on purpose: without the database, jobs can still be started and watched; without the API,
        searched, watched and listed. A server that left its Service for either could do none of it.
        """
        database, api = await asyncio.gather(_answers(self._jobs.many([])), _answers(self._cluster.ping()))
        facts = {"database": "ok" if database else "away", "kubernetes": "ok" if api else "away"}
        status = "ok" if database and api else "degraded" if database or api else "unavailable"
        return JSONResponse({"status": status} | facts, status_code=200 if database or api else 503)


async def _answers(question: Awaitable[object]) -> bool:
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await question
    except (StoreError, ClusterUnavailable, TimeoutError):
        return False
    return True
