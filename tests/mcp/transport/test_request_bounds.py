"""What of a request is neither head nor body costs the server little, however it is cut into pieces."""

import asyncio
import contextlib
import logging
import os
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import h11
import pytest
from starlette.responses import PlainTextResponse

from codebase_mcp.limits.connection_limits import ConnectionLimits
from codebase_mcp.transport import http
from codebase_mcp.transport.http_protocol import RECEIVE_BYTES, ConnectionManager
from tests.mcp.raw_http import CHUNKED, HEAD, LIST, chunks, exchanged, posted, status_of

TINY_CHUNKS = HEAD + CHUNKED + b"\r\n" + b"1\r\n \r\n" * 250_000
FRAMING = "the chunk lines and trailers of the body have more than 16384 bytes; send it with Content-Length"
HEADERS = "the request has more than 100 headers; send fewer"


@pytest.fixture(scope="module")
async def server(environment_of: Any, serving_http: Any) -> AsyncIterator[tuple[int, int]]:
    """The port of a server and its process. Its database is away, which changes nothing here."""
    async with serving_http(environment_of()) as (url, process):
        yield int(url.rsplit(":", 1)[1]), process.pid


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def parse_seconds(data: bytes) -> float:
    """Return the CPU time that h11 takes to parse a request."""
    connection, start = h11.Connection(h11.SERVER), time.process_time()
    connection.receive_data(data)
    while connection.next_event() is not h11.NEED_DATA:
        pass
    return time.process_time() - start


async def answer_of(port: int, sent: bytes) -> str:
    """Return what the server answers; it may close the connection before it has read all."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    received = b""
    try:
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(60):
                while part := await reader.read(65_536):
                    received += part
    finally:
        writer.transport.abort()
    return received.decode()


@pytest.mark.parametrize(
    ("sent", "status", "why"),
    [
        pytest.param(TINY_CHUNKS, 400, FRAMING, id="one-byte chunks"),
        pytest.param(
            HEAD + CHUNKED + b"\r\n" + (b"1;" + b"x" * 4_000 + b"\r\n \r\n") * 9, 400, FRAMING, id="extensions"
        ),
        pytest.param(
            HEAD + CHUNKED + b"\r\n" + chunks(*[b" "] * 2_000)[:-2] + b"a:\r\n" * 3_000, 400, FRAMING,
            id="tiny trailers",
        ),
        pytest.param(HEAD + b"a:\r\n" * 3_000 + b"\r\n", 431, HEADERS, id="tiny headers"),
        pytest.param(HEAD + b"a:\n" * 3_000 + b"\n", 431, HEADERS, id="tiny headers, with line feeds alone"),
        pytest.param(HEAD + b"a:\r\n" * 3_000, 431, HEADERS, id="tiny headers without an end"),
        pytest.param(
            (HEAD + b"a:\r\n" * 3_000 + b"\r\n").replace(b"1.1", b"1.0"), 431, HEADERS, id="and HTTP/1.0"
        ),
        pytest.param(
            b"GET /healthz HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" + b"a:\r\n" * 200 + b"\r\n",
            431, HEADERS, id="and an upgrade",
        ),
    ],
)  # fmt: skip
async def test_what_is_mostly_framing_is_refused(
    sent: bytes, status: int, why: str, server: tuple[int, int]
) -> None:
    answer = await answer_of(server[0], sent)
    assert answer.startswith(f"HTTP/1.1 {status} ")
    assert why in answer
    assert status_of(await exchanged(server[0], posted(LIST))) == 200


@pytest.mark.parametrize("size", [128, 1_000, 65_536])
async def test_the_largest_body_may_come_in_chunks(size: int, server: tuple[int, int]) -> None:
    body = LIST + b" " * (262_144 - len(LIST))
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    assert status_of(await exchanged(server[0], HEAD + CHUNKED + b"\r\n" + chunks(*parts))) == 200


async def test_many_requests_of_tiny_chunks_cost_less_than_to_parse_one(server: tuple[int, int]) -> None:
    port, pid = server
    before = cpu_seconds(pid)
    await asyncio.gather(*(answer_of(port, TINY_CHUNKS) for _ in range(8)))
    assert cpu_seconds(pid) - before < parse_seconds(TINY_CHUNKS)


async def test_requests_that_wait_for_the_one_before_stay_outside(server: tuple[int, int]) -> None:
    """The kernel holds some megabytes of them, the server one turn's bytes: it reads no more before it answers."""
    request = (HEAD + b"Content-Length: %d\r\n\r\n" % len(LIST) + LIST) * 100
    with socket.create_connection(("127.0.0.1", server[0])) as connection:
        connection.setblocking(False)
        loop, sent, answers = asyncio.get_running_loop(), 0, 0
        async with asyncio.timeout(120):
            while answers < 200:
                with contextlib.suppress(BlockingIOError):
                    while sent < 64_000_000:
                        sent += connection.send(request[sent % len(request) :])
                answers += (await loop.sock_recv(connection, 65_536)).count(b"HTTP/1.1 200 OK")
    assert sent < 24_000_000


@asynccontextmanager
async def served(app: Any) -> AsyncIterator[int]:
    """Serve an application in this process; yield its port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = http._Server(app, "127.0.0.1", port, ConnectionManager(ConnectionLimits(9, 9)))
    task = asyncio.create_task(server.serve())
    await server.listening.wait()
    try:
        yield port
    finally:
        server.should_exit = True
        await task


async def test_a_turn_of_the_event_loop_parses_few_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    received: list[int] = []
    original = h11.Connection.receive_data

    def receive_data(self: h11.Connection, data: bytes) -> None:
        received.append(len(data))
        original(self, data)

    async def app(_: Any, receive: Any, send: Any) -> None:
        while (await receive()).get("more_body"):
            pass
        await PlainTextResponse("read")({"type": "http"}, receive, send)

    monkeypatch.setattr(h11.Connection, "receive_data", receive_data)
    async with served(app) as port:
        assert status_of(await exchanged(port, posted(b" " * 200_000))) == 200
    assert max(received) <= RECEIVE_BYTES
    assert sum(received) > 200_000


@pytest.mark.parametrize("apart", [False, True], ids=["with the head", "after the answer"])
async def test_a_malformed_body_that_nobody_reads_is_no_crash(
    apart: bool, caplog: pytest.LogCaptureFixture
) -> None:
    head = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
    async with served(PlainTextResponse("no", 421)) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head if apart else head + b"x\r\n")
        assert (b" 421 " if apart else b" 400 ") in await reader.readline()
        writer.write(b"x\r\n" if apart else b"")
        async with asyncio.timeout(60):
            await reader.read()
        writer.close()
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []
