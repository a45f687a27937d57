"""Asks a running MCP server whether it can do all of its work and which tools it has; exits with 1 when it cannot.

The first argument is the server's address, such as http://codebase-mcp-server:8080; the second, how many seconds
an installation that is only starting has until all is well (60).
"""

import asyncio
import sys
import time

import httpx
from mcp import Client

EXPECTED = {
    "start_indexing_background",
    "get_indexing_status",
    "cancel_indexing_background",
    "list_indexing_jobs",
    "search_code",
    "read_code",
    "list_files",
    "list_repositories",
}


def is_well(address: str, patience: float) -> bool:
    """Wait until the server says that its database and its cluster are well. Degraded, it is ready too."""
    until = time.monotonic() + patience
    while True:
        try:
            answer = httpx.get(f"{address}/readyz", timeout=10)
            said, well = f"{answer.status_code} {answer.text}", answer.json()["status"] == "ok"
        except (httpx.TransportError, ValueError, KeyError) as error:
            said, well = f"{type(error).__name__}: {error}", False
        if well or time.monotonic() >= until:
            print(f"{address}/readyz: {said}")
            return well
        time.sleep(1)


async def main(address: str, patience: float) -> int:
    if not is_well(address, patience):
        return 1
    if httpx.post(f"{address}/mcp", timeout=10).status_code == httpx.codes.UNAUTHORIZED:
        print("it asks for a token, as it is set to; its tools are shown to those who have one")
        return 0
    async with Client(f"{address}/mcp") as client:
        tools = {tool.name for tool in (await client.list_tools()).tools}
    print("tools:", ", ".join(sorted(tools)))
    if missing := EXPECTED - tools:
        print("missing:", ", ".join(sorted(missing)))
        return 1
    return 0


sys.exit(asyncio.run(main(sys.argv[1], float((sys.argv[2:] or ["60"])[0]))))
