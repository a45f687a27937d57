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
from codebase_mcp.identity.settings import AuthSettings
from codebase_mcp.jobs.cluster import Cluster, ClusterUnavailable
from codebase_mcp.transport.answer_cache import CachedAnswer

log = logging.getLogger(__name__)

CHECK_TIMEOUT_SECONDS = 0.8
"""Below the second after which a Kubernetes probe gives up by default."""

_OF_JOBS = ("active_jobs", "oldest_active_job_seconds")
"""What tells of jobs: with callers who are told apart it is for those who may list them."""

HealthReport = tuple[dict[str, Any], int]
"""The body, and the HTTP status."""


@dataclass(frozen=True)
class ServiceState:
    """The state of a service in one word (ok, away, or a StoreError's `state`), and why it is not ok."""

    state: str = "ok"
    reason: str = ""


class HealthChecks:
    """`/healthz` (liveness) and `/readyz` (readiness). Liveness never fails for what a restart would not mend."""

    def __init__(self, jobs: Jobs, cluster: Cluster, auth: AuthSettings | None = None) -> None:
        self._authentication: dict[str, Any] = auth.described if auth else {}
        self._hidden = _OF_JOBS if auth and auth.tells_callers_apart else ()
        self._jobs = jobs
        self._cluster = cluster
        self._liveness = CachedAnswer(self._check_liveness)
        self._readiness = CachedAnswer(self._check_readiness)
        self._is_draining = False

    def routes(self) -> list[Route]:
        """Return the two routes."""
        return [Route("/healthz", self.healthz), Route("/readyz", self.readyz)]

    async def healthz(self, _: Request) -> Response:
        """Answer that the process is alive: always 200. All of it is in `probes.Probes`'."""
        facts, status = await self.liveness()
        return JSONResponse({name: fact for name, fact in facts.items() if name not in self._hidden}, status)

    async def readyz(self, _: Request) -> Response:
        """Answer whether it can serve: 200 or 503."""
        facts, status = await self.readiness()
        return JSONResponse(facts, status)

    async def liveness(self) -> HealthReport:
        """Return the answer of `/healthz`, at most a second old."""
        return await self._liveness.get()

    async def readiness(self) -> HealthReport:
        """Return the answer of `/readyz`, at most a second old."""
        if self._is_draining:
            return {"status": "draining", "reason": "the server was told to end; ask another one"}, 503
        return await self._readiness.get()

    def drain(self) -> None:
        """Be ready no more, whatever the services say: this server is about to end."""
        self._is_draining = True

    async def _check_liveness(self) -> HealthReport:
        """Report the number of active jobs and the age of the oldest, in seconds: always 200."""
        facts: dict[str, Any] = {"status": "ok", "active_jobs": None, "oldest_active_job_seconds": None}
        active: list[JobRow] | None = None

        async def query() -> None:
            nonlocal active
            active = await self._jobs.unfinished()
            await self._jobs.check()

        database = await _probe(query())
        if active is not None:
            facts["active_jobs"] = len(active)
        if active:
            age = datetime.now(UTC) - min(row.created_at for row in active)
            # The times are those of the Kubernetes API, whose clock may be ahead of this one.
            facts["oldest_active_job_seconds"] = max(0, round(age.total_seconds()))
        return facts | _service_fields(database=database) | self._authentication, 200

    async def _check_readiness(self) -> HealthReport:
        """Report 200 while the database or the Kubernetes API answers, 503 when neither does; the body names each.

        One is enough on purpose: without the database, jobs can still be started and watched; without the API,
        searched, watched and listed. A server that left its Service for either could do none of it.
        """
        database, api = await asyncio.gather(_probe(self._jobs.check()), _probe(self._cluster.ping()))
        healthy = [service.state == "ok" for service in (database, api)]
        status = "ok" if all(healthy) else "degraded" if any(healthy) else "unavailable"
        facts = {"status": status} | _service_fields(database=database, kubernetes=api)
        return facts, 200 if any(healthy) else 503


def _service_fields(**services: ServiceState) -> dict[str, str]:
    """Return the state of each service, and under `NAME_reason` why it is not ok."""
    states = {name: service.state for name, service in services.items()}
    return states | {f"{name}_reason": service.reason for name, service in services.items() if service.reason}


async def _probe(check: Awaitable[object]) -> ServiceState:
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_SECONDS):
            await check
    except StoreError as error:
        return ServiceState(error.state, str(error))
    except ClusterUnavailable as error:
        return ServiceState("away", str(error))
    except TimeoutError:
        return ServiceState("away", f"no answer within {CHECK_TIMEOUT_SECONDS:g} s")
    except Exception:
        # A fault of this program. It is reported, but no probe may fail for it: a restart would not mend it.
        log.exception("a health check failed")
        return ServiceState("error", "the check itself failed; this server's log says why")
    return ServiceState()
