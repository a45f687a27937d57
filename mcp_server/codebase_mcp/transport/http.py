"""Streamable HTTP: the MCP endpoint, the health routes beside it, and both ports on which they are served."""

import asyncio
import contextlib
import logging
import resource
import signal
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Any, Final

import uvicorn
from mcp.server import MCPServer
from mcp.server.transport_security import TransportSecuritySettings
from starlette.applications import Starlette
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from codebase_mcp import metrics
from codebase_mcp.limits.caller import Network, believed, calling
from codebase_mcp.limits.connection_limits import Limits
from codebase_mcp.settings import Settings, SettingsError
from codebase_mcp.transport.allowed_hosts import AllowedHosts
from codebase_mcp.transport.health import Health
from codebase_mcp.transport.http_protocol import Patience
from codebase_mcp.transport.middleware import MAX_BODY_BYTES, Door

log = logging.getLogger(__name__)

GRACE_SECONDS: Final = 3
"""How long unfinished requests may hold up a shutdown: below Kubernetes' 30 s, above a tool's longest write."""

PROBE_LIMITS: Final = Limits(most=64, of_client=32)
"""Connections of the probe port: kubelet, Prometheus and a person."""

BACKLOG: Final = 128
"""Connections that the kernel keeps ready. Each time uvicorn takes so many before it closes what is too much."""

OTHER_FILES: Final = 128
"""Open files besides connections of clients: database, Kubernetes API, embedding services, modules."""


def build_app(server: MCPServer, health: Health, settings: Settings) -> Starlette:
    """Return the application: `/mcp`, `/healthz`, `/readyz`."""
    app = server.streamable_http_app(
        streamable_http_path="/mcp",
        # No session, so any replica can answer any request. Nothing here pushes to clients.
        stateless_http=True,
        json_response=True,
        max_request_body_size=MAX_BODY_BYTES,
        # `Door` is stricter: the SDK's takes localhost:anything for localhost.
        transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False),
    )
    (endpoint,) = app.routes
    assert isinstance(endpoint, Route)
    # GET would open a stream on which nothing ever comes: 405 says so, and clients go on without it.
    endpoint.methods = {"POST"}
    endpoint.app = Door(endpoint.app, AllowedHosts(settings.names), settings.connections)
    app.router.routes.extend(health.routes())
    app.add_middleware(Callers, proxies=settings.trusted_proxies)
    return app


def build_probes(health: Health) -> Starlette:
    """Return the application of the probe port: `/healthz`, `/readyz` and `/metrics`."""
    return Starlette(routes=[*health.routes(), Route("/metrics", metrics.shown)])


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


async def serve_http(app: Starlette, probes: Starlette, settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT; what is unfinished is ended after a grace period. Raises SettingsError."""
    limits = within_open_files(settings.connections)
    main = _Server(app, settings.bind, settings.port, Patience(limits, settings.trusted_proxies))
    servers = [main]
    if settings.probe_port:
        servers.append(_Server(probes, settings.bind, settings.probe_port, Patience(PROBE_LIMITS)))
    try:
        with _signals(servers):
            async with asyncio.TaskGroup() as group:
                # One after the other: a probe that succeeds says that clients are served, too.
                for server in servers:
                    group.create_task(server.serve())
                    await server.listening.wait()
    except* SettingsError as errors:
        raise errors.exceptions[0] from None


def within_open_files(limits: Limits) -> Limits:
    """Raise this process' bound of open files to what the limits need; if it cannot be, return lower limits."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    beside = PROBE_LIMITS.most + 2 * BACKLOG + OTHER_FILES
    wanted = limits.most + beside
    if 0 <= soft < wanted:
        soft = wanted if hard < 0 else min(wanted, hard)
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = limits.most if soft < 0 else max(min(limits.most, soft - beside), 1)
    if most < limits.most:
        log.warning("only %d connections, because this process may open no more than %d files", most, soft)
    return replace(limits, most=most)


@contextmanager
def _signals(servers: Sequence["_Server"]) -> Iterator[None]:
    """Let a signal end these servers, and nothing else: uvicorn itself would send it again when it is done, which
    would kill the process before the database and the API client are closed.
    """
    loop = asyncio.get_running_loop()
    caught = (signal.SIGTERM, signal.SIGINT)

    def end(number: int) -> None:
        for server in servers:
            server.handle_exit(number, None)

    for number in caught:
        loop.add_signal_handler(number, end, number)
    try:
        yield
    finally:
        for number in caught:
            loop.remove_signal_handler(number)


class _Server(uvicorn.Server):
    """uvicorn on one port, with an end to its patience, and without signals of its own."""

    def __init__(self, app: ASGIApp, host: str, port: int, patience: Patience) -> None:
        protocol: Any = patience.protocol
        super().__init__(
            uvicorn.Config(
                app,
                host=host,
                port=port,
                http=protocol,
                ws="none",
                backlog=BACKLOG,
                log_config=None,  # ours stands
                access_log=False,  # the audit log says more
                server_header=False,
                proxy_headers=False,  # `Callers` knows whom to believe
                timeout_graceful_shutdown=GRACE_SECONDS,
            )
        )
        self.listening = asyncio.Event()
        self._patience = patience

    def capture_signals(self) -> AbstractContextManager[None]:  # type: ignore[override]
        """Capture none."""
        return contextlib.nullcontext()

    async def startup(self, sockets: Any = None) -> None:
        """Begin to listen. Raises SettingsError."""
        try:
            await super().startup(sockets)
        except SystemExit:  # uvicorn would end the process in the middle of it
            raise SettingsError(
                f"nothing can listen on {self.config.host} at port {self.config.port}; another program may do so "
                "already: set CODEBASE_PORT and CODEBASE_PROBE_PORT to two that are free"
            ) from None
        self.listening.set()

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second: close what has waited too long. Once a second: tell of it."""
        self._patience.close_overdue()
        if counter % 10 == 0:
            self._tell()
        return await super().on_tick(counter)

    def _tell(self) -> None:
        port, connections, closed = self.config.port, self._patience.connections, self._patience.told()
        metrics.CONNECTIONS.labels(port, "waiting").set(connections.waiting)
        metrics.CONNECTIONS.labels(port, "working").set(len(connections) - connections.waiting)
        for reason, number in closed.items():
            metrics.CLOSED.labels(port, reason).inc(number)
        if closed:
            log.warning("connections were closed or refused", extra={"port": port, "closed": closed})
