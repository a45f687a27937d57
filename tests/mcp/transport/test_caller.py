"""Who calls is known where the tools run, over a real socket and in both eras of the protocol."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import httpx2
import pytest
import uvicorn
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import ToolAnnotations

from codebase_index.store.jobs.jobs import Jobs
from codebase_mcp.answer import Reply
from codebase_mcp.identity.authenticator import Anybody
from codebase_mcp.identity.gate import Gate
from codebase_mcp.identity.rights import Right
from codebase_mcp.jobs.cluster import Cluster
from codebase_mcp.limits import caller
from codebase_mcp.settings import Settings
from codebase_mcp.tools.checked_tool import CheckedTool
from codebase_mcp.tools.server import server_of
from codebase_mcp.transport.health import HealthChecks
from codebase_mcp.transport.http import build_app


class Caller(Reply):
    path: str


async def whoami() -> Caller:
    """Answer with the caller."""
    await asyncio.sleep(0.05)  # others call meanwhile
    return Caller(path=caller.current())


@asynccontextmanager
async def listening(trusted: str, **more: str) -> AsyncIterator[str]:
    settings = Settings.from_env(
        {
            **more,
            "CODEBASE_DATABASE_URL": "postgresql://u:p@127.0.0.1:1/x",
            "CODEBASE_GIT_HOSTS": "git.example.org",
            "CODEBASE_TRUSTED_PROXIES": trusted,
        }
    )
    annotations = ToolAnnotations(read_only_hint=True)
    tools = server_of(
        [CheckedTool.of(whoami, Right.STATUS, "Who am I", annotations)],
        Gate.of_owner(),
        name="x",
        title="x",
        instructions="",
    )
    app = build_app(tools, HealthChecks(cast(Jobs, None), cast(Cluster, None)), settings, Anybody())
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, proxy_headers=False))
    server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign,assignment]
    task = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn sets no event
        await asyncio.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/mcp"
    finally:
        server.should_exit = True
        await task


async def asked(url: str, era: str, headers: dict[str, str]) -> str:
    async with (
        httpx2.AsyncClient(headers=headers) as http,
        Client(streamable_http_client(url, http_client=http), mode=era) as client,
    ):
        result = await client.call_tool("whoami", {})
    return str(cast(dict[str, Any], result.structured_content)["path"])


@pytest.mark.parametrize("era", ["auto", "legacy"])
async def test_a_tool_knows_its_caller_also_among_others(era: str) -> None:
    clients = [f"198.51.100.{number}" for number in range(1, 9)]
    async with listening(trusted="127.0.0.0/8") as url:
        seen = await asyncio.gather(*(asked(url, era, {"X-Forwarded-For": client}) for client in clients))
    assert seen == clients


@pytest.mark.parametrize("era", ["auto", "legacy"])
async def test_a_client_that_is_no_proxy_cannot_be_another(era: str) -> None:
    async with listening(trusted="") as url:
        assert await asked(url, era, {"X-Forwarded-For": "198.51.100.1"}) == "127.0.0.1"


async def test_behind_a_proxy_each_client_has_its_own_share_of_what_is_answered_at_once() -> None:
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "whoami", "arguments": {}}}

    async def status(http: httpx2.AsyncClient, client: str) -> httpx2.Response:
        headers = {"Accept": "application/json, text/event-stream", "X-Forwarded-For": client}
        return await http.post("/mcp", json=call, headers=headers)

    bounds = {"CODEBASE_MAX_CONNECTIONS_OF_CLIENT": "3", "CODEBASE_MAX_CONNECTIONS": "40"}
    async with (
        listening("127.0.0.0/8", **bounds) as url,
        httpx2.AsyncClient(base_url=url.removesuffix("/mcp")) as http,
    ):
        greedy = [status(http, "198.51.100.1") for _ in range(20)]
        others = [status(http, f"198.51.100.{number}") for number in range(2, 8)]
        answers = await asyncio.gather(*greedy, *others)
    refused = [answer for answer in answers[:20] if answer.status_code == 429]
    assert len(refused) >= 10 and all(answer.headers["retry-after"] == "1" for answer in refused)
    assert "3 requests of this caller are being answered" in refused[0].text
    assert {answer.status_code for answer in answers[:20]} == {200, 429}
    assert [answer.status_code for answer in answers[20:]] == [200] * 6
