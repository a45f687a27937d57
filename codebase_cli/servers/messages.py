"""MCP's messages over streamable HTTP: what goes into headers, and what comes back.

Written against the protocol of 2026-07-28, where each request stands for itself, and the handshake of earlier ones
for clients that the bridge serves. Not with the SDK's client: its import costs two seconds of CPU, for every
command that a person types.
"""

import base64
import json
import re
from collections.abc import AsyncIterator
from typing import Any, Final

import httpx2

from codebase_cli.servers.endpoint import Endpoint

Message = dict[str, Any]

VERSION: Final = "2026-07-28"
VERSION_KEY: Final = "io.modelcontextprotocol/protocolVersion"
CLIENT_KEY: Final = "io.modelcontextprotocol/clientInfo"
CAPABILITIES_KEY: Final = "io.modelcontextprotocol/clientCapabilities"

CONNECTION_CLOSED: Final = -32000
PARSE_ERROR: Final = -32700

_NAMED: Final = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}
"""Methods whose object's name is a header, too, and where it stands in their parameters."""

_PLAIN: Final = re.compile(r"(?!=\?base64\?)[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?")
"""Values that a header can hold as they are."""


def headers_of(message: Message, agreed: str | None = None) -> dict[str, str]:
    """Return the headers of a message's POST.

    `agreed` is the version of a handshake before it, for messages that name none of their own.
    """
    headers = {"Accept": "application/json, text/event-stream"}
    params = message.get("params") or {}
    own = (params.get("_meta") or {}).get(VERSION_KEY)
    if known := own or agreed:
        headers["MCP-Protocol-Version"] = str(known)
    if own and (method := message.get("method")):
        headers["Mcp-Method"] = method
        if name := params.get(_NAMED.get(method, "")):
            headers["Mcp-Name"] = _header_value(str(name))
    return headers


async def exchange(
    http: httpx2.AsyncClient, endpoint: Endpoint, message: Message, agreed: str | None = None
) -> AsyncIterator[Message]:
    """Send a message; yield what comes back: notifications, then the response, or nothing.

    Raises NoServer and CommandFailed for refusals of the HTTP layer, httpx2.HTTPError where nobody answers.
    """
    async with http.stream("POST", endpoint.url, json=message, headers=headers_of(message, agreed)) as response:
        if response.headers.get("content-type", "").startswith("text/event-stream"):
            async for event in httpx2.EventSource(response):
                if event.data:
                    yield json.loads(event.data)
        elif body := await response.aread():
            yield json.loads(body)


def _header_value(value: str) -> str:
    return value if _PLAIN.fullmatch(value) else f"=?base64?{base64.b64encode(value.encode()).decode()}?="
