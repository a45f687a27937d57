"""Turns at what only few may do at once, shared fairly among callers."""

import asyncio
import math
import time
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

MAX_WAITING: Final = 256
"""Requests that wait, of all callers together: a few kilobytes each."""

MAX_WAIT_SECONDS: Final = 4.0
"""Who would have to wait longer is told so at once, or when it is over. What is left of a search's patience is
enough to answer."""

_FIRST_SECONDS: Final = 0.02
"""What a turn is taken to last before one has ended."""

_WEIGHT: Final = 0.1
"""Of the newest turn in the mean duration."""


class Busy(Exception):
    """No turn within a sensible time. `waiting` are the caller's own requests that wait."""

    def __init__(self, waiting: int, retry_seconds: int) -> None:
        super().__init__(f"{waiting} requests of this caller wait; try again in {retry_seconds} s")
        self.waiting = waiting
        self.retry_seconds = retry_seconds


class FairTurns:
    """Gives a few turns at once. Owned by the event loop.

    Callers who wait stand in a ring: the next turn goes to the next caller, of each the oldest request. So whoever
    has one request waits for those that are under way and for one of each other caller, however many these have.
    When too many wait, the newest request of the caller with the most of them is refused.
    """

    def __init__(
        self,
        at_once: int,
        clock: Callable[[], float] = time.monotonic,
        max_wait_seconds: float = MAX_WAIT_SECONDS,
    ) -> None:
        """Take how many may go at once, what tells the time in seconds, and how long anybody waits."""
        self._at_once = at_once
        self._max_wait_seconds = max_wait_seconds
        self._free = at_once
        self._clock = clock
        self._ring: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()
        self._seconds = _FIRST_SECONDS  # what a turn lasts, about

    @asynccontextmanager
    async def turn(self, caller: str) -> AsyncIterator["Turn"]:
        """Wait for a turn, and have it for as long as the block takes. Raises Busy."""
        turn = Turn(self, caller)
        await turn.begin()
        try:
            yield turn
        finally:
            turn.end()

    async def _take(self, caller: str) -> None:
        if self._free:
            self._free -= 1
            return
        self._refuse_what_would_wait_too_long(caller)
        place = asyncio.get_running_loop().create_future()
        self._ring.setdefault(caller, deque()).append(place)
        if sum(map(len, self._ring.values())) > MAX_WAITING:
            self._refuse_newest()
        try:
            async with asyncio.timeout(self._max_wait_seconds):
                await place
        except (asyncio.CancelledError, TimeoutError) as error:
            if place.done() and not place.cancelled() and not place.exception():  # its turn had just come
                self._pass_on()
            if isinstance(error, TimeoutError):
                raise self._busy(*self._line(caller)) from None
            raise
        finally:
            self._forget(caller, place)

    def _pass_on(self) -> None:
        """Give a turn that ended to the next caller, or keep it."""
        while self._ring:
            caller, places = next(iter(self._ring.items()))
            place = places.popleft()
            self._ring.move_to_end(caller)
            if not places:
                del self._ring[caller]
            if not place.done():  # else it was cancelled
                place.set_result(None)
                return
        self._free += 1

    def _note(self, seconds: float) -> None:
        self._seconds += _WEIGHT * (seconds - self._seconds)

    def _refuse_what_would_wait_too_long(self, caller: str) -> None:
        own, before = self._line(caller)
        if before * self._seconds / self._at_once > self._max_wait_seconds:
            raise self._busy(own, before)

    def _line(self, caller: str) -> tuple[int, int]:
        """Return how many requests of the caller wait, and how many turns come before one more of his."""
        own = len(self._ring.get(caller, ()))
        return own, own + sum(min(len(places), own + 1) for of, places in self._ring.items() if of != caller)

    def _refuse_newest(self) -> None:
        # Of several with as many, the one whose turn would come last.
        caller, places = max(reversed(self._ring.items()), key=lambda item: len(item[1]))
        newest = places.pop()
        if not places:
            del self._ring[caller]
        if not newest.done():
            newest.set_exception(self._busy(len(places), len(places) + len(self._ring)))

    def _busy(self, waiting: int, before: int) -> Busy:
        return Busy(waiting, max(1, math.ceil(before * self._seconds / self._at_once)))

    def _forget(self, caller: str, place: asyncio.Future[None]) -> None:
        places = self._ring.get(caller)
        if places is not None:
            if place in places:
                places.remove(place)
            if not places:
                del self._ring[caller]


class Turn:
    """A turn that a caller has, from `begin` to `end`."""

    def __init__(self, turns: FairTurns, caller: str) -> None:
        self._turns = turns
        self._caller = caller
        self._began: float | None = None

    @property
    def caller(self) -> str:
        """Whose turn it is."""
        return self._caller

    async def begin(self) -> None:
        """Wait for the turn. Raises Busy."""
        await self._turns._take(self._caller)
        self._began = self._turns._clock()

    def end(self) -> None:
        """Pass the turn on, unless that is done."""
        if self._began is not None:
            self._turns._note(self._turns._clock() - self._began)
            self._began = None
            self._turns._pass_on()

    @asynccontextmanager
    async def lent(self) -> AsyncIterator[None]:
        """Let others have the turn while the block waits for somebody else. Raises Busy at its end."""
        self.end()
        yield
        await self.begin()
