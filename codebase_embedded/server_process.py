"""The MCP server of an instance: the same services, over HTTP with a token, and over a Unix socket."""

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from codebase_embedded.folder import Folder
from codebase_embedded.life import end_with_instance
from codebase_embedded.resource_cluster import ResourceCluster
from codebase_embedded.settings import NAMESPACE, SETTINGS_VARIABLE, Settings
from codebase_index import logs, tracing, trusted_ca
from codebase_index.environment import flag
from codebase_index.store.database import Database
from codebase_index.store.resources.resources import Resources
from codebase_mcp.garbage_collection import periodic_collection
from codebase_mcp.services import open_services
from codebase_mcp.settings import Settings as ServerSettings
from codebase_mcp.settings import SettingsError
from codebase_mcp.tools.tools import build_server
from codebase_mcp.transport.http import build_app, serve_http
from codebase_mcp.transport.stream_socket import listening

TOUCH_INTERVAL: Final = 5.0
"""Seconds between marks of activity: far below what an instance stays unused for."""


def main() -> None:
    """Serve until SIGTERM, or until the instance ends."""
    settings = Settings.of_json(os.environ[SETTINGS_VARIABLE])
    logs.configure("mcp-server", settings.log_level)
    logging.getLogger("mcp.server.streamable_http").setLevel(logging.WARNING)
    trusted_ca.install()
    tracing.configure("codebase-mcp-server")
    asyncio.run(end_with_instance(serve(settings)))


async def serve(settings: Settings) -> None:
    """Serve until cancelled."""
    folder = Folder(settings.data)
    server_settings = ServerSettings.from_env(environment(settings, folder))
    activity = Activity(folder.activity)
    async with open_services(server_settings, _connect) as services, periodic_collection():
        server = build_server(services.jobs, services.search, services.reading, services.gate, services.removal)
        app = build_app(server, services.health, server_settings, services.authenticator)
        async with listening(server, folder.socket, activity.touch):
            activity.touch()
            await serve_http(activity.observing(app), services.health, server_settings)


def environment(settings: Settings, folder: Folder) -> dict[str, str]:
    """Return the environment of a server for this instance: what its settings are read from."""
    return {
        **os.environ,
        "CODEBASE_NAMESPACE": NAMESPACE,
        "CODEBASE_ROOTS": settings.roots_json,
        "CODEBASE_GIT_HOSTS": ",".join(settings.git_hosts),
        "CODEBASE_REFRESH": os.environ.get("CODEBASE_REFRESH") or _refresh_by_default(),
        "CODEBASE_AUTH": "tokens",
        "CODEBASE_TOKEN_FILE": str(folder.token),
        "CODEBASE_LOG_LEVEL": settings.log_level,
        "CODEBASE_BIND": "127.0.0.1",
        "CODEBASE_PROBE_PORT": str(settings.metrics_port + 1) if settings.metrics_port else "",
    }


def _refresh_by_default() -> str:
    """Say whether repositories are indexed by themselves where nobody says so: not where nothing may start."""
    return "false" if flag(os.environ, "CODEBASE_READ_ONLY", SettingsError) else "true"


@asynccontextmanager
async def _connect(_: ServerSettings, database: Database) -> AsyncIterator[ResourceCluster]:
    yield ResourceCluster(Resources(database, NAMESPACE))


@dataclass
class Activity:
    """Marks in a file that somebody uses the instance."""

    file: Path
    _touched: float = float("-inf")

    def touch(self) -> None:
        """Mark it now, but not with every request."""
        if monotonic() - self._touched >= TOUCH_INTERVAL:
            self._touched = monotonic()
            with contextlib.suppress(OSError):
                self.file.touch()

    def observing(self, app: ASGIApp) -> ASGIApp:
        """Return the application; its MCP requests count as use, probes do not."""

        async def observed(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http" and scope["path"] == "/mcp":
                self.touch()
            await app(scope, receive, send)

        return observed


if __name__ == "__main__":
    main()
