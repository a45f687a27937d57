"""Admission of a request: its permit, its time limit, and what callers are told when they get neither."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from codebase_mcp.errors import UserError
from codebase_mcp.limits.fair_semaphore import FairSemaphore, Overloaded, Permit


@asynccontextmanager
async def admit(
    semaphore: FairSemaphore, caller: str, *, seconds: float, what: tuple[str, str], narrower: str
) -> AsyncIterator[Permit]:
    """Hold a permit of a caller for the block, which may take so long with the wait. Raises UserError.

    `what` names the request in messages, one and several ("search", "searches"); `narrower` says what makes it
    cheaper.
    """
    try:
        async with asyncio.timeout(seconds), semaphore.permit(caller) as permit:
            yield permit
    except Overloaded as error:
        raise UserError(
            f"busy: more {what[1]} wait than this server can answer in time, {error.waiting} of them yours; "
            f"try again in {error.retry_seconds} s, with fewer at once"
        ) from error
    except TimeoutError as error:
        raise UserError(
            f"unavailable: the {what[0]} did not finish within {seconds:g} s; the database may be busy with "
            f"indexing, or many searches run at once; try again in a minute, or {narrower}"
        ) from error
