"""MCP over standard input and output: many clients share one instance, and notice none of its restarts."""

import asyncio
import json
import os
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from codebase_embedded import bridge
from codebase_embedded.bridge import Bridge, Conversation, Lines
from codebase_embedded.instance import Instance
from hack.deployment.mcp_client import Tools, finished
from tests.support.embedded import EmbeddedRuntime, kill, running, settings_for

BRIDGE = """
import sys
from codebase_embedded import bridge
from codebase_embedded.settings import Settings
sys.exit(bridge.run(Settings.of_json(sys.argv[1])))
"""


@asynccontextmanager
async def stdio(
    runtime: EmbeddedRuntime, era: str = "auto", cwd: Path | None = None, **options: Any
) -> AsyncIterator[Tools]:
    """A client as an editor starts it, in a folder."""
    parameters = StdioServerParameters(
        command=sys.executable, args=["-c", BRIDGE, runtime.settings.to_json()], env=dict(os.environ), cwd=cwd
    )
    async with Client(stdio_client(parameters), mode=era, **options) as client:
        yield Tools(client)


@pytest.mark.parametrize("era", ["auto", "legacy"], ids=["2026-07-28", "2025-11-25"])
async def test_a_client_over_stdio_indexes_and_searches(
    embedded_runtime: EmbeddedRuntime, small_repository: str, era: str
) -> None:
    async with stdio(embedded_runtime, era) as tools:
        job = await tools.call("start_indexing_background", repo_path=small_repository)
        status = await finished(tools, job["job_id"], timeout=60)
        assert status["status"] == "completed", status["error_message"]
        assert (await tools.call("search_code", query="class", repo=small_repository))["results"]


async def test_many_clients_share_one_instance(embedded_runtime: EmbeddedRuntime) -> None:
    before = embedded_runtime.instance()
    async with (
        stdio(embedded_runtime) as first,
        stdio(embedded_runtime) as second,
        embedded_runtime.connect() as http,
    ):
        answers = await asyncio.gather(*(tools.call("list_indexing_jobs") for tools in (first, second, http)))
    assert answers[0]["total_count"] == answers[1]["total_count"] == answers[2]["total_count"]
    assert embedded_runtime.instance() == before


async def test_two_terminals_an_editor_and_an_agent_work_at_once(
    embedded_runtime: EmbeddedRuntime, new_repository: Callable[[int], str]
) -> None:
    one, other = new_repository(20), new_repository(20)
    async with (
        stdio(embedded_runtime) as terminal,
        stdio(embedded_runtime) as second_terminal,
        stdio(embedded_runtime, "legacy") as editor,
        embedded_runtime.connect() as agent,
    ):
        jobs = await asyncio.gather(
            *(tools.call("start_indexing_background", repo_path=one) for tools in (terminal, editor, agent)),
            second_terminal.call("start_indexing_background", repo_path=other),
        )
        assert len({job["job_id"] for job in jobs[:3]}) == 1 and jobs[3]["job_id"] != jobs[0]["job_id"]
        ends = await asyncio.gather(
            finished(agent, jobs[0]["job_id"], timeout=300), finished(editor, jobs[3]["job_id"], timeout=300)
        )
        assert {end["status"] for end in ends} == {"completed"}
        everybody = (terminal, second_terminal, editor, agent)
        answers = await asyncio.gather(
            *(tools.call("search_code", query="class", repo=repo) for tools in everybody for repo in (one, other))
        )
        found = [[hit["path"] for hit in answer["results"]] for answer in answers]
    assert found[0] and found[1] and found == found[:2] * 4


@pytest.mark.parametrize("era", ["auto", "legacy"], ids=["2026-07-28", "2025-11-25"])
async def test_a_client_does_not_notice_that_the_server_was_killed(
    embedded_runtime: EmbeddedRuntime, era: str
) -> None:
    async with stdio(embedded_runtime, era) as tools:
        await tools.call("list_indexing_jobs")
        embedded_runtime.kill_server()
        await tools.call("list_indexing_jobs")


async def test_the_first_client_starts_an_instance_and_the_next_call_one_that_was_killed(
    own_data_folder: Path, repositories: Path
) -> None:
    with running(settings_for(own_data_folder, repositories)) as runtime:
        async with stdio(runtime) as tools:
            await tools.call("list_indexing_jobs")
            kill(runtime.service("manager"))
            await tools.call("list_indexing_jobs")


# --- what is repeated, without a server ------------------------------------------------------------


def line(**message: Any) -> bytes:
    return json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n"


INITIALIZE = line(id=0, method="initialize")
INITIALIZED = line(method="notifications/initialized")


def test_lines_are_put_together_from_any_chunks() -> None:
    lines = Lines()
    assert list(lines.feed(b"one\ntw")) == [b"one\n"]
    assert list(lines.feed(b"")) == []
    assert list(lines.feed(b"o\nthree\n")) == [b"two\n", b"three\n"]


def test_an_answered_handshake_is_repeated_and_its_second_answer_kept_from_the_client() -> None:
    talk = Conversation()
    for sent in (INITIALIZE, INITIALIZED):
        talk.asked(sent)
    assert talk.answered(line(id=0, result={}))
    assert talk.to_repeat() == [INITIALIZE, INITIALIZED]
    assert not talk.answered(line(id=0, result={}))
    assert talk.settled


def test_what_was_not_answered_is_asked_again() -> None:
    talk = Conversation()
    asked = [line(id=number, method="tools/call") for number in (1, 2)]
    for sent in asked:
        talk.asked(sent)
    talk.answered(line(id=1, result={}))
    assert talk.to_repeat() == [asked[1]] and not talk.settled


def test_an_unanswered_handshake_is_the_clients() -> None:
    talk = Conversation()
    talk.asked(INITIALIZE)
    assert talk.to_repeat() == [INITIALIZE]
    assert talk.answered(line(id=0, result={}))


def test_a_cancelled_request_is_not_waited_for() -> None:
    talk = Conversation()
    talk.asked(line(id=5, method="tools/call"))
    talk.asked(line(method="notifications/cancelled", params={"requestId": 5}))
    assert talk.settled and talk.to_repeat() == []


def test_what_a_client_sends_at_once_is_not_lost_with_a_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    (client_in, client_out), (answers_in, answers_out) = os.pipe(), os.pipe()
    (ended, other_end), (live, server) = socket.socketpair(), socket.socketpair()
    other_end.close()
    connections = [ended, live]
    asked = b"".join(line(id=number, method="tools/call") for number in (1, 2, 3))
    answers = b"".join(line(id=number, result={}) for number in (1, 2, 3))

    def find() -> Instance:
        raise AssertionError("it is connected already")

    class Connected(Bridge):
        def _connect(self) -> socket.socket:
            return connections.pop(0)

    monkeypatch.setattr(bridge, "_STDIN", client_in)
    monkeypatch.setattr(bridge, "_STDOUT", answers_out)
    os.write(client_out, asked)
    os.close(client_out)
    server.sendall(answers)
    Connected(find).run()
    assert server.recv(65536) == asked
    assert os.read(answers_in, 65536) == answers
    server.close()
    for pipe in (client_in, answers_in, answers_out):
        os.close(pipe)
