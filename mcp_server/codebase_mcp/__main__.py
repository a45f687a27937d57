"""`python -m codebase_mcp`: serve over standard input and output, or with --http over HTTP."""

import argparse
import asyncio
import logging
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from kubernetes.aio.config import ConfigException

from codebase_index import embedding, logs, trusted_ca
from codebase_index.store.database import Database
from codebase_index.store.ingest.work import Work
from codebase_index.store.jobs.jobs import Jobs
from codebase_mcp.garbage_collection import periodic_collection
from codebase_mcp.jobs.cluster import KubernetesCluster
from codebase_mcp.jobs.service import JobService
from codebase_mcp.search.service import SearchService
from codebase_mcp.settings import Settings, SettingsError
from codebase_mcp.tools.tools import build_server
from codebase_mcp.transport.health import HealthChecks
from codebase_mcp.transport.http import build_app, serve_http
from codebase_mcp.transport.stdio import serve_stdio

POOL_SIZE = 8
DATABASE_TIMEOUT_SECONDS = 10.0
"""Timeout for connecting and for each statement: longer than those of the services, whose messages say more."""

MISCONFIGURED = 2
"""Exit code for invalid settings: a restart does not help."""


@dataclass(frozen=True)
class Services:
    """The services behind the transports."""

    jobs: JobService
    search: SearchService
    health: HealthChecks


@asynccontextmanager
async def open_services(settings: Settings) -> AsyncIterator[Services]:
    """Open the database pool and the API client; neither has to answer yet."""
    database = await Database.open(
        settings.database, name="codebase-mcp-server", size=POOL_SIZE, timeout=DATABASE_TIMEOUT_SECONDS
    )
    try:
        async with KubernetesCluster.connect(settings.namespace) as cluster:
            namespaces = [settings.namespace]
            jobs = Jobs(database, namespaces)
            service = JobService(settings.policy, cluster, jobs, Work(database), settings.queue)
            search = SearchService.from_database(database, embedding.by_name, namespaces, settings.policy)
            yield Services(service, search, HealthChecks(jobs, cluster))
            await service.close()
            search.close()
    finally:
        await database.close()


async def serve(settings: Settings, over_http: bool) -> None:
    """Serve until the client disconnects or a signal comes."""
    async with open_services(settings) as services, periodic_collection():
        server = build_server(services.jobs, services.search)
        if over_http:
            await serve_http(build_app(server, services.health, settings), services.health, settings)
        else:
            await serve_stdio(server)


def main() -> int:
    """Run the program as the command line asks; return its exit code."""
    parser = argparse.ArgumentParser(prog="codebase_mcp", description=__doc__)
    parser.add_argument("--http", action="store_true", help="serve streamable HTTP on CODEBASE_PORT at /mcp")
    return run(over_http=parser.parse_args().http)


def run(*, over_http: bool) -> int:
    """Serve with the settings of the environment; return the exit code."""
    try:
        settings = Settings.from_env()
        trusted_ca.install()
        logs.configure("mcp-server", settings.log_level)
        logging.getLogger("mcp.server.streamable_http").setLevel(logging.WARNING)  # else several lines a request
        asyncio.run(serve(settings, over_http))
    except SettingsError as error:
        return _misconfigured(str(error))
    except ConfigException as error:
        return _misconfigured(
            f"the Kubernetes API is not configured ({error}); run in a pod with a service account, or set "
            "KUBECONFIG"
        )
    except KeyboardInterrupt:
        return 130
    return 0


def _misconfigured(message: str) -> int:
    print(f"codebase_mcp: {message}", file=sys.stderr)  # noqa: T201 - for the person who starts it, not for a log
    return MISCONFIGURED


if __name__ == "__main__":
    sys.exit(main())
