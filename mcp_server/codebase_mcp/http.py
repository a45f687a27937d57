"""Streamable HTTP: the MCP endpoint, the health routes, and the checks of who may speak to them."""

import asyncio
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import uvicorn
from mcp.server import MCPServer
from mcp.server.transport_security import TransportSecuritySettings
from starlette.applications import Starlette
from starlette.types import ASGIApp, Receive, Scope, Send

from codebase_mcp.caller import Network, believed, calling
from codebase_mcp.health import Health
from codebase_mcp.settings import Settings

MAX_BODY_BYTES = 256 * 1024
"""The largest arguments are two paths and a query: some 20 KB."""

GRACE_SECONDS = 3
"""How long open streams may hold up a shutdown: below Kubernetes' 30 s, above the longest write of a tool."""

MAX_CONNECTIONS = 512


def build_app(server: MCPServer, health: Health, settings: Settings) -> Starlette:
    """Return the application: `/mcp`, `/healthz`, `/readyz`."""
    app = server.streamable_http_app(
        streamable_http_path="/mcp",
        # No session, so any replica can answer any request. Nothing here pushes to clients.
        stateless_http=True,
        json_response=True,
        max_request_body_size=MAX_BODY_BYTES,
        transport_security=TransportSecuritySettings(
            allowed_hosts=settings.host_headers, allowed_origins=settings.origins
        ),
    )
    app.router.routes.extend(health.routes())
    app.add_middleware(Callers, proxies=settings.trusted_proxies)
    return app


class Callers:
    """Tells whoever answers a request who makes it: `caller.current()`."""

    def __init__(self, app: ASGIApp, proxies: Sequence[Network]) -> None:
        self._app = app
        self._proxies = proxies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        peer, _ = scope.get("client") or (None, None)
        forwarded = [value.decode("latin-1") for name, value in scope["headers"] if name == b"x-forwarded-for"]
        with calling(believed(peer, forwarded, self._proxies)):
            await self._app(scope, receive, send)


async def serve_http(app: Starlette, settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT; open streams are closed after a grace period."""
    config = uvicorn.Config(
        app,
        host=settings.bind,
        port=settings.port,
        log_config=None,  # ours stands
        access_log=False,  # the audit log says more
        server_header=False,
        proxy_headers=False,  # `Callers` knows whom to believe
        limit_concurrency=MAX_CONNECTIONS,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    await _Server(config).serve()


class _Server(uvicorn.Server):
    """uvicorn, but a signal only ends `serve`: uvicorn itself sends it again when it is done, which would kill the
    process before the database and the API client are closed.
    """

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        caught = (signal.SIGTERM, signal.SIGINT)
        for number in caught:
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in caught:
                loop.remove_signal_handler(number)
