"""Waiting for a database that is away. Nothing is lost meanwhile: callers hold what they could not write."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Iterator
from contextvars import ContextVar
from typing import TypeVar

from codebase_index.store.errors import StatementTimeout, StoreMisconfigured, StoreUnavailable

log = logging.getLogger(__name__)

T = TypeVar("T")

FIRST_DELAY = 0.2
MAX_DELAY = 3.0
"""Seconds between two tries: a job must go on within 10 s after the database is back."""

MAX_TIMEOUTS = 5
"""Of one statement in a row. A database that cannot be reached is waited for as long as it takes; one that
answers, and does not get this done, will not get it done the next time either."""


class Stuck(Exception):
    """The database answers, but an operation does not come to its end. The message says which, and what to do."""


Told = Callable[[str | None], None]
_tell_refusal: ContextVar[Told] = ContextVar("tell_refusal", default=lambda _: None)


def tell_refusals(tell: Told) -> None:
    """Have `tell` called with why the database refuses, and with None afterwards; also in tasks that are started.

    That is no outage, which everybody sees: only the statements that meet it wait, until a person mends it.
    """
    _tell_refusal.set(tell)


class Outage:
    """Logs the beginning and the end of an outage, not every try in between."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._tries = 0

    def note(self, error: Exception) -> None:
        """A try failed."""
        self._tries += 1
        if self._tries == 1:
            log.warning("waiting for a service", extra={"operation": self._what, "error": str(error)})

    def over(self) -> None:
        """A try succeeded."""
        if self._tries:
            log.info("the service is back", extra={"operation": self._what, "tries": self._tries})
        self._tries = 0


def delays() -> Iterator[float]:
    """Yield seconds to wait, doubling up to MAX_DELAY, with jitter so that pods do not all come back at once."""
    delay = FIRST_DELAY
    while True:
        yield delay * random.uniform(0.5, 1.0)  # noqa: S311 - no secret
        delay = min(MAX_DELAY, delay * 2)


async def until_available(what: str, operation: Callable[[], Awaitable[T]]) -> T:
    """Return the operation's result, trying again for as long as the database is away.

    The operation must be safe to repeat: an outage may hide that it was carried out. Raises Stuck when it runs
    into its time limit MAX_TIMEOUTS times in a row: that is no outage.
    """
    outage, waits, refused, timeouts = Outage(what), delays(), False, 0
    while True:
        try:
            result = await operation()
        except StoreUnavailable as error:
            timeouts = timeouts + 1 if isinstance(error, StatementTimeout) else 0
            if timeouts == MAX_TIMEOUTS:
                raise Stuck(_advice(what)) from error
            outage.note(error)
            if isinstance(error, StoreMisconfigured):
                refused = True
                _tell_refusal.get()(str(error))
            await asyncio.sleep(next(waits))
        else:
            outage.over()
            if refused:
                _tell_refusal.get()(None)
            return result


def _advice(what: str) -> str:
    return (
        f"the database is reachable, but {what!r} ran into its time limit {MAX_TIMEOUTS} times in a row; what is "
        "committed is kept; look for long locks (pg_stat_activity) and for a lack of CPU or disk, then start the "
        "job again"
    )
