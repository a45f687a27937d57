"""`setup`: what is written into the configuration files of clients, and taken out again."""

import json
import tomllib
from pathlib import Path

import pytest

from codebase_cli.app import run
from codebase_cli.clients.catalog import CLIENTS
from codebase_cli.exits import ExitCode

VARIABLES = (
    "CLAUDE_CONFIG_DIR", "CODEX_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "CODEBASE_DATA", "KUBECONFIG",
    "CODEBASE_URL",
)  # fmt: skip


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def setup(*arguments: str) -> int:
    return run(["setup", *arguments], "codebase-mcp")


@pytest.mark.parametrize("name", CLIENTS)
def test_taking_the_entry_back_leaves_nothing_of_it(name: str, home: Path) -> None:
    assert setup(name, "--yes", "--embedded") == ExitCode.DONE
    file = CLIENTS[name].user_file()
    assert "serve" in file.read_text()
    assert setup(name, "--yes", "--remove") == ExitCode.DONE
    assert [path.name for path in home.rglob("*") if path.is_file()] == [f"{file.name}.before-codebase-mcp"]


@pytest.mark.parametrize("name", CLIENTS)
def test_a_second_time_changes_nothing(name: str, home: Path) -> None:
    setup(name, "--yes", "--embedded")
    before = CLIENTS[name].user_file().read_bytes()
    assert setup(name, "--yes", "--embedded") == ExitCode.DONE
    assert CLIENTS[name].user_file().read_bytes() == before
    assert not list(home.rglob("*.before-codebase-mcp"))


def test_nothing_is_written_without_a_yes(home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert setup("cursor", "--embedded") == ExitCode.DONE
    assert not [path for path in home.rglob("*") if path.is_file()]


def test_a_projects_file_names_nothing_of_this_machine(home: Path) -> None:
    setup("claude-code", "--yes", "--embedded", "--project", str(home))
    entry = json.loads((home / ".mcp.json").read_text())["mcpServers"]["codebase"]
    assert entry == {"type": "stdio", "command": "codebase-mcp", "args": ["serve"]}


def test_an_entry_has_the_variables_that_a_desktop_does_not_hand_over(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CODEBASE_DATA", "/data")
    setup("zed", "--yes", "--embedded")
    file = home / ".config" / "zed" / "settings.json"
    assert json.loads(file.read_text())["context_servers"]["codebase"]["env"] == {"CODEBASE_DATA": "/data"}


def test_codex_is_told_to_wait_for_a_first_start(home: Path) -> None:
    """It gives up after ten seconds, unless its file says otherwise."""
    setup("codex", "--yes", "--embedded")
    entry = tomllib.loads((home / ".codex" / "config.toml").read_text())["mcp_servers"]["codebase"]
    assert entry["startup_timeout_sec"] >= 60


def test_no_token_is_ever_written(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CODEBASE_TOKEN", "secret-of-mine")
    setup("vscode", "--yes", "--url", "http://127.0.0.1:1/mcp")
    assert "secret-of-mine" not in "".join(path.read_text() for path in home.rglob("*") if path.is_file())


def test_a_file_that_is_not_understood_is_left_alone(home: Path) -> None:
    file = home / ".cursor" / "mcp.json"
    file.parent.mkdir()
    file.write_text("{broken")
    assert setup("cursor", "--yes", "--embedded") == ExitCode.FAILED
    assert file.read_text() == "{broken"


@pytest.mark.parametrize("arguments", [["emacs"], ["windsurf", "--project", "."]])
def test_what_cannot_be_set_up_is_refused(arguments: list[str], home: Path) -> None:
    assert setup(*arguments, "--yes", "--embedded") == ExitCode.FAILED
