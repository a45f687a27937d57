"""The Agents SDK of OpenAI in strict mode: every argument is required there, so blank ones come for the others."""

import asyncio
import json
import sys

from agents.mcp import MCPServerStreamableHttp
from agents.strict_schema import ensure_strict_json_schema


def filled(schema, arguments):
    """Return the arguments with a blank one for each that strict mode requires."""
    blank = {"string": "", "boolean": False}
    others = {
        name: part["enum"][0] if "enum" in part else part.get("minimum") if part["type"] == "integer"
        else blank[part["type"]]
        for name, part in schema["properties"].items()
        if part.get("format") != "date-time"
    }  # fmt: skip
    return {**others, **arguments}


async def main(url, calls):
    async with MCPServerStreamableHttp({"url": url}) as server:
        tools = {tool.name: tool for tool in await server.list_tools()}
        schemas = {name: ensure_strict_json_schema(tool.inputSchema) for name, tool in tools.items()}
        errors = {}
        for name, arguments in calls.items():
            if name in ("search_code", "list_files"):
                arguments = filled(schemas[name], arguments)
            errors[name] = bool((await server.call_tool(name, arguments)).isError)
    print(json.dumps({"tools": list(tools), "errors": errors}))


asyncio.run(main(sys.argv[1], json.loads(sys.argv[2])))
