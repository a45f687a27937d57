"""Whatever comes in, by arguments of tools or by bytes: it is answered in time, and no answer shows the inside.

Hypothesis makes up the calls, for some seconds at each door. `CODEBASE_FUZZ_SECONDS=600` goes on for longer.
"""

import asyncio
import json
import os
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Any, Final

import httpx
import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from codebase_cli.servers import messages
from tests.mcp.attacks.conftest import Attacked, found_in
from tests.mcp.attacks.rows import HOST, ROOT, ROWS, TOKEN

pytestmark = pytest.mark.filterwarnings("ignore::hypothesis.errors.HypothesisWarning")
"""A case that fails is shown however long it is, and not a warning of its length in its stead."""

SECONDS: Final = float(os.environ.get("CODEBASE_FUZZ_SECONDS", "2"))
"""At each tool, and at the HTTP door."""

ANSWER_SECONDS: Final = 60
"""No answer takes longer: every tool gives up after 10 s, which a busy machine makes longer."""

ENVELOPE: Final = {
    messages.VERSION_KEY: messages.VERSION, messages.CAPABILITIES_KEY: {},
    messages.CLIENT_KEY: {"name": "fuzz", "version": "1"},
}  # fmt: skip

TEXTS: Final = st.one_of(
    st.text(max_size=200),
    st.sampled_from([row.value for row in ROWS if isinstance(row.value, str)]),
    st.sampled_from(
        [f"{ROOT}/good", f"https://{HOST}/a", "till", "till_1", "till.py", "/work/shop", "auto", "regex"]
    ),
    st.text(alphabet="\0\ud800\u202e\x1b\r\n%'\"\\{}[]()*?./", max_size=50),
    st.builds(lambda text, times: text * times, st.text(min_size=1, max_size=3), st.integers(1, 6000)),
)
NUMBERS: Final = (
    st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from([0, -1, 2**31, 2**63, 10**400])
)
VALUES: Final = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)


def search(check: Callable[[Any], None], inputs: st.SearchStrategy[Any], seconds: float = SECONDS) -> None:
    """Run a check on made-up inputs, fifty at a time, until the time is over. What fails is made smaller."""
    ends_at = time.monotonic() + seconds
    for number in count():
        if time.monotonic() >= ends_at:
            return

        @seed(number)
        @settings(max_examples=50, database=None, suppress_health_check=list(HealthCheck))
        @given(inputs)
        def fifty(value: Any) -> None:
            check(value)

        fifty()


def call_of(tool: str, arguments: Any) -> dict[str, Any]:
    params = {"name": tool, "arguments": arguments, "_meta": ENVELOPE}
    return {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}


def checked_call(http: httpx.Client, tool: str, arguments: dict[str, Any]) -> None:
    """Call a tool: an answer or a refusal of one line comes, and says nothing that it should not."""
    message = call_of(tool, arguments)
    body = json.dumps(message).encode()
    answer = http.post(
        "/mcp", content=body, headers={**messages.headers_of(message), "Content-Type": "application/json"}
    )
    assert answer.status_code in ((200,) if len(body) < 200_000 else (200, 413)), answer.text
    assert found_in(answer.text) == [], answer.text
    if answer.status_code == 200:
        result = answer.json()["result"]
        text = result["content"][0]["text"]
        assert not result.get("isError") or ("\n" not in text and not text.startswith("unavailable")), text


async def test_tools(attacked: Attacked) -> None:
    with httpx.Client(
        base_url=attacked.url, timeout=ANSWER_SECONDS, headers={"Authorization": f"Bearer {TOKEN}"}
    ) as http:
        listed = await asyncio.to_thread(http.post, "/mcp", json={**call_of("", {}), "method": "tools/list"})
        for tool in listed.json()["result"]["tools"]:
            names = st.sampled_from(sorted(tool["inputSchema"]["properties"])) | st.text(max_size=20)
            required = dict.fromkeys(tool["inputSchema"].get("required", ()), VALUES)
            some: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(required) | st.just({})
            arguments = st.builds(
                lambda one, more: {**more, **one}, some, st.dictionaries(names, VALUES, max_size=5)
            )
            name = tool["name"]
            await asyncio.to_thread(search, partial(checked_call, http, name), arguments)
    assert attacked.left_in_log() == []


