"""What MCP clients start, as `setup` has written it into their configuration."""

import json
import tomllib
from pathlib import Path
from typing import Any

from mcp.client.stdio import StdioServerParameters

from codebase_cli.clients.catalog import McpClient


def entry_of(client: McpClient, home: Path) -> dict[str, Any]:
    """Read the entry as the program that it is written for does: by a parser of its format."""
    (file,) = [path for path in home.rglob("*") if path.is_file() and path.name == client.user_file().name]
    held = (tomllib.loads if file.suffix == ".toml" else json.loads)(file.read_text())
    for key in (*client.keys, "codebase"):
        held = held[key]
    return dict(held)


def started_by(entry: dict[str, Any], surroundings: dict[str, str]) -> StdioServerParameters:
    """What a client starts for an entry."""
    command = entry["command"]
    words = [command, *entry["args"]] if isinstance(command, str) else command
    environment = {**surroundings, **entry.get("env", {}), **entry.get("environment", {})}
    return StdioServerParameters(command=words[0], args=words[1:], env=environment)
