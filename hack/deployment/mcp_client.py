"""A real MCP client, connected to the server in the cluster through `kubectl port-forward`."""

import asyncio
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import httpx
import httpx2  # what the SDK's client speaks HTTP with
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from hack.deployment.chart import NAMESPACE
from hack.deployment.commands import CommandFailed, environment, tool_path


class ToolFailed(RuntimeError):
    """The server answered a call with an error; the message is what the model would read."""


class Tools:
    """The product's tools, called as an agent calls them."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """Call a tool and return its structured answer. Raises ToolFailed."""
        result = await self._client.call_tool(tool, arguments)
        if result.is_error:
            raise ToolFailed(" ".join(getattr(part, "text", "") for part in result.content))
        assert result.structured_content is not None
        return dict(result.structured_content)


@contextmanager
def port_forward(port: int = 0) -> Iterator[str]:
    """Forward a local port to the MCP server while the block runs; yield its base URL.

    Raises CommandFailed when the server does not answer within half a minute.
    """
    port = port or _free_port()
    command = [
        tool_path("kubectl"), "port-forward", "-n", NAMESPACE, "service/codebase-mcp-server", f"{port}:8080",
        "--address", "127.0.0.1",
    ]  # fmt: skip
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment()
    )
    try:
        _wait_until_ready(f"http://127.0.0.1:{port}/healthz", process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=10)
        if process.stderr:
            process.stderr.close()


@asynccontextmanager
async def connect(base_url: str, token: str | None = None) -> AsyncIterator[Tools]:
    """Open an MCP session over streamable HTTP, with a bearer token; errors of the block leave it as they are.

    Raises ConnectionError when the server cannot be reached any more.
    """
    try:
        async with (
            _http_client(token) as http,
            Client(streamable_http_client(f"{base_url}/mcp", http_client=http)) as client,
        ):
            yield Tools(client)
    except (BaseExceptionGroup, httpx2.HTTPError) as raised:
        # The client's task groups wrap whatever is raised inside them.
        error = _first(raised)
        if isinstance(error, httpx2.HTTPError):
            raise ConnectionError(f"the MCP server at {base_url}: {type(error).__name__} {error}") from error
        raise error from None


def _http_client(token: str | None) -> httpx2.AsyncClient:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return httpx2.AsyncClient(headers=headers, timeout=httpx2.Timeout(30, read=300))  # the SDK's own timeouts


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def follow(tools: Tools, job_id: str, *, every: float, timeout: float) -> AsyncIterator[dict[str, Any]]:
    """Yield the job's status until it is final. Raises TimeoutError after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        status = await tools.call("get_indexing_status", job_id=job_id)
        yield status
        if status["status"] in ("completed", "failed", "cancelled"):
            return
        await asyncio.sleep(every)
    raise TimeoutError(f"job {job_id} is not final after {timeout} s; look at: kubectl describe ij -n {NAMESPACE}")


async def finished(tools: Tools, job_id: str, *, timeout: float) -> dict[str, Any]:
    """Wait until the job is final, and return its last status. Raises TimeoutError."""
    return [status async for status in follow(tools, job_id, every=0.5, timeout=timeout)][-1]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_ready(url: str, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if process.poll() is not None:
            problem = process.stderr.read().strip() if process.stderr else ""
            raise CommandFailed(f"kubectl port-forward ended: {problem}")
        try:
            if httpx.get(url, timeout=2).is_success:
                return
        except httpx.TransportError:
            time.sleep(0.2)
    raise CommandFailed(
        f"the MCP server does not answer at {url}; look at: kubectl logs -n {NAMESPACE} deploy/codebase-mcp-server"
    )
