"""Every message is answered, over HTTP and on standard input: in words, with the right code, and with its id."""

import asyncio
import json
import sys
from typing import Any

import httpx
import pytest

from tests.mcp.http_server import START_SECONDS

HEADERS = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
LIST = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}

BAD: list[tuple[str, int]] = [
    (json.dumps({**LIST, "id": None}), -32600), (json.dumps({**LIST, "id": 1.5}), -32600),
    (json.dumps([LIST, LIST]), -32600), (json.dumps({**LIST, "jsonrpc": "1.0"}), -32600),
    (json.dumps({"jsonrpc": "2.0", "id": 3}), -32600), ("{garbled", -32700), ("null", -32600),
]  # fmt: skip
"""Messages that are none, and the codes of their answers."""


def call(method: str, request_id: int = 7, **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": request_id, "method": method, "params": params}


UNKNOWN = [
    call("tools/call", name="nope", arguments={}),
    call("prompts/get", name="nope"),
    call("resources/read", uri="x://nope"),
]


async def test_over_http(url: str) -> None:
    async with httpx.AsyncClient(base_url=url, headers=HEADERS) as client:
        for message, code in BAD:
            answer = await client.post("/mcp", content=message)
            assert (answer.status_code, answer.json()["error"]["code"]) == (400, code), message
            assert (
                len(answer.text) < 300 and "pydantic" not in answer.text and "validation error" not in answer.text
            )
        for request in UNKNOWN:
            told = (await client.post("/mcp", json=request)).json()
            assert (told["error"]["code"], told["id"]) == (-32602, 7)
            assert "nope" in told["error"]["message"]
        for method in ("GET", "DELETE"):
            answer = await client.request(method, "/mcp")
            assert (answer.status_code, answer.headers["allow"]) == (405, "POST, OPTIONS")
        hosts = [
            await client.post("/mcp", json=LIST, headers={"Host": host})
            for host in ("LOCALHOST", "MCP.Example.ORG")
        ]
        assert [answer.status_code for answer in hosts] == [200, 200]
        for headers, status in (({"Host": "other.example"}, 421), ({"Origin": "https://other.example"}, 403)):
            answer = await client.post("/mcp", json=LIST, headers=headers)
            assert answer.status_code == status and "CODEBASE_ALLOWED_HOSTS" in answer.text


async def test_a_browser_of_an_allowed_origin_may_ask_and_read(url: str) -> None:
    asked = {
        "Origin": "http://localhost:6274", "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type,mcp-protocol-version",
    }  # fmt: skip
    async with httpx.AsyncClient(base_url=url) as client:
        preflight = await client.options("/mcp", headers=asked)
        answer = await client.post("/mcp", json=LIST, headers={**HEADERS, "Origin": asked["Origin"]})
        stranger = await client.options("/mcp", headers={**asked, "Origin": "https://evil.example"})
        nobody = await client.post("/mcp", json=LIST, headers=HEADERS)
    assert (preflight.status_code, preflight.headers["access-control-allow-origin"]) == (204, asked["Origin"])
    assert preflight.headers["access-control-allow-headers"] == asked["Access-Control-Request-Headers"]
    assert "POST" in preflight.headers["access-control-allow-methods"]
    assert answer.headers["access-control-allow-origin"] == asked["Origin"] and answer.headers["vary"] == "Origin"
    assert stranger.status_code == 403 and "access-control-allow-origin" not in stranger.headers
    assert "access-control-allow-origin" not in nobody.headers


@pytest.mark.parametrize("era", ["2025-11-25", "2026-07-28"])
async def test_only_tools_are_announced(era: str, url: str) -> None:
    meta = {
        "io.modelcontextprotocol/protocolVersion": era, "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": {"name": "t", "version": "1"},
    }  # fmt: skip
    client_info = {"name": "t", "version": "1"}
    params: dict[str, Any] = {"protocolVersion": era, "capabilities": {}, "clientInfo": client_info}
    message = call("initialize", **params) if era.startswith("2025") else call("server/discover", _meta=meta)
    headers = {**HEADERS, "MCP-Protocol-Version": era, "Mcp-Method": message["method"]}
    async with httpx.AsyncClient() as client:
        told = (await client.post(f"{url}/mcp", json=message, headers=headers)).json()
    assert list(told["result"]["capabilities"]) == ["tools"], told


async def test_on_standard_input(environment: dict[str, str]) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "codebase_mcp", env=environment, stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    assert process.stdin is not None and process.stdout is not None
    greeting = call("initialize", 0, protocolVersion="2025-11-25", capabilities={},
                    clientInfo={"name": "t", "version": "1"})  # fmt: skip
    lines = [*(message for message, _ in BAD), "", "\xff\udcff", json.dumps(greeting), *map(json.dumps, UNKNOWN)]
    process.stdin.write("".join(f"{line}\n" for line in lines).encode(errors="surrogateescape"))
    answers: list[dict[str, Any]] = []
    async with asyncio.timeout(2 * START_SECONDS):
        while len(answers) < len(BAD) + 2 + len(UNKNOWN):
            answers.append(json.loads(await process.stdout.readline()))
        process.stdin.close()
        assert await process.wait() == 0
    refused = [answer["error"]["code"] for answer in answers if answer["id"] is None or answer["id"] in (1, 3)]
    assert sorted(refused) == sorted([code for _, code in BAD] + [-32700])
    (greeted,) = [answer for answer in answers if answer["id"] == 0]
    assert list(greeted["result"]["capabilities"]) == ["tools"]
    assert [answer["error"]["code"] for answer in answers if answer["id"] == 7] == [-32602] * len(UNKNOWN)
