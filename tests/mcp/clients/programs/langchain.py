"""LangChain's adapters, which make a model of each schema and check arguments against it."""

import asyncio
import json
import sys

sys.path.pop(0)  # this folder holds a file of a library's name

from langchain_core.tools import ToolException
from langchain_mcp_adapters.client import MultiServerMCPClient


async def main(url, calls):
    client = MultiServerMCPClient({"code": {"transport": "streamable_http", "url": url}})
    tools = {tool.name: tool for tool in await client.get_tools()}
    errors = {}
    for name, arguments in calls.items():
        try:
            await tools[name].ainvoke(arguments)
            errors[name] = False
        except ToolException:
            errors[name] = True
    print(json.dumps({"tools": list(tools), "errors": errors}))


asyncio.run(main(sys.argv[1], json.loads(sys.argv[2])))
