"""The instance's life: a pipe that its first process alone keeps open, so that all others see its end."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Coroutine
from typing import Any, Final

from codebase_embedded.settings import LIFE_VARIABLE

LAST_SECONDS: Final = 6.0
"""How long a process may take to end after its instance: as long as the instance gives it, if it ends in order."""


def life_of_instance() -> int:
    """Return the pipe's descriptor for reading. Nothing is written to it: when it can be read, it was closed."""
    return int(os.environ[LIFE_VARIABLE])


async def end_with_instance(work: Coroutine[Any, Any, None]) -> None:
    """Do some work until it is done, SIGTERM or SIGINT comes, or the instance's first process is gone."""
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(work)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    life = life_of_instance()

    def ended() -> None:
        loop.remove_reader(life)
        task.cancel()
        # A connection that is just being opened may swallow that, and nobody is left to ask again.
        loop.call_later(LAST_SECONDS, os._exit, 1)

    loop.add_reader(life, ended)
    with contextlib.suppress(asyncio.CancelledError):
        await task
