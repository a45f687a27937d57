"""Asks a running MCP server whether it is ready and which tools it has; exits with 1 when something is missing.

The first argument is the server's address, such as http://codebase-mcp-server:8080.
"""

import asyncio
import sys

import httpx
from mcp import Client

EXPECTED = {
    "start_indexing_background",
    "get_indexing_status",
    "cancel_indexing_background",
    "list_indexing_jobs",
    "search_code",
}


async def main(address: str) -> int:
    ready = httpx.get(f"{address}/readyz", timeout=10)
    print(f"{address}/readyz: {ready.status_code} {ready.text}")
    if not ready.is_success:
        return 1
    async with Client(f"{address}/mcp") as client:
        tools = {tool.name for tool in (await client.list_tools()).tools}
    print("tools:", ", ".join(sorted(tools)))
    if missing := EXPECTED - tools:
        print("missing:", ", ".join(sorted(missing)))
        return 1
    return 0


sys.exit(asyncio.run(main(sys.argv[1])))
