"""One client takes the server away from nobody: what it holds open, how slowly it sends, and in which form."""

import asyncio
import contextlib
import json
import resource
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from codebase_mcp.limits.connection_limits import RECEIVE_SECONDS, ConnectionLimits
from codebase_mcp.transport import http
from codebase_mcp.transport.http import fit_open_files
from tests.mcp.raw_http import CHUNKED, HEAD, LIST, chunks, exchanged, posted, status_of

OF_CLIENT = 24
MOST = 48
IDLE = {
    "nothing": b"",
    "half a head": b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: ",
    "half a body": HEAD + b"Content-Length: 200000\r\n\r\n{",
    "half a chunk": HEAD + b"Transfer-Encoding: chunked\r\n\r\nffff\r\n{",
    "a promise": HEAD + b"Expect: 100-continue\r\nContent-Length: 200\r\n\r\n",
    "a stream": b"GET /mcp HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n",
    "a modern stream": b"GET /mcp HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n"
                       b"MCP-Protocol-Version: 2026-07-28\r\n\r\n",
    "an answer": b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "half a second request": b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\nGET /healthz HTTP/1.1\r\nX",
}  # fmt: skip


@asynccontextmanager
async def connected(port: int, count: int, first: bytes) -> AsyncIterator[list[socket.socket]]:
    """Hold connections that have sent this and read nothing. Each comes from loopback's one address."""
    held = []
    try:
        for _ in range(count):
            one = socket.create_connection(("127.0.0.1", port), 10)
            held.append(one)
            with contextlib.suppress(ConnectionError):  # it may be closed already, for one of those after it
                one.sendall(first)
            await asyncio.sleep(0)
        yield held
    finally:
        for one in held:
            one.close()


@pytest.fixture(scope="module")
def probe_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
async def limited(environment_of: Any, serving_http: Any, probe_port: int) -> AsyncIterator[int]:
    """The port of a server that keeps few connections. Its database is away, which changes nothing here."""
    bounds = {
        "CODEBASE_MAX_CONNECTIONS": str(MOST), "CODEBASE_MAX_CONNECTIONS_OF_CLIENT": str(OF_CLIENT),
        "CODEBASE_PROBE_PORT": str(probe_port),
    }  # fmt: skip
    async with serving_http({**environment_of(), **bounds}) as (url, _):
        yield int(url.rsplit(":", 1)[1])


@pytest.mark.parametrize("sent", IDLE.values(), ids=IDLE)
async def test_connections_that_wait_shut_nobody_out(sent: bytes, limited: int, probe_port: int) -> None:
    async with connected(limited, 3 * MOST, sent), httpx.AsyncClient() as client:
        for port, path in [(limited, "/healthz"), (probe_port, "/healthz")]:
            answer = await client.get(f"http://127.0.0.1:{port}{path}")
            assert answer.status_code == 200
        assert status_of(await exchanged(limited, posted(LIST))) == 200


