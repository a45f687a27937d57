"""What the command needs of a Kubernetes API server: services, pods, and a port-forward to a real server.

The port-forward speaks `v4.channel.k8s.io` as the kubelet does: a byte for the channel, and the port first.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp import web

from tests.support.web_server import served

SERVER = {"app.kubernetes.io/name": "codebase-mcp", "app.kubernetes.io/component": "server"}


@dataclass
class ApiServer:
    """The API server of a cluster with releases in some namespaces, whose pods' port is `port` of this machine."""

    port: int
    releases: set[str] = field(default_factory=set)
    ready: bool = True
    forbidden: set[str] = field(default_factory=set)
    """Namespaces that the user may not look into; "*": all at once."""
    forwards: list[str] = field(default_factory=list)
    """The pods to which connections were opened."""
    account_tokens: dict[str, str] = field(default_factory=dict)
    """By namespace and name of a service account: the token that it makes for our server."""
    url: str = ""

    def kubeconfig(self, namespace: str = "default") -> dict[str, Any]:
        """One whose current context is `here`, with this namespace."""
        return {
            "apiVersion": "v1", "kind": "Config", "current-context": "here",
            "clusters": [{"name": "here", "cluster": {"server": self.url}}],
            "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me", "namespace": namespace}}],
            "users": [{"name": "me", "user": {"token": "mine"}}],
        }  # fmt: skip

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["ApiServer"]:
        """Serve on a free port as long as the block."""
        app = web.Application()
        app.router.add_get("/api/v1/namespaces/{namespace}/services", self._services)
        app.router.add_get("/api/v1/services", self._services)
        app.router.add_get("/api/v1/namespaces/{namespace}/pods", self._pods)
        app.router.add_get("/api/v1/namespaces/{namespace}/pods/{pod}/portforward", self._port_forward)
        app.router.add_post("/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token", self._make_token)
        async with served(app) as self.url:
            yield self

    async def _services(self, request: web.Request) -> web.Response:
        asked = request.match_info.get("namespace", "*")
        assert request.headers["Authorization"] == "Bearer mine"
        if asked in self.forbidden:
            return web.json_response({"kind": "Status", "reason": "Forbidden"}, status=403)
        names = sorted(self.releases if asked == "*" else self.releases & {asked})
        return web.json_response({"kind": "ServiceList", "items": [
            {"metadata": {"name": "codebase-mcp-server", "namespace": name, "labels": SERVER}} for name in names
        ]})  # fmt: skip

    async def _make_token(self, request: web.Request) -> web.Response:
        asked = await request.json()
        token = self.account_tokens.get("{namespace}/{name}".format(**request.match_info))
        if token is None:
            return web.json_response({"kind": "Status", "reason": "Forbidden"}, status=403)
        assert asked["spec"]["audiences"] == ["codebase-mcp"]
        status = {"token": token, "expirationTimestamp": "2099-01-01T00:00:00Z"}
        return web.json_response({"kind": "TokenRequest", "spec": asked["spec"], "status": status}, status=201)

    async def _pods(self, request: web.Request) -> web.Response:
        assert "component=server" in request.query["labelSelector"]
        ports = [{"name": "probes", "containerPort": 8081}, {"name": "http", "containerPort": 8080}]
        return web.json_response({"kind": "PodList", "items": [{
            "metadata": {"name": "server-1", "namespace": request.match_info["namespace"]},
            "spec": {"containers": [{"name": "server", "ports": ports}]},
            "status": {"conditions": [{"type": "Ready", "status": str(self.ready)}]},
        }]})  # fmt: skip

    async def _port_forward(self, request: web.Request) -> web.WebSocketResponse:
        assert (request.query["ports"], request.headers["Authorization"]) == ("8080", "Bearer mine")
        self.forwards.append(request.match_info["pod"])
        websocket = web.WebSocketResponse(protocols=["v4.channel.k8s.io"])
        await websocket.prepare(request)
        for channel in (0, 1):
            await websocket.send_bytes(bytes([channel]) + (8080).to_bytes(2, "little"))
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError as error:
            await websocket.send_bytes(b"\x01" + f"an error occurred forwarding 8080: {error}".encode())
            await websocket.close()
            return websocket
        back = asyncio.create_task(_send_back(reader, websocket))
        async for message in websocket:
            if message.type is aiohttp.WSMsgType.BINARY and message.data[0] == 0:
                writer.write(message.data[1:])
                await writer.drain()
        back.cancel()
        writer.close()
        return websocket


async def _send_back(reader: asyncio.StreamReader, websocket: web.WebSocketResponse) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            await websocket.send_bytes(b"\x00" + data)
    await websocket.close()
