"""`connect`: a real MCP client starts it, as written by `setup` into each client's configuration file."""

import asyncio
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mcp import Client
from mcp.client.stdio import StdioServerParameters

from codebase_cli.clients.catalog import CLIENTS
from tests.mcp.command.conftest import Command
from tests.mcp.conftest import Shop
from tests.support.client_entries import entry_of, started_by

TOOLS = {"search_code", "start_indexing_background", "get_indexing_status", "list_indexing_jobs"}


@pytest.mark.parametrize("name", CLIENTS)
async def test_a_client_that_starts_the_written_entry_lists_the_tools(
    name: str, command: Command, home: Path, surroundings: dict[str, str], url: str
) -> None:
    written = await command("setup", name, "--yes", "--url", url)
    assert written.code == 0, written.err
    async with Client(started_by(entry_of(CLIENTS[name], home), surroundings)) as client:
        assert {tool.name for tool in (await client.list_tools()).tools} >= TOOLS


@pytest.fixture
def through_bridge(surroundings: dict[str, str], url: str) -> Callable[[], StdioServerParameters]:
    def parameters() -> StdioServerParameters:
        return StdioServerParameters(
            command=sys.executable, args=["-m", "codebase_cli", "connect", "--url", url], env=surroundings
        )

    return parameters


async def test_both_eras_of_clients_search_through_the_bridge(
    era: str, through_bridge: Callable[[], StdioServerParameters], shop: Shop
) -> None:
    await shop.completed({"a.py": "def find_me():\n    pass\n"})
    async with Client(through_bridge(), mode=era) as client:
        results = await asyncio.gather(
            *(client.call_tool("search_code", {"query": "find_me", "mode": "symbol"}) for _ in range(8))
        )
    assert {r.structured_content["results"][0]["path"] for r in results if r.structured_content} == {"a.py"}


async def test_a_server_that_is_away_costs_the_calls_in_flight_and_nothing_else(
    surroundings: dict[str, str], environment: dict[str, str], serving_http: Callable[[dict[str, str]], Any]
) -> None:
    """As a restart of the pod is seen through the bridge."""
    url = f"http://127.0.0.1:{environment['CODEBASE_PORT']}/mcp"
    arguments = ["-m", "codebase_cli", "connect", "--url", url]
    async with serving_http(environment):
        parameters = StdioServerParameters(command=sys.executable, args=arguments, env=surroundings)
        client = Client(parameters, mode="legacy")
        await client.__aenter__()
    try:
        with pytest.raises(Exception, match="does not answer"):
            await client.list_tools()
        async with serving_http(environment):
            assert (await client.list_tools()).tools
    finally:
        await client.__aexit__(None, None, None)


async def test_the_bridge_ends_with_its_client(surroundings: dict[str, str], url: str) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "codebase_cli", "connect", "--url", url, env=surroundings,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await asyncio.wait_for(process.communicate(b'no json\n\n{"jsonrpc": "2.0"}\n'), 30)
    assert process.returncode == os.EX_OK, err
    first = json.loads(out.splitlines()[0])
    assert (first["id"], first["error"]["code"]) == (None, -32700)
