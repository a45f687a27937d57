"""Permits: how many at once, who is next, who is refused, and that none is ever lost."""

import asyncio
import random
from collections import Counter

import pytest

from codebase_mcp.limits import fair_semaphore
from codebase_mcp.limits.fair_semaphore import MAX_WAITING, FairSemaphore, Overloaded


class Server:
    """Requests of callers, each with a permit until it ends. `order`: the callers that got one so far."""

    def __init__(self, max_concurrent: int) -> None:
        self.now = 0.0
        self.semaphore = FairSemaphore(max_concurrent, lambda: self.now)
        self.order: list[str] = []
        self.busy: Counter[str] = Counter()
        self._ends: list[asyncio.Event] = []

    def ask(self, caller: str, count: int = 1) -> list[asyncio.Task[None]]:
        return [asyncio.create_task(self._request(caller)) for _ in range(count)]

    async def _request(self, caller: str) -> None:
        end = asyncio.Event()
        try:
            async with self.semaphore.permit(caller):
                self.order.append(caller)
                self._ends.append(end)
                await end.wait()
        except Overloaded:
            self.busy[caller] += 1

    async def settle(self) -> None:
        for _ in range(10):
            await asyncio.sleep(0)

    async def finish(self, count: int = 1, seconds: float = 0.02) -> None:
        """End the oldest requests one after another, each after so many seconds."""
        for _ in range(count):
            self.now += seconds
            self._ends.pop(0).set()
            await self.settle()

    @property
    def running(self) -> int:
        return len(self._ends)


async def test_only_so_many_hold_a_permit_at_once_and_each_gets_one() -> None:
    server = Server(max_concurrent=2)
    server.ask("a", 5)
    await server.settle()
    for left in (5, 4, 3, 2, 1):
        assert server.running == min(2, left)
        await server.finish()
    assert server.order == ["a"] * 5 and not server.busy


async def test_one_caller_s_hundred_requests_cost_another_one_those_under_way_and_one_more() -> None:
    server = Server(max_concurrent=2)
    server.ask("many", 100)
    await server.settle()
    server.ask("one")
    await server.settle()
    await server.finish(2)
    assert server.order == ["many", "many", "many", "one"]


async def test_callers_who_wait_are_served_in_turn_and_each_one_s_requests_in_their_order() -> None:
    server = Server(max_concurrent=1)
    server.ask("a", 4)
    await server.settle()
    server.ask("b", 2)
    server.ask("c", 3)
    await server.settle()
    await server.finish(8)
    assert server.order == list("aabcabcac")


async def test_when_too_many_wait_the_caller_with_the_most_is_refused_and_a_newcomer_is_not() -> None:
    server = Server(max_concurrent=2)
    server.ask("many", 2 + MAX_WAITING)
    await server.settle()
    assert not server.busy
    server.ask("one")
    server.ask("many", 7)
    await server.settle()
    assert server.busy == {"many": 8}
    await server.finish(2)
    assert server.order == ["many", "many", "many", "one"]


async def test_of_callers_with_one_request_each_the_newest_is_refused() -> None:
    server = Server(max_concurrent=2)
    callers = [f"caller {number}" for number in range(2 + MAX_WAITING + 3)]
    for caller in callers:
        server.ask(caller)
    await server.settle()
    assert set(server.busy) == set(callers[-3:])
    await server.finish(MAX_WAITING)
    assert server.order == callers[:-3]


async def test_who_would_wait_too_long_is_told_at_once_when_to_come_back() -> None:
    server = Server(max_concurrent=1)
    server.ask("slow", 30)
    await server.settle()
    await server.finish(20, seconds=2.0)  # nobody else has asked yet: these wait as long as they must
    with pytest.raises(Overloaded) as refused:
        async with server.semaphore.permit("slow"):
            pass
    assert refused.value.waiting == 9
    assert 9 <= refused.value.retry_seconds <= 18
    # Another caller is next, after the request that is under way.
    server.ask("one")
    await server.settle()
    await server.finish(2, seconds=2.0)
    assert not server.busy and server.order[-2:] != ["slow", "slow"]


async def test_an_idle_server_refuses_nobody_however_long_its_requests_last() -> None:
    server = Server(max_concurrent=1)
    for _ in range(30):
        server.ask("a")
        await server.settle()
        await server.finish(seconds=60)
    assert server.order == ["a"] * 30 and not server.busy


async def test_a_permit_that_is_lent_serves_others_until_it_is_acquired_again() -> None:
    semaphore = FairSemaphore(1)
    steps: list[str] = []

    async def waits_for_a_service() -> None:
        async with semaphore.permit("a") as permit:
            async with permit.lend():
                steps.append("lent")
                await asyncio.sleep(0.01)
            steps.append("back")

    async def quick() -> None:
        async with semaphore.permit("b"):
            steps.append("quick")

    await asyncio.gather(waits_for_a_service(), quick())
    assert steps == ["lent", "quick", "back"]
    await asyncio.wait_for(quick(), 1)


@pytest.mark.parametrize("seed", range(20))
async def test_no_permit_is_lost_whoever_is_cancelled_when(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fair_semaphore, "MAX_WAITING", 12)
    rng = random.Random(seed)
    semaphore = FairSemaphore(2)
    running = most = 0

    async def request(caller: str) -> None:
        nonlocal running, most
        async with semaphore.permit(caller) as permit:
            running += 1
            most = max(most, running)
            try:
                for _ in range(rng.randrange(4)):
                    await asyncio.sleep(0)
                if rng.random() < 0.2:
                    raise ZeroDivisionError
            finally:
                running -= 1
            if rng.random() < 0.3:
                async with permit.lend():
                    await asyncio.sleep(0)

    tasks = []
    for _ in range(200):
        tasks.append(asyncio.create_task(request(rng.choice("abcd"))))
        if rng.random() < 0.5:
            await asyncio.sleep(0)
        if rng.random() < 0.4:
            rng.choice(tasks).cancel()
    await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 5)
    assert most <= 2
    async with asyncio.timeout(30), semaphore.permit("x"), semaphore.permit("y"):  # both permits are there
        assert semaphore.waiting_callers == 0
