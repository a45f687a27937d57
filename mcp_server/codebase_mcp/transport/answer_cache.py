"""A short-lived cache of one answer, which bounds how often anybody can have it computed."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final, Generic, TypeVar

CACHE_SECONDS: Final = 1.0
"""Probes come once a second."""

T = TypeVar("T")


class CachedAnswer(Generic[T]):
    """A cached answer that is expensive to compute."""

    def __init__(self, compute: Callable[[], Awaitable[T]], clock: Callable[[], float] = time.monotonic) -> None:
        self._compute = compute
        self._clock = clock
        self._answer: tuple[T] | None = None
        self._computed_at = float("-inf")
        self._lock = asyncio.Lock()

    async def get(self) -> T:
        """Return the answer of the last second, or compute it; concurrent callers share one computation."""
        async with self._lock:
            if self._answer is None or self._clock() - self._computed_at >= CACHE_SECONDS:
                self._computed_at = self._clock()
                self._answer = (await self._compute(),)
            return self._answer[0]
