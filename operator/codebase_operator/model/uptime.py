"""Uptime of the services that jobs need, which is the time that deadlines count. Pure.

A job can start or unblock only while the database and the API server answer. Their outages, and nothing more, are
subtracted from its time: short outages every few minutes must not postpone a deadline for ever.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

MAX_OUTAGES: Final = 1000
"""Outages recorded separately; beyond that the oldest two are merged, including the time between them."""


@dataclass(frozen=True)
class Uptime:
    """Uptime of both services as one operator observed it. All times are of the database's clock."""

    since: datetime | None = None
    """When both answered first; None: not yet."""
    last_answer: datetime | None = None
    """When both answered last."""
    outages: tuple[tuple[datetime, datetime], ...] = ()
    """From the last answer before to the first one after, oldest first."""
    in_outage: bool = False
    """Whether one of them has failed to answer since `last_answer`."""

    def record_outage(self) -> "Uptime":
        """Return the uptime after a pass in which one of them did not answer."""
        return replace(self, in_outage=True)

    def record_answer(self, now: datetime) -> "Uptime":
        """Return the uptime after a pass in which both answered."""
        if self.since is None or self.last_answer is None:
            return Uptime(now, now)
        if not self.in_outage:
            return replace(self, last_answer=now)
        return Uptime(self.since, now, _merge_oldest((*self.outages, (self.last_answer, now))))

    def answered_time(self, since: datetime | None, now: datetime) -> timedelta:
        """Return for how long both have answered between two times; None: since this operator began to look."""
        if self.since is None:
            return timedelta(0)
        begin = max(since or self.since, self.since)
        in_outage = (max(timedelta(0), min(end, now) - max(start, begin)) for start, end in self.outages)
        return max(timedelta(0), now - begin - sum(in_outage, timedelta(0)))


def _merge_oldest(outages: tuple[tuple[datetime, datetime], ...]) -> tuple[tuple[datetime, datetime], ...]:
    if len(outages) <= MAX_OUTAGES:
        return outages
    (start, _), (_, end), *others = outages
    return ((start, end), *others)
