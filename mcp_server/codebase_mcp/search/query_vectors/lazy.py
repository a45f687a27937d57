"""A value that is computed once, when it is first needed."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Lazy(Generic[T]):
    """A value that one task computes on the first `get`; cancelling a waiter does not cancel it.

    After a failure the next `get` tries again. Owned by the event loop.
    """

    def __init__(self, compute: Callable[[], Coroutine[Any, Any, T]]) -> None:
        self._compute = compute
        self._task: asyncio.Task[T] | None = None

    @property
    def is_ready(self) -> bool:
        """Whether there is a value."""
        task = self._task
        return task is not None and task.done() and not task.cancelled() and task.exception() is None

    @property
    def value(self) -> T:
        """The value; only if it is ready."""
        assert self._task is not None
        return self._task.result()

    async def get(self) -> T:
        """Return the value; compute it if there is none."""
        if self.is_ready:
            return self.value
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._compute())
            self._task.add_done_callback(_retrieve_exception)
        return await asyncio.shield(self._task)


def _retrieve_exception(task: asyncio.Task[T]) -> None:
    """Retrieve the exception, so that asyncio logs nothing when no waiter is left: the next `get` tries again."""
    if not task.cancelled():
        task.exception()