HEAD_NAMES: Final = (
    "Host", "Origin", "Authorization", "Content-Type", "Content-Length", "Transfer-Encoding", "Accept", "Expect",
    "Connection", "Upgrade", "X-Forwarded-For", "X-Request-Id", "MCP-Protocol-Version", "Mcp-Method", "Mcp-Name",
    "Mcp-Session-Id", "Content-Encoding", "Cookie", "traceparent", "Last-Event-ID", "X-HTTP-Method-Override",
)  # fmt: skip
USUAL: Final = (
    "localhost", "application/json", "0", "5", "99999999999999999999", "-1", "chunked", "close", "keep-alive",
    "websocket", "100-continue", "2025-11-25", "tools/call", "gzip", "127.0.0.1",
    "text/event-stream",
)  # fmt: skip
HEAD_TEXTS: Final = st.sampled_from(USUAL) | st.text(st.characters(max_codepoint=255), max_size=60)
METHODS: Final = st.sampled_from(["POST", "GET", "PUT", "OPTIONS", "DELETE", "HEAD", "TRACE", "CONNECT", "PRI"])
TARGETS: Final = st.sampled_from(
    ["/mcp", "/healthz", "/readyz", "/", "*", "/mcp/../healthz", "//mcp", "/mcp?a=b", "http://evil.example/mcp",
     "/.well-known/oauth-protected-resource", "/metrics", "/mcp%00", "/%2e%2e/etc/passwd"]
) | st.text(st.characters(max_codepoint=255, min_codepoint=33), max_size=30)  # fmt: skip
BODIES: Final = st.one_of(
    st.binary(max_size=300),
    st.builds(lambda value: json.dumps(value).encode(), VALUES),
    st.builds(
        lambda method, params: json.dumps(
            {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        ).encode(),
        st.sampled_from(
            ["tools/call", "tools/list", "initialize", "completion/complete", "resources/read", "ping"]
        )
        | st.text(max_size=20),
        VALUES,
    ),
)


AUTHORIZED: Final = st.just(("Authorization", f"Bearer {TOKEN}"))
"""The token stands where it belongs alone: answers may repeat what other headers say."""

FRAMING: Final = ("Content-Length", "Transfer-Encoding", "Expect", "Connection", "Upgrade")
"""Headers that say where a request ends: with two of them, a server may wait for what never comes."""


@dataclass(frozen=True)
class Request:
    """A request as bytes. Of a complete one the server knows the end, and answers it."""

    sent: bytes
    is_complete: bool


@st.composite
def requests(draw: st.DrawFn) -> Request:
    """A request: bytes that are none, or one with headers that a client may not send."""
    if draw(st.integers(0, 9)) == 0:
        return Request(draw(st.binary(max_size=400)), is_complete=False)
    body, is_complete = draw(BODIES), draw(st.booleans())
    names = st.sampled_from([name for name in HEAD_NAMES if not (is_complete and name in FRAMING)])
    headers = draw(st.lists(st.tuples(names, HEAD_TEXTS) | AUTHORIZED, max_size=6))
    if is_complete:
        headers = [
            (name, "".join(value.splitlines())) for name, value in headers
        ]  # one that has a line end ends it
        headers = [
            ("Authorization", f"Bearer {TOKEN}"), ("Content-Type", "application/json"), ("Host", "localhost"),
            ("Accept", "application/json, text/event-stream"), *headers[:2],
            ("Content-Length", str(len(body))), ("Connection", "close"),
        ]  # fmt: skip
    head = "".join(f"{name}: {value}\r\n" for name, value in headers)
    version = draw(st.sampled_from(["HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/2.0", "HTTP/9"]))
    line = f"{draw(METHODS)} {draw(TARGETS)} {version}\r\n"
    return Request(f"{line}{head}\r\n".encode("latin-1", "replace") + body, is_complete)


def exchange(port: int, request: Request) -> bytes:
    """Send a request and no more; return all that comes back until the server closes the connection.

    After one that is not complete the server is told that nothing follows; then it need not answer.
    """
    with socket.create_connection(("127.0.0.1", port), timeout=ANSWER_SECONDS) as connection:
        connection.sendall(request.sent)
        if not request.is_complete:
            with suppress(OSError):  # it has closed the connection already
                connection.shutdown(socket.SHUT_WR)
        received = bytearray()
        while part := connection.recv(65536):
            received += part
    return bytes(received)


async def test_the_door(attacked: Attacked) -> None:
    port = int(attacked.url.rsplit(":", 1)[1])

    def check(request: Request) -> None:
        try:
            answer = exchange(port, request)
        except ConnectionError:  # it was closed with something of the request unread
            return
        assert answer or not request.is_complete
        status = answer.split(b" ", 2)[1:2]
        # 501 is of a Transfer-Encoding that nobody knows.
        assert not status or (status[0].isdigit() and (int(status[0]) < 500 or status == [b"501"])), answer
        assert found_in(answer.decode("latin-1")) == [], answer

    await asyncio.to_thread(search, check, requests(), 3 * SECONDS)
    async with httpx.AsyncClient() as http:
        assert (await http.get(f"{attacked.url}/healthz", timeout=ANSWER_SECONDS)).json()["status"] == "ok"
    assert attacked.left_in_log() == []
