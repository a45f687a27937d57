"""Python's full garbage collections, small and often instead of when they happen to be due.

A full collection looks at every object that there is: with what the server keeps of the index that took 100 to
400 ms, in which nobody got an answer, about every 150 searches. What survives a collection here is left out of the
next one, so that each looks only at what is new. Reference counts free everything that is in no cycle, as ever.
"""

import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

EVERY_SECONDS: Final = 10.0
"""What a busy server makes in this time takes some 40 ms to look at."""

ALL_EVERY: Final = 360
"""Collections until one looks at everything again, in an hour: cycles that were in use when they were left out."""

_NEVER: Final = 1_000_000
"""Collections of the middle generation until Python would make a full one by itself."""


@asynccontextmanager
async def collecting() -> AsyncIterator[None]:
    """Make the full collections of this process while the block runs."""
    thresholds = gc.get_threshold()
    gc.set_threshold(*thresholds[:2], _NEVER)
    task = asyncio.create_task(_collect())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        gc.set_threshold(*thresholds)
        gc.unfreeze()


async def _collect() -> None:
    turn = 0
    while True:
        if turn % ALL_EVERY == 0:
            gc.unfreeze()
        gc.collect()
        gc.freeze()
        turn += 1
        await asyncio.sleep(EVERY_SECONDS)
