"""Passes TCP connections from the host's loopback to the API server inside the network namespace.

Run as a program of its own: `python3 -m hack.local_cluster.forwarder FD HOST PORT`. Its parent opened the
listening socket FD on the host; a socket stays in the namespace it was opened in, while the connections
that this process makes begin in the namespace it was started in.
"""

import asyncio
import socket
import sys

_CHUNK_BYTES = 65536


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy until the sender ends, then end our side too, leaving the other direction open."""
    while data := await reader.read(_CHUNK_BYTES):
        writer.write(data)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()


async def serve(listener: socket.socket, host: str, port: int) -> None:
    """Forward every connection on `listener` to `host`:`port`, until the process ends."""

    # asyncio itself refers to running tasks only weakly: an idle watch would be collected as garbage.
    running: set[asyncio.Task[None]] = set()

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection(host, port)
        except OSError:
            writer.close()  # nothing listens yet: the client sees a closed connection and tries again
            return
        await asyncio.gather(_copy(reader, far_writer), _copy(far_reader, writer), return_exceptions=True)
        writer.close()
        far_writer.close()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(pass_on(reader, writer))
        running.add(task)
        task.add_done_callback(running.discard)

    server = await asyncio.start_server(connected, sock=listener)
    await server.serve_forever()


def main() -> None:
    """Serve on the socket whose number, with the target, the command line gives."""
    descriptor, host, port = sys.argv[1:]
    asyncio.run(serve(socket.socket(fileno=int(descriptor)), host, int(port)))


if __name__ == "__main__":
    main()
