"""The server with its services, over real HTTP on loopback, for callers who prove who they are."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from codebase_cli.servers import messages
from codebase_mcp.jobs.kubernetes_cluster import KubernetesCluster
from codebase_mcp.services import open_services
from codebase_mcp.settings import Settings
from codebase_mcp.tools.tools import build_server
from codebase_mcp.transport.http import build_app
from tests.mcp.http_server import KUBECONFIG
from tests.mcp.identity.api_server import ApiServer

NAMESPACE = "default"


@dataclass
class Served:
    """A server, to which tools are called with tokens."""

    http: httpx.AsyncClient

    async def post(
        self, token: str | None, tool: str, arguments: dict[str, Any], **headers: str
    ) -> httpx.Response:
        """Call a tool, and return the answer of the HTTP layer."""
        envelope = {
            messages.VERSION_KEY: messages.VERSION, messages.CAPABILITIES_KEY: {},
            messages.CLIENT_KEY: {"name": "test", "version": "1"},
        }  # fmt: skip
        params = {"name": tool, "arguments": arguments, "_meta": envelope}
        message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
        authorization = {"Authorization": f"Bearer {token}"} if token is not None else {}
        return await self.http.post(
            "/mcp", json=message, headers={**messages.headers_of(message), **authorization, **headers}
        )

    async def text(self, token: str | None, tool: str, **arguments: Any) -> str:
        """Call a tool, and return the text of its answer, or `401` and `503`."""
        answer = await self.post(token, tool, arguments)
        if answer.status_code != 200:
            return str(answer.status_code)
        return str(answer.json()["result"]["content"][0]["text"])


@pytest.fixture
async def api_server() -> AsyncIterator[ApiServer]:
    async with ApiServer().serving() as server:
        yield server


Serving = Callable[..., AbstractAsyncContextManager[Served]]

BOUNDS = (
    "identity.kubernetes.TIMEOUT_SECONDS",
    "identity.oidc.TIMEOUT_SECONDS",
    "jobs.kubernetes_cluster.REQUEST_TIMEOUT_SECONDS",
    "jobs.service.STATUS_TIMEOUT_SECONDS",
    "reading.service.TIMEOUT_SECONDS",
    "search.modes.text.TEXT_TIMEOUT_SECONDS",
    "search.service.SEARCH_TIMEOUT_SECONDS",
    "services.DATABASE_TIMEOUT_SECONDS",
    "transport.health.CHECK_TIMEOUT_SECONDS",
)
"""How long a part of the server waits for another one."""


@pytest.fixture
def serving_with(
    api_server: ApiServer, dsn: str, roots: Path, tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> Serving:  # fmt: skip
    """Serve with more settings; the Kubernetes API is the test's own, unless another kubeconfig is named."""
    kubeconfig = tmp_path_factory.mktemp("api") / "kubeconfig"
    kubeconfig.write_text(json.dumps(KUBECONFIG).replace("http://127.0.0.1:{port}", api_server.url))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    for module in BOUNDS:
        monkeypatch.setattr(f"codebase_mcp.{module}", 60.0)  # however slow the machine

    @asynccontextmanager
    async def serving(api: Path = kubeconfig, **more: str) -> AsyncIterator[Served]:
        monkeypatch.setenv("KUBECONFIG", str(api))
        settings = Settings.from_env(
            {
                "CODEBASE_DATABASE_URL": dsn,
                "CODEBASE_ROOTS": json.dumps([{"path": str(roots)}]),
                "CODEBASE_NAMESPACE": NAMESPACE,
                "CODEBASE_ALLOW_DELETION": "true",
                **more,
            }
        )
        async with open_services(settings, lambda s, _: KubernetesCluster.connect(s.namespace)) as services:
            tools = build_server(services.jobs, services.search, services.reading, services.gate, services.removal)
            app = build_app(tools, services.health, settings, services.authenticator)
            server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, proxy_headers=False))
            server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign,assignment]
            task = asyncio.create_task(server.serve())
            while not server.started:  # noqa: ASYNC110 - uvicorn sets no event
                await asyncio.sleep(0.01)
            url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
            try:
                async with httpx.AsyncClient(base_url=url, timeout=60) as http:
                    yield Served(http)
            finally:
                server.should_exit = True
                await task

    return serving
