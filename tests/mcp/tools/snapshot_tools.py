"""Write tools.json anew: what clients are told of the tools, committed so that each change of it is reviewed."""

import asyncio
import json
from pathlib import Path
from typing import Any, cast

from mcp import Client

from codebase_mcp.identity.gate import Gate
from codebase_mcp.tools.tools import build_server


async def described() -> list[dict[str, Any]]:
    """Return the tools as a client gets them. Describing them needs no services."""
    async with Client(build_server(cast(Any, None), cast(Any, None), cast(Any, None), Gate.of_owner())) as client:
        tools = (await client.list_tools()).tools
    return [tool.model_dump(mode="json", by_alias=True, exclude_none=True) for tool in tools]


if __name__ == "__main__":
    Path(__file__).with_name("tools.json").write_text(json.dumps(asyncio.run(described()), indent=1) + "\n")
