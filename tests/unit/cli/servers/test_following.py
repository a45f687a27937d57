"""A job that is waited for goes on without its server: who waits does not give up at once."""

from collections.abc import Iterable
from typing import Any

import httpx2
import pytest

from codebase_cli.servers import tools
from codebase_cli.servers.tools import Fields, ToolRefused, Tools

RUNNING, COMPLETED = Fields(status="running"), Fields(status="completed")
AWAY = ToolRefused("unavailable: the database does not answer (TimeoutError: ); try again in 10 seconds")


class Scripted(Tools):
    """Answers as it is told to."""

    def __init__(self, answers: Iterable[Fields | Exception]) -> None:
        self._answers = iter(answers)

    async def call(self, tool: str, **_: Any) -> Fields:
        answer = next(self._answers)
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools, "_LOOK_EVERY", 0.0)


async def followed(*answers: Fields | Exception) -> list[str]:
    return [status["status"] async for status in Scripted(answers).follow("job")]


@pytest.mark.parametrize("away", [AWAY, httpx2.ConnectError("refused")])
async def test_who_waits_asks_again_while_the_server_is_away(away: Exception) -> None:
    assert await followed(RUNNING, away, away, COMPLETED) == ["running", "completed"]


async def test_what_will_not_pass_ends_the_wait() -> None:
    with pytest.raises(ToolRefused, match="not found"):
        await followed(RUNNING, ToolRefused("job not found: 42"))


async def test_a_server_that_stays_away_ends_the_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools, "_PATIENCE", 0.0)
    with pytest.raises(ToolRefused, match="unavailable"):
        await followed(RUNNING, AWAY)
