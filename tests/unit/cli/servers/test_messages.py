"""What of an MCP message is a header, too: as the SDK's own client sends it."""

import pytest
from mcp.shared.inbound import decode_header_value, encode_header_value

from codebase_cli.servers.messages import VERSION_KEY, headers_of


def call(name: str) -> dict[str, object]:
    return {"method": "tools/call", "params": {"name": name, "_meta": {VERSION_KEY: "2026-07-28"}}}


def test_a_request_that_stands_for_itself_names_version_method_and_tool() -> None:
    headers = headers_of(call("search_code"))
    assert headers["MCP-Protocol-Version"] == "2026-07-28"
    assert (headers["Mcp-Method"], headers["Mcp-Name"]) == ("tools/call", "search_code")


def test_after_a_handshake_only_the_version_is_named() -> None:
    headers = headers_of({"method": "tools/call", "params": {"name": "a"}}, "2025-11-25")
    assert headers["MCP-Protocol-Version"] == "2025-11-25" and "Mcp-Method" not in headers
    assert "MCP-Protocol-Version" not in headers_of({"method": "initialize", "params": {}})


@pytest.mark.parametrize(
    "name", ["plain", "two words", " blank", "ünï", "=?base64?x?=", "", "a\r\nEvil: 1", "x" * 300]
)
def test_names_are_written_as_the_sdk_writes_and_reads_them(name: str) -> None:
    sent = headers_of(call(name)).get("Mcp-Name")
    if name:
        assert sent == encode_header_value(name) and decode_header_value(sent) == name
