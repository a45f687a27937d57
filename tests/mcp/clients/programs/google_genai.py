"""Google's SDK: it makes declarations of functions from our schemas, in a subset of JSON Schema."""

import asyncio
import json
import sys

from google.genai import _mcp_utils
from mcp import ClientSession
from mcp.client.streamable_http import streamablehttp_client


async def main(url, calls):
    async with streamablehttp_client(url) as (read, write, _), ClientSession(read, write) as session:
        await session.initialize()
        listed = (await session.list_tools()).tools
        declared = _mcp_utils.mcp_to_gemini_tools(listed)
        tools = [function.name for tool in declared for function in tool.function_declarations]
        errors = {
            name: bool((await session.call_tool(name, arguments)).isError) for name, arguments in calls.items()
        }
    print(json.dumps({"tools": tools, "errors": errors}))


asyncio.run(main(sys.argv[1], json.loads(sys.argv[2])))
