"""The changes of the table `resources` as they are committed: what a watch is on a cluster."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import suppress
from dataclasses import dataclass

import asyncpg

from codebase_index.store.address import Address
from codebase_index.store.error_translation import translated
from codebase_index.store.resources.resources import ResourceKind

_CHANNEL = "resources"
_CHECK_SECONDS = 5.0
"""Between checks that the connection lives: nothing else is sent over it."""


@dataclass(frozen=True)
class Change:
    """A resource was ADDED, MODIFIED or DELETED; `version` is what it has since then."""

    type: str
    kind: ResourceKind
    name: str
    uid: str
    version: int


async def changes(address: Address) -> AsyncGenerator[Change | None, None]:
    """Yield None when it listens, then each change. A listing that is made after the None misses nothing.

    Raises StoreUnavailable when the connection ends: changes are missed from then on.
    """
    queue: asyncio.Queue[str | None] = asyncio.Queue()
    with translated(connecting=True):
        connection = await asyncpg.connect(address(), timeout=5, command_timeout=5)
    try:
        connection.add_termination_listener(lambda _: queue.put_nowait(None))
        with translated():
            await connection.add_listener(_CHANNEL, lambda *message: queue.put_nowait(message[3]))
        yield None
        while True:
            payload = None
            with suppress(TimeoutError):
                async with asyncio.timeout(_CHECK_SECONDS):
                    payload = await queue.get()
            if payload is None:
                with translated():
                    await connection.execute("SELECT 1")  # raises where the connection has ended
                continue
            change = json.loads(payload)
            yield Change(**{**change, "kind": ResourceKind(change["kind"])})
    finally:
        connection.terminate()
