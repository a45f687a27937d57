import asyncio

from codebase_mcp.transport.answer_cache import REMEMBERED_SECONDS, Remembered


async def test_many_who_ask_at_once_are_one_question() -> None:
    asked = 0

    async def question() -> tuple[dict[str, int], int]:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0.01)
        return {"asked": asked}, 200

    remembered = Remembered(question)
    answers = await asyncio.gather(*(remembered.get() for _ in range(50)))
    assert asked == 1
    assert all(answer == ({"asked": 1}, 200) for answer in answers)


async def test_an_answer_stands_for_a_second_and_no_longer() -> None:
    answers = iter([({"n": 1}, 200), ({"n": 2}, 503)])

    async def question() -> tuple[dict[str, int], int]:
        return next(answers)

    remembered = Remembered(question)
    assert (await remembered.get())[1] == 200
    assert (await remembered.get())[1] == 200
    remembered._asked_at -= REMEMBERED_SECONDS
    assert (await remembered.get())[1] == 503
