"""Standard input and output: a message a line. What is no message is answered, too, instead of being dropped."""

import asyncio
import json
import os
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO

import anyio
from mcp.server import Server
from mcp.server.stdio import stdio_server

from codebase_mcp.identity.principal import OWNER, principal_context
from codebase_mcp.transport.envelope import refusal_of


async def serve_stdio(server: Server[Any]) -> None:
    """Serve until the client closes its end."""
    with _wire() as (source, sink):

        def write(line: str) -> None:
            sink.write(line)
            sink.flush()

        await serve_lines(server, anyio.wrap_file(source), lambda line: asyncio.to_thread(write, line))


async def serve_lines(
    server: Server[Any], lines: AsyncIterable[str], write: Callable[[str], Awaitable[None]]
) -> None:
    """Serve a client whose messages come as lines, until there are no more; `write` gets a line of an answer.

    Whoever may write to this process' streams, or open its socket, is its owner.
    """
    output: Any = _Output(write)
    messages: Any = _Messages(lines, output)
    with principal_context(OWNER):
        async with stdio_server(messages, output) as (read_stream, write_stream):
            await server.run(read_stream, write_stream, server.create_initialization_options())


class _Output:
    """Lines to the client, one at a time: two write them, the SDK and `_Messages`."""

    def __init__(self, write: Callable[[str], Awaitable[None]]) -> None:
        self._write = write
        self._lock = asyncio.Lock()

    async def write(self, line: str) -> None:
        """Write a line, all of it."""
        async with self._lock:
            await self._write(line)

    async def flush(self) -> None:
        """Nothing waits."""


class _Messages:
    """The lines from the client that are messages; the others are answered here."""

    def __init__(self, lines: AsyncIterable[str], output: _Output) -> None:
        self._lines = lines
        self._output = output

    async def __aiter__(self) -> AsyncIterator[str]:
        async for line in self._lines:
            if not line.strip():
                continue
            refusal = refusal_of(line)
            if refusal is None:
                yield line
            else:
                await self._output.write(json.dumps(refusal, separators=(",", ":")) + "\n")


@contextmanager
def _wire() -> Iterator[tuple[TextIO, TextIO]]:
    """Yield input and output, and keep everything else away from them: a stray print would garble a message."""
    source = os.fdopen(os.dup(0), encoding="utf-8", errors="replace")
    sink = os.fdopen(os.dup(1), "w", encoding="utf-8", newline="\n")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    try:
        yield source, sink
    finally:
        os.dup2(source.fileno(), 0)
        os.dup2(sink.fileno(), 1)
