"""MCP over a Unix socket, each connection as over standard input and output: a message a line.

For clients of the same user, who alone may open the socket.
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from mcp.server import Server

from codebase_mcp.transport.stdio import serve_lines

MAX_LINE_BYTES: Final = 1024 * 1024
"""The largest message: arguments are some 20 KB; more is a client that is out of step."""


@asynccontextmanager
async def listening(server: Server[Any], path: Path, touch: Callable[[], None]) -> AsyncIterator[None]:
    """Serve connections to a socket at this path while the block runs. `touch` is called with each message."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            # A client that is gone, or out of step, ends its own connection alone.
            with contextlib.suppress(ConnectionError, ValueError):
                await serve_lines(server, _lines(reader, touch), lambda line: _write(writer, line))
        finally:
            writer.close()

    path.unlink(missing_ok=True)  # noqa: ASYNC240 - once, at the start
    before = os.umask(0o177)
    try:
        listener = await asyncio.start_unix_server(connected, path, limit=MAX_LINE_BYTES)
    finally:
        os.umask(before)
    try:
        yield
    finally:
        listener.close()


async def _lines(reader: asyncio.StreamReader, touch: Callable[[], None]) -> AsyncIterator[str]:
    while line := await reader.readline():
        touch()
        yield line.decode(errors="replace")


async def _write(writer: asyncio.StreamWriter, line: str) -> None:
    writer.write(line.encode())
    await writer.drain()
