"""Streamable HTTP: the MCP endpoint, the health routes beside it, and both ports on which they are served."""

import asyncio
import contextlib
import logging
import os
import resource
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Any, Final

import uvicorn
from mcp.server import Server
from mcp.server.transport_security import TransportSecuritySettings
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from codebase_index.listening import EVERYWHERE, listen_everywhere
from codebase_mcp import metrics
from codebase_mcp.identity.authenticator import Authenticator
from codebase_mcp.limits.caller import IpNetwork, caller_context, resolve_caller
from codebase_mcp.limits.connection_limits import ConnectionLimits
from codebase_mcp.limits.origin import Origin, origin_context
from codebase_mcp.settings import Settings, SettingsError
from codebase_mcp.transport.allowed_hosts import AllowedHosts
from codebase_mcp.transport.authentication import Authentication, metadata_routes, metadata_url
from codebase_mcp.transport.health import HealthChecks
from codebase_mcp.transport.http_protocol import ConnectionManager
from codebase_mcp.transport.middleware import MAX_BODY_BYTES, RequestGuard
from codebase_mcp.transport.probes import LoopMonitor, Probes

log = logging.getLogger(__name__)

GRACE_SECONDS: Final = 3
"""How long unfinished requests may delay a shutdown: below Kubernetes' 30 s, above a tool's longest write."""

PROBE_LIMITS: Final = ConnectionLimits(total=64, per_client=32)
"""Connections of the probe port: kubelet, Prometheus and a person."""

BACKLOG: Final = 128
"""Connections in the kernel's queue. uvicorn may accept so many at once before it closes those above the limit."""

OTHER_FILES: Final = 128
"""Open files besides clients' connections: database, Kubernetes API, embedding services, modules."""


def build_app(
    server: Server[Any], health: HealthChecks, settings: Settings, authenticator: Authenticator
) -> Starlette:
    """Return the application: `/mcp`, `/healthz`, `/readyz`, and where OIDC is used the metadata about it."""
    app = server.streamable_http_app(
        streamable_http_path="/mcp",
        # No session, so any replica can answer any request. Nothing here pushes to clients.
        stateless_http=True,
        json_response=True,
        max_request_body_size=MAX_BODY_BYTES,
        # `RequestGuard` is stricter: the SDK's takes localhost:anything for localhost.
        transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False),
    )
    (endpoint,) = app.routes
    assert isinstance(endpoint, Route)
    # The guard answers all but POST: GET would open a stream on which nothing ever comes.
    endpoint.methods = {"POST", "OPTIONS", "GET", "DELETE"}
    endpoint.app = RequestGuard(endpoint.app, AllowedHosts(settings.host_names), settings.connections)
    oidc = settings.auth.oidc if settings.auth else None
    endpoint.app = Authentication(endpoint.app, authenticator, metadata_url(oidc) if oidc else None)
    app.router.routes.extend([*health.routes(), *(metadata_routes(oidc) if oidc else ())])
    app.add_middleware(CallerMiddleware, proxies=settings.trusted_proxies)
    return app


class CallerMiddleware:
    """Sets where each request comes from: `caller.current()`, until it is known who calls, and `origin.current()`.

    Its answer has the request's id.
    """

    def __init__(self, app: ASGIApp, proxies: Sequence[IpNetwork]) -> None:
        self._app = app
        self._proxies = proxies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        peer, _ = scope.get("client") or (None, None)
        forwarded = [value.decode("latin-1") for name, value in scope["headers"] if name == b"x-forwarded-for"]
        address = resolve_caller(peer, forwarded, self._proxies)
        headers = Headers(scope=scope)
        origin = Origin.of(address, headers.get("user-agent"), headers.get("x-request-id"))

        id_header = (b"x-request-id", origin.request_id.encode())

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], id_header]}
            await send(message)

        with caller_context(address), origin_context(origin):
            await self._app(scope, receive, send_with_id)


