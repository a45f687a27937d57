import asyncio

import pytest

from codebase_indexer.pipeline.tasks import run_together


class Ended(list[str]):
    """Who was cancelled, and how often."""

    async def waits_for_ever(self, name: str = "waits") -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.append(name)
            raise


async def fails(error: Exception) -> None:
    raise error


async def test_results_come_in_the_order_of_the_coroutines() -> None:
    first = asyncio.Event()

    async def later() -> str:
        await first.wait()
        return "later"

    async def sooner() -> str:
        first.set()
        return "sooner"

    assert await run_together([later(), sooner()]) == ["later", "sooner"]


async def test_the_first_error_ends_the_others_and_is_raised_as_it_is() -> None:
    ended, error = Ended(), KeyError("first")
    with pytest.raises(KeyError) as raised:
        await run_together([ended.waits_for_ever("a"), fails(error), ended.waits_for_ever("b")])
    assert raised.value is error
    assert sorted(ended) == ["a", "b"]


async def test_an_error_on_the_way_out_does_not_hide_the_first_one() -> None:
    async def fails_when_ended() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise ValueError("second")

    with pytest.raises(KeyError):
        await run_together([fails_when_ended(), fails(KeyError("first"))])


async def test_what_is_ended_may_finish_what_it_must() -> None:
    begun, finished = asyncio.Event(), list[bool]()

    async def needs_time() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            finished.append(True)

    task = asyncio.create_task(run_together([needs_time()]))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert finished == [True]
