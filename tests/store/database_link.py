"""A link between workers and the database that can be cut, as by a restart of Postgres or of the network."""

import asyncio
import contextlib
from pathlib import Path

from tests.store.harness import WorkerHarness


class DatabaseLink:
    """A way to the database that can be cut and restored."""

    def __init__(self, target: str, folder: Path) -> None:
        self._target, self.path = target, folder / ".s.PGSQL.5432"
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def restore(self) -> None:
        self._server = await asyncio.start_unix_server(self._connect, self.path)

    async def cut(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in list(self._writers):
            writer.transport.abort()
        self.path.unlink(missing_ok=True)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_unix_connection(self._target)
        self._writers |= {writer, back}
        await asyncio.gather(self._copy(reader, back), self._copy(there, writer))

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        self._writers.discard(writer)
        writer.close()


async def connect_through_link(harness: WorkerHarness, folder: Path) -> DatabaseLink:
    """Let the workers reach the database through a link, which this test's own queries do not use."""
    host = harness.dsn.partition("host=")[2].partition("&")[0]
    link = DatabaseLink(f"{host}/.s.PGSQL.5432", folder)
    harness.dsn = harness.dsn.replace(host, str(folder))
    await link.restore()
    return link