async def serve_http(app: ASGIApp, health: HealthChecks, settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT, and then for a grace period. Raises SettingsError.

    After SIGTERM it answers for `settings.drain_seconds` more, as one that is not ready: Kubernetes sends the
    signal and takes the pod out of its Service at the same time, and clients are sent here until every node knows.
    """
    limits = fit_open_files(settings.connections)
    main = _Server(app, settings.bind, settings.port, ConnectionManager(limits, settings.trusted_proxies))
    servers = [main]
    monitor = LoopMonitor()
    if settings.probe_port:
        probes = Probes(health, monitor).app()
        servers.append(_Server(probes, settings.bind, settings.probe_port, ConnectionManager(PROBE_LIMITS)))
    try:
        with _handle_signals(servers, lambda: _drain(main, health), settings.drain_seconds):
            async with monitor.monitoring(), asyncio.TaskGroup() as group:
                group.create_task(main.serve(_sockets(settings)))
                # One after the other: a probe that succeeds says that clients are served, too.
                await main.listening.wait()
                for server in servers[1:]:
                    group.create_task(_serve_in_thread(server))
    except* SettingsError as errors:
        raise errors.exceptions[0] from None


def _sockets(settings: Settings) -> list[socket.socket] | None:
    """Return the sockets to serve on; None: one of our own."""
    return None if settings.listen_fd is None else [socket.socket(fileno=os.dup(settings.listen_fd))]


async def _serve_in_thread(server: "_Server") -> None:
    """Serve with a loop of its own. Raises SettingsError."""
    try:
        await asyncio.to_thread(lambda: asyncio.run(server.serve()))
    finally:
        server.should_exit = True  # a thread cannot be cancelled


def fit_open_files(limits: ConnectionLimits) -> ConnectionLimits:
    """Raise this process' limit of open files to what the connections need, or return lower limits."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    reserved = PROBE_LIMITS.total + 2 * BACKLOG + OTHER_FILES
    wanted = limits.total + reserved
    if 0 <= soft < wanted:
        soft = wanted if hard < 0 else min(wanted, hard)
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    total = limits.total if soft < 0 else max(min(limits.total, soft - reserved), 1)
    if total < limits.total:
        log.warning("only %d connections are served, because this process may open only %d files", total, soft)
    return replace(limits, total=total)


def _drain(server: "_Server", health: HealthChecks) -> None:
    log.info("the server was told to end; it answers until its clients are sent elsewhere")
    health.drain()
    server.part_with_clients()


@contextmanager
def _handle_signals(
    servers: Sequence["_Server"], drain: Callable[[], None], drain_seconds: float
) -> Iterator[None]:
    """Let a signal end these servers, and nothing else: uvicorn itself would send it again when it is done, which
    would kill the process before the database and the API client are closed.

    The first SIGTERM drains them first; a second one, or a person's SIGINT, does not wait for that.
    """
    loop = asyncio.get_running_loop()
    caught = (signal.SIGTERM, signal.SIGINT)
    draining: list[asyncio.TimerHandle] = []

    def end(number: int) -> None:
        for server in servers:
            server.handle_exit(number, None)

    def signalled(number: int) -> None:
        if number == signal.SIGTERM and drain_seconds and not draining:
            drain()
            draining.append(loop.call_later(drain_seconds, end, number))
        else:
            end(number)

    for number in caught:
        loop.add_signal_handler(number, signalled, number)
    try:
        yield
    finally:
        for timer in draining:
            timer.cancel()
        for number in caught:
            loop.remove_signal_handler(number)


class _Server(uvicorn.Server):
    """uvicorn on one port, with timeouts, and without signal handlers of its own."""

    def __init__(self, app: ASGIApp, host: str, port: int, manager: ConnectionManager) -> None:
        protocol: Any = manager.protocol
        super().__init__(
            uvicorn.Config(
                app,
                host=host,
                port=port,
                http=protocol,
                ws="none",
                backlog=BACKLOG,
                log_config=None,  # `logs.configure` has set it up
                access_log=False,  # the audit log says more
                server_header=False,
                proxy_headers=False,  # `CallerMiddleware` resolves callers
                timeout_graceful_shutdown=GRACE_SECONDS,
            )
        )
        self.listening = asyncio.Event()
        self._manager = manager

    def capture_signals(self) -> AbstractContextManager[None]:  # type: ignore[override]
        """Capture none."""
        return contextlib.nullcontext()

    async def startup(self, sockets: Any = None) -> None:
        """Start to listen. Raises SettingsError."""
        try:
            if sockets is None and self.config.host == EVERYWHERE:
                sockets = [listen_everywhere(self.config.port, BACKLOG)]
            await super().startup(sockets)
        except (SystemExit, OSError):  # uvicorn would end the process in the middle of it
            raise SettingsError(
                f"cannot listen on {self.config.host}, port {self.config.port}; another program may use the port "
                "already: set CODEBASE_PORT and CODEBASE_PROBE_PORT to free ports"
            ) from None
        self.listening.set()

    def part_with_clients(self) -> None:
        """End each connection with its next answer, so that a client's next request is sent to another server."""
        close = (b"connection", b"close")
        self.config.encoded_headers.append(close)  # from which uvicorn makes the headers anew each second
        self.server_state.default_headers = [*self.server_state.default_headers, close]

    async def on_tick(self, counter: int) -> bool:
        """Close overdue connections ten times a second; publish the metrics once a second."""
        self._manager.close_overdue()
        if counter % 10 == 0:
            self._publish_metrics()
        return await super().on_tick(counter)

    def _publish_metrics(self) -> None:
        port, connections, closed = self.config.port, self._manager.connections, self._manager.drain_closed()
        metrics.CONNECTIONS.labels(port, "waiting").set(connections.waiting)
        metrics.CONNECTIONS.labels(port, "working").set(len(connections) - connections.waiting)
        for reason, number in closed.items():
            metrics.CLOSED_CONNECTIONS.labels(port, reason).inc(number)
        if closed:
            log.warning("connections were closed or refused", extra={"port": port, "closed": closed})