async def test_what_comes_byte_by_byte_is_closed_after_the_deadline(limited: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", limited)
    began = time.monotonic()
    writer.write(HEAD + b"Content-Length: 200000\r\n\r\n")
    end = asyncio.ensure_future(reader.read())
    async with asyncio.timeout(6 * RECEIVE_SECONDS):
        while not end.done():
            writer.write(b" ")
            await asyncio.sleep(0.2)
    writer.close()
    assert time.monotonic() - began >= RECEIVE_SECONDS
    with contextlib.suppress(ConnectionError):  # its last byte may have come after the end
        assert status_of(await end) == 408


async def test_who_is_too_slow_gets_408(limited: int) -> None:
    kinds = ("half a head", "half a body", "half a second request")
    answers = await asyncio.gather(*(exchanged(limited, IDLE[kind]) for kind in kinds))
    for kind, answer in zip(kinds, answers, strict=True):
        assert b"HTTP/1.1 408 Request Timeout" in answer, kind
        assert b"did not arrive as a whole within 10 s" in answer, kind


async def test_who_does_not_read_his_answers_is_closed_too(limited: int) -> None:
    """An answer of 19 kB, 400 times: more than the buffers of a connection hold."""
    _, writer = await asyncio.open_connection("127.0.0.1", limited, limit=1)
    writer.write((HEAD + b"Content-Length: %d\r\n\r\n" % len(LIST) + LIST) * 400)
    try:
        async with asyncio.timeout(6 * RECEIVE_SECONDS):
            while not writer.is_closing():
                await asyncio.sleep(0.5)
                writer.write(b"G")  # fails when the server has gone
    finally:
        writer.transport.abort()


async def test_get_says_at_once_that_there_is_no_stream(limited: int) -> None:
    async with httpx.AsyncClient() as client:
        answer = await client.get(f"http://127.0.0.1:{limited}/mcp", headers={"Accept": "text/event-stream"})
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST, OPTIONS")


async def test_the_probe_port_serves_no_clients(limited: int, probe_port: int) -> None:
    async with httpx.AsyncClient() as client:
        assert (await client.get(f"http://127.0.0.1:{probe_port}/readyz")).json()["status"] == "unavailable"
        assert (await client.post(f"http://127.0.0.1:{probe_port}/mcp", content=LIST)).status_code == 404


async def test_the_probe_port_counts_calls_and_connections(limited: int, probe_port: int) -> None:
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "search_code", "arguments": {}}}
    assert status_of(await exchanged(limited, posted(json.dumps(call).encode()))) == 200
    waiting = f'codebase_server_connections{{port="{limited}",state="waiting"}}'
    counted = {waiting: "0"}
    async with (
        connected(limited, 2 * MOST, IDLE["half a head"]),
        httpx.AsyncClient() as client,
        asyncio.timeout(30),
    ):
        while float(counted.get(waiting, 0)) != OF_CLIENT:  # connections are counted once a second
            await asyncio.sleep(0.1)
            metrics = (await client.get(f"http://127.0.0.1:{probe_port}/metrics")).text
            counted = dict(line.rsplit(" ", 1) for line in metrics.splitlines() if not line.startswith("#"))
    assert float(counted['codebase_server_calls_total{outcome="refused",tool="search_code"}']) >= 1
    closed = f'codebase_server_connections_closed_total{{port="{limited}",reason="another needed its place"}}'
    assert float(counted[closed]) >= 2 * MOST - OF_CLIENT


