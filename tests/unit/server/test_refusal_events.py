"""A refused start is an Event on the server's own pod, told once a minute for each reason, without arguments."""

import json
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest

from codebase_mcp.identity.principal import Method, Principal, principal_context
from codebase_mcp.limits.origin import Origin, origin_context
from codebase_mcp.metrics import REFUSAL_REASONS
from codebase_mcp.refusal_events import MAX_NAME, SECONDS_BETWEEN, TOOL, RefusalEvents
from codebase_mcp.settings import Pod

POD = Pod("codebase-mcp-server-0", "12345678-1234-1234-1234-123456789abc")


class Told:
    """Events as they were written, and a clock that is set by hand."""

    def __init__(self) -> None:
        self.manifests: list[dict[str, Any]] = []
        self.now = 0.0
        self.events = RefusalEvents(self.create, POD, "code", lambda: self.now)

    async def create(self, manifest: dict[str, Any]) -> None:
        self.manifests.append(manifest)

    async def tell(self, text: str, tool: str = TOOL, name: str = "ann") -> None:
        with principal_context(Principal(name, Method.KUBERNETES)), origin_context(Origin("10.0.0.9", "req-1")):
            self.events.tell(tool, text)
        await self.events.written()


@pytest.fixture
def told() -> Told:
    return Told()


async def test_it_says_why_and_who_and_where_the_log_has_more(told: Told) -> None:
    await told.tell("forbidden: this takes the right to create on indexingjobs")
    (event,) = told.manifests
    assert (event["reason"], event["type"], event["count"]) == ("Refused", "Warning", 1)
    assert event["involvedObject"]["uid"] == POD.uid and event["metadata"]["namespace"] == "code"
    assert event["message"] == (
        "start_indexing_background was refused (forbidden); caller kubernetes:ann; the log has it under request "
        "id req-1"
    )


async def test_nothing_that_the_caller_wrote_is_in_it(told: Told) -> None:
    await told.tell("hunter2 in front: validation", name="x" * 500 + "\u202e")
    await told.tell("validation: repo_path '/srv/hunter2' is outside every repository root", name="two\nlines")
    written = json.dumps(told.manifests)
    assert "hunter2" not in written and "x" * (MAX_NAME + 1) not in written
    assert all(event["message"].isprintable() for event in told.manifests)
    assert "(other)" in told.manifests[0]["message"]


async def test_a_flood_is_one_event_a_minute_for_each_reason_which_counts_the_others(told: Told) -> None:
    for second in range(int(3 * SECONDS_BETWEEN)):
        told.now = float(second)
        for reason in REFUSAL_REASONS:
            await told.tell(f"{reason}: x")
    assert len(told.manifests) == 3 * len(REFUSAL_REASONS)
    assert [e["count"] for e in told.manifests if "(forbidden)" in e["message"]] == [
        1,
        SECONDS_BETWEEN,
        SECONDS_BETWEEN,
    ]


async def test_other_tools_are_not_told(told: Told) -> None:
    await told.tell("forbidden: x", tool="search_code")
    assert told.manifests == []


@pytest.mark.parametrize("error", [TimeoutError, aiohttp.ClientError, OSError])
async def test_an_api_server_that_is_away_is_a_line_in_the_log(
    error: Callable[[], Exception], caplog: pytest.LogCaptureFixture
) -> None:
    async def create(_: dict[str, Any]) -> None:
        raise error()

    events = RefusalEvents(create, POD, "code")
    events.tell(TOOL, "forbidden: x")
    await events.written()
    assert "a refused start has no Event" in caplog.text
