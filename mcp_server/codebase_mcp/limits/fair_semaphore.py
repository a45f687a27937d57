"""A semaphore with fair queueing: callers have equal shares of what only few may do at once."""

import asyncio
import math
import time
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

MAX_WAITING: Final = 256
"""Waiting requests of all callers together; each takes a few kilobytes."""

MAX_WAIT_SECONDS: Final = 4.0
"""A longer wait is refused: at once if it is foreseeable, else when it has lasted so long. The rest of a search's
timeout is enough to answer."""

_INITIAL_MEAN_SECONDS: Final = 0.02
"""The estimated duration of a permit before the first release."""

_WEIGHT: Final = 0.1
"""Of the newest duration in the moving average."""


class Overloaded(Exception):
    """No permit in time. `waiting` counts the caller's own waiting requests."""

    def __init__(self, waiting: int, retry_seconds: int) -> None:
        super().__init__(f"{waiting} requests of this caller wait; try again in {retry_seconds} s")
        self.waiting = waiting
        self.retry_seconds = retry_seconds


class FairSemaphore:
    """Gives a few permits at once, to waiting callers by round robin. Owned by the event loop.

    Of each caller the oldest request comes first. So a single request waits for those under way and for one of
    each other caller, however many these have. When too many wait, the newest request of the caller with the most
    of them is refused.
    """

    def __init__(
        self,
        max_concurrent: int,
        clock: Callable[[], float] = time.monotonic,
        max_wait_seconds: float | None = None,
    ) -> None:
        """Give `max_concurrent` permits at once; `clock` returns seconds.

        `max_wait_seconds` is MAX_WAIT_SECONDS where it is not given.
        """
        self._max_concurrent = max_concurrent
        self._max_wait_seconds = MAX_WAIT_SECONDS if max_wait_seconds is None else max_wait_seconds
        self._free = max_concurrent
        self._clock = clock
        self._ring: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()
        self._mean_seconds = _INITIAL_MEAN_SECONDS  # moving average of how long a permit is held

    @property
    def waiting_callers(self) -> int:
        """How many callers have requests that wait."""
        return len(self._ring)

    @asynccontextmanager
    async def permit(self, caller: str) -> AsyncIterator["Permit"]:
        """Wait for a permit and hold it during the block. Raises Overloaded."""
        permit = Permit(self, caller)
        await permit.acquire()
        try:
            yield permit
        finally:
            permit.release()

    async def _acquire(self, caller: str) -> None:
        if self._free:
            self._free -= 1
            return
        self._reject_long_wait(caller)
        waiter = asyncio.get_running_loop().create_future()
        self._ring.setdefault(caller, deque()).append(waiter)
        if sum(map(len, self._ring.values())) > MAX_WAITING:
            self._reject_newest()
        try:
            async with asyncio.timeout(self._max_wait_seconds):
                await waiter
        except (asyncio.CancelledError, TimeoutError) as error:
            if (
                waiter.done() and not waiter.cancelled() and not waiter.exception()
            ):  # the permit had just been given
                self._release()
            if isinstance(error, TimeoutError):
                raise self._overloaded(*self._queue_position(caller)) from None
            raise
        finally:
            self._remove(caller, waiter)

    def _release(self) -> None:
        """Give a released permit to the next caller, or keep it."""
        while self._ring:
            caller, waiters = next(iter(self._ring.items()))
            waiter = waiters.popleft()
            self._ring.move_to_end(caller)
            if not waiters:
                del self._ring[caller]
            if not waiter.done():  # else it was cancelled
                waiter.set_result(None)
                return
        self._free += 1

    def _record_duration(self, seconds: float) -> None:
        self._mean_seconds += _WEIGHT * (seconds - self._mean_seconds)

    def _reject_long_wait(self, caller: str) -> None:
        own, ahead = self._queue_position(caller)
        if ahead * self._mean_seconds / self._max_concurrent > self._max_wait_seconds:
            raise self._overloaded(own, ahead)

    def _queue_position(self, caller: str) -> tuple[int, int]:
        """Return how many requests of the caller wait, and how many permits come before that of one more."""
        own = len(self._ring.get(caller, ()))
        return own, own + sum(min(len(waiters), own + 1) for of, waiters in self._ring.items() if of != caller)

    def _reject_newest(self) -> None:
        # Among callers with equally many, the last in the ring.
        caller, waiters = max(reversed(self._ring.items()), key=lambda item: len(item[1]))
        newest = waiters.pop()
        if not waiters:
            del self._ring[caller]
        if not newest.done():
            newest.set_exception(self._overloaded(len(waiters), len(waiters) + len(self._ring)))

    def _overloaded(self, waiting: int, ahead: int) -> Overloaded:
        return Overloaded(waiting, max(1, math.ceil(ahead * self._mean_seconds / self._max_concurrent)))

    def _remove(self, caller: str, waiter: asyncio.Future[None]) -> None:
        waiters = self._ring.get(caller)
        if waiters is not None:
            if waiter in waiters:
                waiters.remove(waiter)
            if not waiters:
                del self._ring[caller]


class Permit:
    """A permit of a caller, from `acquire` to `release`."""

    def __init__(self, semaphore: FairSemaphore, caller: str) -> None:
        self._semaphore = semaphore
        self._caller = caller
        self._acquired_at: float | None = None

    @property
    def caller(self) -> str:
        """The caller that holds it."""
        return self._caller

    async def acquire(self) -> None:
        """Wait for the permit. Raises Overloaded."""
        await self._semaphore._acquire(self._caller)
        self._acquired_at = self._semaphore._clock()

    def release(self) -> None:
        """Release it; a second call does nothing."""
        if self._acquired_at is not None:
            self._semaphore._record_duration(self._semaphore._clock() - self._acquired_at)
            self._acquired_at = None
            self._semaphore._release()

    @asynccontextmanager
    async def lend(self) -> AsyncIterator[None]:
        """Release the permit while the block waits for something else. Raises Overloaded at its end."""
        self.release()
        yield
        await self.acquire()
