"""A Unix socket whose connections end in a pod: `kubectl port-forward` over the Kubernetes client.

Each connection is a WebSocket of its own to the pod's `portforward`. The protocol `v4.channel.k8s.io` puts a byte
in front of each message: 0 for data, 1 for errors; the first message of either is the port, in two bytes.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
from kubernetes.aio import client
from kubernetes.aio.stream import WsApiClient

_DATA, _ERROR = 0, 1
_PORT_BYTES = 2
_CHUNK = 64 * 1024
_PING_SECONDS = 15.0
"""Between pings: an API server, or a proxy before it, ends a connection on which nothing comes for a while."""

_END_SECONDS = 2.0
"""How long a refused client has to take the reason and close its end."""

ChoosePod = Callable[[], Awaitable[tuple[str, int]]]
"""Returns a pod's name and port, for one connection. Raises PodUnreachable."""


class PodUnreachable(Exception):
    """There is no pod to connect to, or the API server refuses; the message says why."""


class PortForward:
    """Forwards connections to pods of a namespace."""

    def __init__(self, configuration: client.Configuration, namespace: str, choose_pod: ChoosePod) -> None:
        self._configuration = configuration
        self._namespace = namespace
        self._choose_pod = choose_pod

    @asynccontextmanager
    async def listening(self, socket: Path) -> AsyncIterator[None]:
        """Accept connections on a Unix socket for as long as the block."""
        async with WsApiClient(self._configuration, heartbeat=_PING_SECONDS) as websockets:  # type: ignore[no-untyped-call]
            core = client.CoreV1Api(websockets)

            async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                try:
                    await self._forward(core, reader, writer)
                except (PodUnreachable, aiohttp.ClientError, TimeoutError, OSError) as error:
                    await _refuse(reader, writer, f"no connection to its pod: {error}")
                finally:
                    with suppress(OSError):
                        writer.close()

            server = await asyncio.start_unix_server(serve, socket)
            try:
                yield
            finally:
                server.close()

    async def _forward(
        self, core: client.CoreV1Api, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        pod, port = await self._choose_pod()
        opening: Any = await core.connect_get_namespaced_pod_portforward_without_preload_content(
            pod, self._namespace, ports=str(port)
        )
        async with opening as websocket:
            to_pod = asyncio.create_task(_send_all(reader, websocket))
            try:
                await _receive_all(websocket, writer)
            finally:
                to_pod.cancel()


async def _refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, reason: str) -> None:
    """Answer as a gateway does, so that whoever called hears the reason."""
    body = reason.encode()
    head = f"HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\n"
    with suppress(OSError, TimeoutError):
        writer.write(f"{head}Connection: close\r\n\r\n".encode() + body)
        writer.write_eof()
        # What the client is still sending has to be read: a socket that is closed before that loses the answer.
        async with asyncio.timeout(_END_SECONDS):
            while await reader.read(_CHUNK):
                pass


async def _send_all(reader: asyncio.StreamReader, websocket: aiohttp.ClientWebSocketResponse) -> None:
    while data := await reader.read(_CHUNK):
        await websocket.send_bytes(bytes([_DATA]) + data)
    await websocket.close()


async def _receive_all(websocket: aiohttp.ClientWebSocketResponse, writer: asyncio.StreamWriter) -> None:
    """Write what the pod sends, until one side closes. Raises PodUnreachable for an error that comes instead."""
    begun: set[int] = set()
    written = False
    async for message in websocket:
        if message.type is not aiohttp.WSMsgType.BINARY:
            continue
        channel, data = message.data[0], message.data[1:]
        if channel not in begun:
            begun.add(channel)
            data = data[_PORT_BYTES:]
        if not data:
            continue
        if channel == _ERROR:
            if written:
                return  # the client sees an answer that ends too early
            raise PodUnreachable(data.decode(errors="replace"))
        written = True
        writer.write(data)
        await writer.drain()
