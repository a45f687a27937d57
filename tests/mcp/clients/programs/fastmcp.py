"""FastMCP's client, which checks answers against our schemas."""

import asyncio
import json
import sys

sys.path.pop(0)  # this folder holds a file of the library's name

from fastmcp import Client


async def main(url, calls):
    async with Client(url) as client:
        tools = [tool.name for tool in await client.list_tools()]
        errors = {}
        for name, arguments in calls.items():
            errors[name] = (await client.call_tool(name, arguments, raise_on_error=False)).is_error
    print(json.dumps({"tools": tools, "errors": errors}))


asyncio.run(main(sys.argv[1], json.loads(sys.argv[2])))
