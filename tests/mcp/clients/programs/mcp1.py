"""The SDK's client before 2.0."""

import asyncio
import json
import sys

from mcp import ClientSession
from mcp.client.streamable_http import streamablehttp_client


async def main(url, calls):
    async with streamablehttp_client(url) as (read, write, _), ClientSession(read, write) as session:
        await session.initialize()
        tools = [tool.name for tool in (await session.list_tools()).tools]
        errors = {
            name: bool((await session.call_tool(name, arguments)).isError) for name, arguments in calls.items()
        }
    print(json.dumps({"tools": tools, "errors": errors}))


asyncio.run(main(sys.argv[1], json.loads(sys.argv[2])))
