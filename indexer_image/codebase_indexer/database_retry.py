"""Retries while the database is unavailable. Nothing is lost meanwhile: callers keep what they could not write."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Iterator
from contextvars import ContextVar
from typing import TypeVar

from codebase_index.store.errors import StatementTimeout, StoreMisconfigured, StoreUnavailable

log = logging.getLogger(__name__)

T = TypeVar("T")

INITIAL_DELAY = 0.2
MAX_DELAY = 3.0
"""Seconds between two tries: a job must resume within 10 s after the database is back."""

MAX_TIMEOUTS = 5
"""Consecutive timeouts of one statement. An unreachable database is waited for as long as it takes; one that
answers but never finishes the statement will not finish it the next time either."""


class DatabaseTimeout(Exception):
    """The database answers, but an operation keeps timing out. The message says which, and what to do."""


RefusalListener = Callable[[str | None], None]
_refusal_listener: ContextVar[RefusalListener] = ContextVar("refusal_listener", default=lambda _: None)


def set_refusal_listener(listener: RefusalListener) -> None:
    """Call `listener` with the reason when the database refuses a statement, and with None once it no longer does.

    Tasks started from here inherit it. A refusal is no outage: only the statements that meet it wait, until
    somebody corrects the database's configuration.
    """
    _refusal_listener.set(listener)


class Outage:
    """Logs the beginning and the end of an outage, not every try in between."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._tries = 0

    def record_failure(self, error: Exception) -> None:
        """Note a failed try; the first is logged."""
        self._tries += 1
        if self._tries == 1:
            log.warning("waiting for a service", extra={"operation": self._what, "error": str(error)})

    def record_success(self) -> None:
        """Note a try that succeeded, which ends the outage."""
        if self._tries:
            log.info("the service is back", extra={"operation": self._what, "tries": self._tries})
        self._tries = 0


def backoff_delays() -> Iterator[float]:
    """Yield the seconds before each retry: exponential backoff up to MAX_DELAY, with jitter."""
    delay = INITIAL_DELAY
    while True:
        yield delay * random.uniform(0.5, 1.0)  # noqa: S311 - no secret
        delay = min(MAX_DELAY, delay * 2)


async def retry_while_unavailable(what: str, operation: Callable[[], Awaitable[T]]) -> T:
    """Return the operation's result, retrying for as long as the database is unavailable.

    The operation must be safe to repeat: an outage may hide that it was carried out.
    Raises DatabaseTimeout when it times out MAX_TIMEOUTS times in a row: that is no outage.
    """
    outage, delays, refused, timeouts = Outage(what), backoff_delays(), False, 0
    while True:
        try:
            result = await operation()
        except StoreUnavailable as error:
            timeouts = timeouts + 1 if isinstance(error, StatementTimeout) else 0
            if timeouts == MAX_TIMEOUTS:
                raise DatabaseTimeout(_advice(what)) from error
            outage.record_failure(error)
            if isinstance(error, StoreMisconfigured):
                refused = True
                _refusal_listener.get()(str(error))
            await asyncio.sleep(next(delays))
        else:
            outage.record_success()
            if refused:
                _refusal_listener.get()(None)
            return result


def _advice(what: str) -> str:
    return (
        f"the database is reachable, but {what!r} ran into its time limit {MAX_TIMEOUTS} times in a row; what is "
        "committed is kept; look for long locks (pg_stat_activity) and for a lack of CPU or disk, then start the "
        "job again"
    )
