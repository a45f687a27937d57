"""A value that is made once, when it is first asked for."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Once(Generic[T]):
    """A value that one task makes when it is first asked for, to its end, whoever stops waiting for it meanwhile.

    After a failure it is tried again. Owned by the event loop.
    """

    def __init__(self, how: Callable[[], Coroutine[Any, Any, T]]) -> None:
        self._how = how
        self._task: asyncio.Task[T] | None = None

    @property
    def is_made(self) -> bool:
        """Whether there is a value."""
        task = self._task
        return task is not None and task.done() and not task.cancelled() and task.exception() is None

    @property
    def value(self) -> T:
        """The value, once it is made."""
        assert self._task is not None
        return self._task.result()

    async def make(self) -> T:
        """Return the value, made now if there is none."""
        if self.is_made:
            return self.value
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._how())
            self._task.add_done_callback(_seen)
        return await asyncio.shield(self._task)


def _seen(task: asyncio.Task[T]) -> None:
    """Take note of an error that nobody may be left to hear: the next one who asks tries again."""
    if not task.cancelled():
        task.exception()
