"""MCP clients: where each has its configuration, and what an entry looks like there.

Checked against what the programs document, in November 2026; each row names the page. Most have two files: one of
the user, and one of a project, which a team shares.
"""

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from codebase_cli.clients import json_text, toml_text


@dataclass(frozen=True)
class Launch:
    """How a client starts our command."""

    command: str
    arguments: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """Return it as most clients want it."""
        environment = {"env": dict(self.environment)} if self.environment else {}
        return {"command": self.command, "args": list(self.arguments), **environment}


@dataclass(frozen=True)
class McpClient:
    """A program that speaks MCP, and its configuration."""

    name: str
    title: str
    keys: tuple[str, ...]
    """Names on the way from the file's top to its servers."""
    user_file: Callable[[], Path]
    documented: str
    """Page that describes the file."""
    project_file: str | None = None
    """Relative to a project; None: it has none."""
    entry: Callable[[Launch], dict[str, Any]] = Launch.plain
    then: str = "restart it"
    """What makes it read the file."""
    format: ModuleType = json_text


def _typed(launch: Launch) -> dict[str, Any]:
    return {"type": "stdio", **launch.plain()}


def _patient(launch: Launch) -> dict[str, Any]:
    """Codex gives up after ten seconds, and the first start of all makes a database."""
    return {**launch.plain(), "startup_timeout_sec": 60}


def _in_one_list(launch: Launch) -> dict[str, Any]:
    environment = {"environment": dict(launch.environment)} if launch.environment else {}
    command = [launch.command, *launch.arguments]
    return {"type": "local", "command": command, "enabled": True, **environment}


def _home(*parts: str) -> Callable[[], Path]:
    return lambda: Path.home().joinpath(*parts)


def _below(variable: str, default: str, *parts: str) -> Callable[[], Path]:
    """A path below the folder that a variable names, or below one in the home folder."""
    return lambda: Path(os.environ.get(variable) or Path.home() / default).joinpath(*parts)


def _application(*parts: str) -> Callable[[], Path]:
    """A path below the folder that desktop programs keep their settings in."""
    if sys.platform == "darwin":
        return _home("Library", "Application Support", *parts)
    return _below("XDG_CONFIG_HOME", ".config", *parts)


CLIENTS: Mapping[str, McpClient] = {
    client.name: client
    for client in (
        McpClient(
            "claude-code", "Claude Code", ("mcpServers",), _below("CLAUDE_CONFIG_DIR", "", ".claude.json"),
            "https://code.claude.com/docs/en/mcp", ".mcp.json", _typed, "start a new session; /mcp shows it",
        ),
        McpClient(
            "claude-desktop", "Claude Desktop", ("mcpServers",),
            _application("Claude", "claude_desktop_config.json"),
            "https://modelcontextprotocol.io/docs/develop/connect-local-servers",
        ),
        McpClient(
            "vscode", "VS Code", ("servers",), _application("Code", "User", "mcp.json"),
            "https://code.visualstudio.com/docs/agents/reference/mcp-configuration", ".vscode/mcp.json", _typed,
            "it starts the server when the agent asks; `MCP: List Servers` shows it",
        ),
        McpClient(
            "cursor", "Cursor", ("mcpServers",), _home(".cursor", "mcp.json"),
            "https://cursor.com/docs/mcp", ".cursor/mcp.json", _typed,
            "restart it, and switch the server on under Customize, MCPs",
        ),
        McpClient(
            "codex", "Codex", ("mcp_servers",), _below("CODEX_HOME", ".codex", "config.toml"),
            "https://developers.openai.com/codex/mcp", ".codex/config.toml", _patient,
            "start a new session; /mcp shows it", format=toml_text,
        ),
        McpClient(
            "gemini", "Gemini CLI", ("mcpServers",), _home(".gemini", "settings.json"),
            "https://geminicli.com/docs/tools/mcp-server", ".gemini/settings.json",
            then="start a new session; /mcp shows it",
        ),
        McpClient(
            "zed", "Zed", ("context_servers",), _below("XDG_CONFIG_HOME", ".config", "zed", "settings.json"),
            "https://zed.dev/docs/ai/mcp", ".zed/settings.json", then="it reads the file at once",
        ),
        McpClient(
            "windsurf", "Windsurf", ("mcpServers",), _home(".codeium", "windsurf", "mcp_config.json"),
            "https://docs.windsurf.com/windsurf/cascade/mcp",
        ),
        McpClient(
            "opencode", "OpenCode", ("mcp",), _below("XDG_CONFIG_HOME", ".config", "opencode", "opencode.json"),
            "https://opencode.ai/docs/mcp-servers", "opencode.json", _in_one_list,
        ),
    )
}  # fmt: skip
"""Every client that `setup` knows, by the name that it is called there."""
