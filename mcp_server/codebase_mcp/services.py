"""The services behind the transports: the same on a cluster and embedded."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass
from typing import Final

from codebase_index import embedding
from codebase_index.store.catalog.indexes import Indexes
from codebase_index.store.database import Database
from codebase_index.store.ingest.work import Work
from codebase_index.store.jobs.jobs import Jobs
from codebase_mcp import metrics
from codebase_mcp.freshness.own import OwnRepositories
from codebase_mcp.freshness.refresh import Refresher
from codebase_mcp.freshness.standing import Freshness
from codebase_mcp.freshness.working_trees import WorkingTrees
from codebase_mcp.identity.access import VisibleIndexes
from codebase_mcp.identity.authenticator import Authenticator
from codebase_mcp.identity.gate import Gate
from codebase_mcp.identity.identity import open_identity
from codebase_mcp.identity.settings import AuthSettings, Mode
from codebase_mcp.jobs.cluster import Cluster
from codebase_mcp.jobs.service import JobService
from codebase_mcp.kubernetes_api import open_api
from codebase_mcp.reading.service import ReadingService
from codebase_mcp.refusal_events import RefusalEvents
from codebase_mcp.removal import IndexRemoval
from codebase_mcp.search.service import SearchService
from codebase_mcp.settings import Settings
from codebase_mcp.tools.checked_tool import OnRefusal
from codebase_mcp.transport.health import HealthChecks

_NOT_ASKED: Final = AuthSettings(Mode.TOKENS, owner_token=secrets.token_hex())
"""Where no setting says how to find out who calls: a token that nobody has."""

POOL_SIZE = 8
DATABASE_TIMEOUT_SECONDS = 10.0
"""Timeout for connecting and for each statement: longer than those of the services, whose messages say more."""

ConnectCluster = Callable[[Settings, Database], AbstractAsyncContextManager[Cluster]]
"""How to reach what keeps the jobs."""


@dataclass(frozen=True)
class Services:
    """The services behind the transports."""

    jobs: JobService
    search: SearchService
    reading: ReadingService
    removal: IndexRemoval | None
    health: HealthChecks
    gate: Gate
    """Passed by every call of a tool."""
    authenticator: Authenticator
    """Asked over HTTP who calls."""
    refused: OnRefusal
    """Told of refused calls."""


@asynccontextmanager
async def open_services(settings: Settings, connect: ConnectCluster) -> AsyncIterator[Services]:
    """Open the database pool and the ways to the jobs and to who calls; none of them has to answer yet.

    Raises TokensInvalid.
    """
    database = await Database.open(
        settings.database, name="codebase-mcp-server", size=POOL_SIZE, timeout=DATABASE_TIMEOUT_SECONDS
    )
    metrics.watch_connections(lambda: database.idle_connections, lambda: database.used_connections)
    try:
        namespaces = [settings.namespace]
        indexes = Indexes(database, namespaces)
        visible = VisibleIndexes.of_caller(indexes)
        removing = (
            IndexRemoval.running(database, visible, namespaces) if settings.allow_deletion else nullcontext()
        )
        async with (
            connect(settings, database) as cluster,
            open_identity(settings.auth or _NOT_ASKED, open_api) as identity,
            removing as removal,
            _telling(settings) as refused,
        ):
            jobs = Jobs(database, namespaces)
            service = JobService(settings.policy, cluster, jobs, Work(database), settings.queue)
            own, trees = OwnRepositories(settings.policy), WorkingTrees(settings.policy, indexes.files)
            refresher = Refresher(service, jobs, indexes, trees) if settings.refreshes else None
            search = SearchService.from_database(
                database, embedding.by_name, visible, freshness=Freshness(own, trees, refresher)
            )
            reading = ReadingService.from_database(database, visible, own)
            gate = Gate(identity.authority, settings.namespace, indexes, read_only=settings.read_only)
            health = HealthChecks(jobs, cluster, settings.auth)
            async with _running(refresher):
                yield Services(service, search, reading, removal, health, gate, identity.authenticator, refused)
            await service.close()
            search.close()
    finally:
        await database.close()


@asynccontextmanager
async def _telling(settings: Settings) -> AsyncIterator[OnRefusal]:
    """Yield what is told of refused calls: the metrics, and in a pod also whoever reads the cluster's Events."""
    if settings.pod is None:
        yield metrics.count_refusal
        return
    async with open_api() as api, RefusalEvents.to_api(api, settings.pod, settings.namespace) as events:

        def refused(tool: str, text: str) -> None:
            metrics.count_refusal(tool, text)
            events.tell(tool, text)

        yield refused


@asynccontextmanager
async def _running(refresher: Refresher | None) -> AsyncIterator[None]:
    """Let the refresher watch while the block runs, if there is one."""
    watch = asyncio.create_task(refresher.run(), name="watch") if refresher else None
    try:
        yield
    finally:
        if watch:
            watch.cancel()
            await asyncio.wait([watch])
