"""An answer that stands for a second, so that nobody can have it worked out as often as he likes."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final, Generic, TypeVar

REMEMBERED_SECONDS: Final = 1.0
"""Probes come once a second."""

T = TypeVar("T")


class Remembered(Generic[T]):
    """The answer to a question that costs something."""

    def __init__(self, question: Callable[[], Awaitable[T]]) -> None:
        self._question = question
        self._answer: tuple[T] | None = None
        self._asked_at = float("-inf")
        self._lock = asyncio.Lock()

    async def get(self) -> T:
        """Return the answer: that of the last second, or of the one question that is being asked."""
        async with self._lock:
            if self._answer is None or time.monotonic() - self._asked_at >= REMEMBERED_SECONDS:
                self._asked_at = time.monotonic()
                self._answer = (await self._question(),)
            return self._answer[0]
