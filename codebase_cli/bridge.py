"""Standard input and output of an MCP client, connected with a server over streamable HTTP.

It passes messages on and knows nothing of tools, so every client and every version of the server fits.
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Final

import httpx2

from codebase_cli.exits import CommandFailed
from codebase_cli.servers.endpoint import Endpoint
from codebase_cli.servers.messages import CONNECTION_CLOSED, PARSE_ERROR, Message, exchange

Write = Callable[[str], None]

_LONGEST_LINE: Final = 4 * 1024 * 1024
"""Bytes. The server takes 256 KiB; this is only so that a longer message is refused by it, with a reason."""

_END_SECONDS: Final = 5.0
"""For answers that are under way when the client closes its end."""


async def bridge(opened: AbstractAsyncContextManager[Endpoint]) -> None:
    """Serve on standard input and output until the client closes its end. Raises NoServer."""
    async with opened as endpoint, endpoint.http_client() as http:
        await Bridge(http, endpoint, _write_line).run(_lines_of_stdin())


class Bridge:
    """Passes messages on, each on its own, so that a slow answer holds up no other."""

    def __init__(self, http: httpx2.AsyncClient, endpoint: Endpoint, write: Write) -> None:
        self._http = http
        self._endpoint = endpoint
        self._write = write
        self._under_way: dict[str, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._agreed: str | None = None

    async def run(self, lines: AsyncIterator[bytes]) -> None:
        """Pass on every line of a client, until there are no more."""
        async for line in lines:
            if line.strip():
                await self._take(line)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_END_SECONDS)
        for task in self._tasks:
            task.cancel()

    async def _take(self, line: bytes) -> None:
        try:
            message: Message = json.loads(line)
            method = message.get("method")
        except (ValueError, AttributeError) as error:
            return self._answer_error(None, PARSE_ERROR, f"this line is no JSON-RPC message ({error})")
        if method == "notifications/cancelled":
            # Over HTTP, a request is cancelled by closing its connection.
            asked = json.dumps((message.get("params") or {}).get("requestId"))
            if asked in self._under_way:
                self._under_way[asked].cancel()
            return None
        task = asyncio.create_task(self._pass_on(message))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if "id" in message:
            key = json.dumps(message["id"])
            self._under_way[key] = task
            task.add_done_callback(lambda _: self._under_way.pop(key, None))
        if method in ("initialize", "notifications/initialized"):
            await task  # what follows may rest on it
        return None

    async def _pass_on(self, message: Message) -> None:
        try:
            async for answer in exchange(self._http, self._endpoint, message, self._agreed):
                if message.get("method") == "initialize":
                    self._agreed = (answer.get("result") or {}).get("protocolVersion")
                self._write(json.dumps(answer, ensure_ascii=False, separators=(",", ":")))
        except httpx2.HTTPError as error:
            self._answer_error(message, CONNECTION_CLOSED, str(self._endpoint.unreachable(error)))
        except (CommandFailed, ValueError) as error:
            self._answer_error(message, CONNECTION_CLOSED, str(error))

    def _answer_error(self, message: Message | None, code: int, why: str) -> None:
        """Tell the client why a request has no answer; a notification has none anyway."""
        if message is None or "id" in message:
            of = message["id"] if message else None
            error = {"code": code, "message": why}
            self._write(json.dumps({"jsonrpc": "2.0", "id": of, "error": error}))


async def _lines_of_stdin() -> AsyncIterator[bytes]:
    reader = asyncio.StreamReader(limit=_LONGEST_LINE)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    async for line in reader:
        yield line


def _write_line(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
