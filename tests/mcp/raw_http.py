"""HTTP as bytes: what no proper client sends."""

import asyncio
import json

LIST = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}).encode()
HEAD = (
    b"POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b"Accept: application/json, text/event-stream\r\n"
)
CHUNKED = b"Transfer-Encoding: chunked\r\nConnection: close\r\n"


async def exchanged(port: int, *parts: bytes) -> bytes:
    """Send these parts, and return all that comes until the server closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for part in parts:
        writer.write(part)
        await asyncio.sleep(0)
    try:
        return await asyncio.wait_for(reader.read(), 60)
    finally:
        writer.close()


def posted(body: bytes, more: bytes = b"", head: bytes = HEAD) -> bytes:
    return head + more + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def chunks(*parts: bytes) -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (*parts, b""))
