"""Tasks that succeed or fail together."""

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

T = TypeVar("T")


async def run_together(coroutines: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Run all and return their results, in order; the first error ends the others and is raised as it is.

    When this returns or raises, none of them runs any more. Each is cancelled once: a second time would end its
    wait for a statement which the database still carries out, such as a claim that is about to be given back.
    """
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(coroutine) for coroutine in coroutines]
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return [task.result() for task in tasks]
