"""`setup` for the server of this machine: each client's entry, as it is written, starts or joins it."""

import asyncio
import os
from pathlib import Path

import pytest
from mcp import Client
from mcp.client.stdio import stdio_client

from codebase_cli.app import run
from codebase_cli.clients.catalog import CLIENTS
from codebase_cli.exits import ExitCode
from codebase_embedded.settings import DATA_VARIABLE
from tests.support.client_entries import entry_of, started_by
from tests.support.embedded import EmbeddedRuntime

VARIABLES = ("CLAUDE_CONFIG_DIR", "CODEX_HOME", "XDG_CONFIG_HOME", "KUBECONFIG", "CODEBASE_URL")


async def test_a_client_that_starts_the_written_entry_lists_the_tools(
    embedded_runtime: EmbeddedRuntime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = embedded_runtime.instance()
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    surroundings = {"PATH": os.environ["PATH"], "PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    for client in CLIENTS.values():
        home = tmp_path / client.name
        home.mkdir()
        monkeypatch.setenv("HOME", str(home))
        monkeypatch.setenv(DATA_VARIABLE, str(embedded_runtime.settings.data))
        asked = ["setup", client.name, "--yes", "--embedded"]
        assert await asyncio.to_thread(run, asked, "codebase-mcp") == ExitCode.DONE  # it has a loop of its own
        parameters = started_by(entry_of(client, home), {**surroundings, "HOME": str(home)})
        async with Client(stdio_client(parameters)) as session:
            assert {"search_code", "list_repositories"} <= {
                tool.name for tool in (await session.list_tools()).tools
            }
    assert embedded_runtime.instance() == before
