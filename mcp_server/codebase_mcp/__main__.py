"""`python -m codebase_mcp`: serve over standard input and output, or with --http over HTTP."""

import argparse
import asyncio
import logging
import sys
from contextlib import AbstractAsyncContextManager

from kubernetes.aio.config import ConfigException

from codebase_index import logs, tracing, trusted_ca
from codebase_index.store.database import Database
from codebase_mcp.garbage_collection import periodic_collection
from codebase_mcp.identity.static_tokens import TokensInvalid
from codebase_mcp.jobs.kubernetes_cluster import KubernetesCluster
from codebase_mcp.services import open_services
from codebase_mcp.settings import Settings, SettingsError
from codebase_mcp.tools.tools import build_server
from codebase_mcp.transport.http import build_app, serve_http
from codebase_mcp.transport.stdio import serve_stdio

MISCONFIGURED = 2
"""Exit code for invalid settings: a restart does not help."""

_NOBODY_ASKED = (
    "CODEBASE_AUTH is not set; say how to find out who calls over HTTP: kubernetes, oidc or tokens; none lets in "
    "whoever reaches the port"
)


async def serve(settings: Settings, over_http: bool) -> None:
    """Serve until the client disconnects or a signal comes."""
    async with open_services(settings, _connect) as services, periodic_collection():
        server = build_server(
            services.jobs, services.search, services.reading, services.gate, services.removal, services.refused
        )
        if over_http:
            app = build_app(server, services.health, settings, services.authenticator)
            await serve_http(app, services.health, settings)
        else:
            await serve_stdio(server)


def _connect(settings: Settings, _: Database) -> AbstractAsyncContextManager[KubernetesCluster]:
    return KubernetesCluster.connect(settings.namespace)


def main() -> int:
    """Run the program as the command line asks; return its exit code."""
    parser = argparse.ArgumentParser(prog="codebase_mcp", description=__doc__)
    parser.add_argument("--http", action="store_true", help="serve streamable HTTP on CODEBASE_PORT at /mcp")
    return run(over_http=parser.parse_args().http)


def run(*, over_http: bool) -> int:
    """Serve with the settings of the environment; return the exit code."""
    try:
        settings = Settings.from_env()
        if over_http and settings.auth is None:
            raise SettingsError(_NOBODY_ASKED)
        trusted_ca.install()
        logs.configure("mcp-server", settings.log_level)
        tracing.configure("codebase-mcp-server")
        logging.getLogger("mcp.server.streamable_http").setLevel(logging.WARNING)  # else several lines a request
        asyncio.run(serve(settings, over_http))
    except (SettingsError, TokensInvalid) as error:
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
