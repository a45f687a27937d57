"""The services behind the transports: the same on a cluster and embedded."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass

from codebase_index import embedding
from codebase_index.store.database import Database
from codebase_index.store.ingest.work import Work
from codebase_index.store.jobs.jobs import Jobs
from codebase_mcp.jobs.cluster import Cluster
from codebase_mcp.jobs.service import JobService
from codebase_mcp.reading.service import ReadingService
from codebase_mcp.removal import IndexRemoval
from codebase_mcp.search.service import SearchService
from codebase_mcp.settings import Settings
from codebase_mcp.transport.health import HealthChecks

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


@asynccontextmanager
async def open_services(settings: Settings, connect: ConnectCluster) -> AsyncIterator[Services]:
    """Open the database pool and the way to the jobs; neither has to answer yet."""
    database = await Database.open(
        settings.database, name="codebase-mcp-server", size=POOL_SIZE, timeout=DATABASE_TIMEOUT_SECONDS
    )
    try:
        namespaces = [settings.namespace]
        removing = IndexRemoval.running(database, namespaces) if settings.allow_deletion else nullcontext()
        async with connect(settings, database) as cluster, removing as removal:
            jobs = Jobs(database, namespaces)
            service = JobService(settings.policy, cluster, jobs, Work(database), settings.queue)
            search = SearchService.from_database(database, embedding.by_name, namespaces, settings.policy)
            reading = ReadingService.from_database(database, namespaces)
            yield Services(service, search, reading, removal, HealthChecks(jobs, cluster))
            await service.close()
            search.close()
    finally:
        await database.close()
