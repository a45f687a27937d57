"""Frequent, short garbage collections instead of Python's rare full ones.

A full collection scans every object: with the cached index that takes hundreds of milliseconds, in which no
search is answered. Here the survivors of a collection are frozen, so that the next one scans only new objects.
Reference counts free everything that is in no cycle, as ever.
"""

import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

INTERVAL_SECONDS: Final = 10.0
"""Short enough that a scan of what a busy server allocates meanwhile delays no search noticeably."""

COLLECTIONS_PER_FULL_SCAN: Final = 360
"""A full scan once an hour frees the cycles that were in use when they were frozen."""

_UNREACHABLE_THRESHOLD: Final = 1_000_000
"""Collections of the middle generation before Python would make a full one by itself."""


@asynccontextmanager
async def periodic_collection() -> AsyncIterator[None]:
    """Replace Python's full collections while the block runs."""
    thresholds = gc.get_threshold()
    gc.set_threshold(*thresholds[:2], _UNREACHABLE_THRESHOLD)
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
    number = 0
    while True:
        if number % COLLECTIONS_PER_FULL_SCAN == 0:
            gc.unfreeze()
        gc.collect()
        gc.freeze()
        number += 1
        await asyncio.sleep(INTERVAL_SECONDS)
