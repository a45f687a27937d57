"""The command line itself: what it knows, what it loads, how it ends."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from codebase_cli.app import app, run
from codebase_cli.clients.catalog import CLIENTS
from codebase_cli.exits import CommandFailed, ExitCode

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "command.md").read_text()
NAMES = [command.name or "" for command in app.registered_commands]

TOO_SLOW = {"mcp", "kubernetes", "aiohttp", "numpy", "asyncpg", "uvicorn", "tree_sitter"}
"""Packages that take longer to load than a person likes to wait for a help text or an answer."""


def test_what_every_command_needs_is_loaded_in_a_fraction_of_a_second() -> None:
    program = "import codebase_cli.app, sys; print(*{name.partition('.')[0] for name in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert not TOO_SLOW & set(loaded.split())


@pytest.mark.parametrize("name", [name for name in NAMES if name != "admin"])
def test_each_sub_command_has_a_help_text_and_a_place_on_its_page(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([name, "--help"], "codebase-mcp") == ExitCode.DONE
    said = capsys.readouterr().out
    assert said.startswith(f"Usage: codebase-mcp {name}") and len(said.splitlines()) < 60
    assert name == "version" or f"`{name}`" in PAGE


@pytest.mark.parametrize("arguments", [["--help"], ["status", "--help"]], ids=["of all", "of a sub-command"])
def test_the_plugin_of_kubectl_speaks_of_clusters_alone(arguments: list[str]) -> None:
    program = f"from codebase_cli.__main__ import kubectl_plugin; kubectl_plugin({arguments})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("Usage: kubectl codebase") and "kubeconfig" in done.stdout
    assert not {"embedded", "--embedded", "serve", "stop"} & set(re.findall(r"[\w-]+", done.stdout))


def test_the_page_has_every_exit_code() -> None:
    assert set(re.findall(r"^\| (\d+) \|", PAGE, re.M)) == {str(code.value) for code in ExitCode}


def test_the_page_has_every_client_with_its_project_file() -> None:
    for client in CLIENTS.values():
        (row,) = re.findall(rf"^\| `{client.name}` .*$", PAGE, re.M)
        assert client.user_file().name in row and (client.project_file or "") in row


@pytest.mark.parametrize(
    "arguments", [["serch"], ["search"], ["list", "--limit", "0"], ["search", "a", "-m", "x"]]
)
def test_wrong_arguments_are_exit_code_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments, "codebase-mcp") == ExitCode.USAGE
    assert "Usage: " in capsys.readouterr().err


def test_a_failure_is_one_message_on_standard_error(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise CommandFailed("the disk is full; make room")

    monkeypatch.setattr("codebase_cli.commands.serve.embedded.stop", fail)
    assert run(["stop"], "codebase-mcp") == ExitCode.FAILED


def test_shells_complete_sub_commands_and_clients() -> None:
    completed = subprocess.run(
        [sys.executable, "-m", "codebase_cli"], capture_output=True, text=True, check=False,
        env={"_CODEBASE_MCP_COMPLETE": "complete_bash", "COMP_WORDS": "codebase-mcp setup c", "COMP_CWORD": "2",
             "PYTHONPATH": ":".join(sys.path)},
    )  # fmt: skip
    assert {"claude-code", "codex", "cursor"} <= set(completed.stdout.split())
