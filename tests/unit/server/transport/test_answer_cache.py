import asyncio

from codebase_mcp.transport.answer_cache import CACHE_SECONDS, CachedAnswer


async def test_many_who_ask_at_once_are_one_question() -> None:
    asked = 0

    async def question() -> tuple[dict[str, int], int]:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0)  # so that the others ask meanwhile
        return {"asked": asked}, 200

    cached = CachedAnswer(question)
    answers = await asyncio.gather(*(cached.get() for _ in range(50)))
    assert asked == 1
    assert all(answer == ({"asked": 1}, 200) for answer in answers)


async def test_an_answer_stands_for_a_second_and_no_longer() -> None:
    answers = iter([({"n": 1}, 200), ({"n": 2}, 503)])

    async def question() -> tuple[dict[str, int], int]:
        return next(answers)

    now = 100.0
    cached = CachedAnswer(question, lambda: now)
    assert (await cached.get())[1] == 200
    now += 0.99 * CACHE_SECONDS
    assert (await cached.get())[1] == 200
    now += 0.01 * CACHE_SECONDS
    assert (await cached.get())[1] == 503
