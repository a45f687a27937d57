"""The MCP server over some tools: nothing else is announced, and what else is asked for is answered in words."""

from collections.abc import Sequence
from typing import Any, Final

import mcp_types as types
from mcp.server import CacheHint, Server, ServerRequestContext
from mcp.shared.exceptions import MCPError

from codebase_index import tracing
from codebase_index.trace_context import TraceContext
from codebase_index.untrusted_text import quoted
from codebase_index.version import VERSION
from codebase_mcp import metrics
from codebase_mcp.identity.gate import Gate
from codebase_mcp.selection.folders import folders_context
from codebase_mcp.tools.checked_tool import CheckedTool, OnRefusal
from codebase_mcp.tools.client_folders import ClientFolders, one_for_each_connection
from codebase_mcp.tools.outgoing import escape_outgoing

_LISTING: Final = CacheHint(ttl_ms=300_000, scope="public")
"""The list never changes while a server runs; there are no notices of changes, which would keep streams open."""

Request = ServerRequestContext[ClientFolders, Any]


def server_of(
    tools: Sequence[CheckedTool], gate: Gate, *, name: str, title: str, instructions: str,
    refused: OnRefusal = metrics.count_refusal,
) -> Server[Any]:  # fmt: skip
    """Return the server; it serves the protocol of 2026-07-28 and the earlier ones alike.

    Every call of a tool passes the gate; `refused` is told of those that are refused.
    """
    by_name = {tool.description.name: tool for tool in tools}
    listing = types.ListToolsResult(tools=[tool.description for tool in tools])

    async def list_tools(_: Request, __: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        return listing

    async def call_tool(ctx: Request, params: types.CallToolRequestParams) -> types.CallToolResult:
        tool = by_name.get(params.name)
        if tool is None:
            raise _unknown(f"there is no tool {quoted(params.name, 60)}; there are {', '.join(by_name)}")
        parent = TraceContext.parse((ctx.meta or {}).get("traceparent"))
        folders = await ctx.lifespan_context.of(ctx)
        with tracing.span(f"tool {params.name}", parent), folders_context(folders):
            return await tool.call(params.arguments or {}, gate, refused)

    async def get_prompt(_: Request, params: types.GetPromptRequestParams) -> types.GetPromptResult:
        raise _unknown(f"there is no prompt {quoted(params.name, 60)}: this server has tools only")

    async def read_resource(_: Request, params: types.ReadResourceRequestParams) -> types.ReadResourceResult:
        raise _unknown(f"there is no resource {quoted(str(params.uri), 60)}: this server has tools only")

    server: Server[ClientFolders] = Server(
        name, title=title, version=VERSION, instructions=instructions, cache_hints={"tools/list": _LISTING},
        lifespan=one_for_each_connection,
        get_tool_input_schema=lambda name: by_name[name].description.input_schema if name in by_name else None,
        on_list_tools=list_tools, on_call_tool=call_tool, on_get_prompt=get_prompt, on_read_resource=read_resource,
    )  # fmt: skip
    server.middleware.append(escape_outgoing)
    return server


def _unknown(why: str) -> MCPError:
    return MCPError(types.INVALID_PARAMS, why)