MODERN = HEAD + b"MCP-Protocol-Version: 2026-07-28\r\n"
DEEP = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":' + b'{"a":' * 20_000


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        pytest.param(posted(LIST), 200, id="an ordinary request"),
        pytest.param(posted(LIST).replace(b"HTTP/1.1", b"HTTP/1.0"), 200, id="HTTP/1.0"),
        pytest.param(HEAD + CHUNKED + b"\r\n" + chunks(LIST[:9], LIST[9:]), 200, id="chunks"),
        pytest.param(posted(LIST, b"Expect: 100-continue\r\n"), 100, id="a promise that is kept at once"),
        pytest.param(posted(LIST, b"Content-Encoding: identity\r\n"), 200, id="an encoding that is none"),
        pytest.param(posted(LIST, b"Content-Encoding: gzip\r\n"), 415, id="a compressed body"),
        pytest.param(
            posted(LIST, b"Content-Encoding: identity\r\nContent-Encoding: br\r\n"), 415, id="also second"
        ),
        pytest.param(posted(b" " * 262_145).replace(b"Connection: close\r\n", b""), 413, id="a byte too many"),
        pytest.param(HEAD + CHUNKED + b"\r\n" + chunks(*[b" " * 65_536] * 5), 413, id="too much in chunks"),
        pytest.param(
            posted(b"", b"Content-Length: 9999999999999999999\r\n").replace(b"Content-Length: 0\r\n", b""),
            413,
            id="a promise of too much",
        ),
        pytest.param(posted(LIST, b"X-Y: z\r\n" * 101), 431, id="too many headers"),
        pytest.param(HEAD + CHUNKED + b"Content-Length: 5\r\n\r\n" + chunks(LIST), 400, id="two lengths"),
        pytest.param(
            HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n{}    ", 400, id="two contents' lengths"
        ),
        pytest.param(HEAD + b"Content-Length: +5\r\n\r\n{}   ", 400, id="a length with a sign"),
        pytest.param(HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 400, id="two codings"),
        pytest.param(HEAD + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 400, id="another coding"),
        pytest.param(HEAD + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", 400, id="a space before the colon"),
        pytest.param(posted(LIST, b"Host: localhost\r\n"), 400, id="two hosts"),
        pytest.param(b"GET /healthz\r\n\r\n", 400, id="HTTP/0.9"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64), 400, id="TLS"),
        pytest.param(posted(DEEP), 400, id="JSON that is too deep"),
        pytest.param(posted(DEEP, head=MODERN), 400, id="JSON that is too deep, modern"),
        pytest.param(posted(b"[" + b",".join([LIST] * 2_000) + b"]"), 400, id="a batch"),
        pytest.param(posted(b"[" + b",".join([LIST] * 2_000) + b"]", head=MODERN), 400, id="a batch, modern"),
        pytest.param(posted(LIST.replace(b'"id": 1', b'"id": ' + b"9" * 9_000)), 400, id="an id that is too long"),
        pytest.param(
            posted(LIST.replace(b'"id": 1', b'"id": ' + b"9" * 9_000), head=MODERN), 400, id="and modern"
        ),
        pytest.param(posted(LIST.replace(b"list", b"\\ud800")), 400, id="half a surrogate"),
        pytest.param(posted(b"\xef\xbb\xbf" + LIST), 400, id="a byte-order mark"),
        pytest.param(posted(LIST).replace(b"POST", b"DELETE"), 405, id="DELETE"),
        pytest.param(posted(LIST).replace(b"POST", b"TRACE"), 405, id="TRACE"),
    ],
)
async def test_odd_requests_are_answered_and_leave_the_server_as_it_was(
    request_: bytes, status: int, limited: int
) -> None:
    assert status_of(await exchanged(limited, request_)) == status
    assert status_of(await exchanged(limited, posted(LIST))) == 200


async def test_many_requests_at_once_on_one_connection_are_answered_one_after_the_other(limited: int) -> None:
    last = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    requests = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n" * 300
    answer = await exchanged(limited, requests + last)
    assert answer.count(b"HTTP/1.1 200 OK") == 301


async def test_no_metrics_and_no_documentation_are_shown_to_clients(limited: int) -> None:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{limited}") as client:
        for path in ("/metrics", "/docs", "/openapi.json", "/"):
            assert (await client.get(path)).status_code == 404


async def test_a_shutdown_waits_for_no_client_that_does_not_end_its_request(
    environment_of: Any, serving_http: Any
) -> None:
    async with serving_http(environment_of()) as (url, process):
        port = int(url.rsplit(":", 1)[1])
        async with connected(port, 10, IDLE["half a body"]), connected(port, 10, IDLE["half a head"]):
            process.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(process.wait(), 30) == 0


def test_the_limit_leaves_open_files_for_the_rest() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (600, hard))
        limits = ConnectionLimits(512, 128)
        assert fit_open_files(limits) == limits  # raised, since the hard bound allows it
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] >= 512 + http.OTHER_FILES
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_where_few_files_may_be_opened_fewer_connections_are_kept() -> None:
    """In a process of its own: nobody may raise a hard bound again."""
    program = (
        "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (600, 600));"
        "from codebase_mcp.transport.http import fit_open_files;"
        "from codebase_mcp.limits.connection_limits import ConnectionLimits;"
        "print(fit_open_files(ConnectionLimits(512, 128)).total)"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE)
    printed, _ = await process.communicate()
    assert int(printed) == 600 - http.PROBE_LIMITS.total - 2 * http.BACKLOG - http.OTHER_FILES
