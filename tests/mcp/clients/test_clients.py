"""Other people's clients list our tools and call each, each in an environment of its own (make test-clients)."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from tests.mcp.tools.test_contract import TOOLS

pytestmark = pytest.mark.clients

PROGRAMS: Final = Path(__file__).with_name("programs")
ENVIRONMENTS: Final = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "codebase-mcp-clients"
PYTHON: Final = {
    "mcp1": ["mcp>=1.20,<2"],
    "fastmcp": ["fastmcp>=2.12,<3"],
    "langchain": ["langchain-mcp-adapters>=0.1,<0.2", "langchain-core", "mcp<2"],
    "openai_agents": ["openai-agents>=0.3,<1", "mcp<2"],
    "google_genai": ["google-genai>=1.30,<2", "mcp<2"],
}
"""Each program in Python, and what it is installed with."""

TYPESCRIPT: Final = "@modelcontextprotocol/sdk@^1.20"
GO: Final = "github.com/modelcontextprotocol/go-sdk@v1.8.0"


@pytest.mark.parametrize("client", [*PYTHON, "typescript", "go"])
async def test_a_client_lists_and_calls_every_tool(client: str, url: str, shop: Any) -> None:
    await shop.completed({"src/pay.py": "def pay(basket):\n    return sum(basket)\n"})
    job_id = str(await shop.running("/work/other"))
    calls = {
        "search_code": {"query": "pay", "repo": "shop", "limit": 5}, "read_code": {"path": "src/pay.py"},
        "list_files": {}, "list_repositories": {}, "list_indexing_jobs": {"status": "running"},
        "get_indexing_status": {"job_id": job_id}, "cancel_indexing_background": {"job_id": job_id},
        "start_indexing_background": {"repo_path": "/nowhere"},
    }  # fmt: skip
    program = await asyncio.to_thread(COMMANDS.get(client, _python), client)
    process = await asyncio.create_subprocess_exec(
        *program, f"{url}/mcp", json.dumps(calls), stdout=asyncio.subprocess.PIPE
    )
    output, _ = await asyncio.wait_for(process.communicate(), 120)
    assert process.returncode == 0
    told = json.loads(output.decode().splitlines()[-1])
    assert told["tools"] == TOOLS
    assert told["errors"] == {name: name == "start_indexing_background" for name in calls}


Command = list[str | Path]


def _python(client: str) -> Command:
    """Return the command of a program in Python."""
    python, uv = ENVIRONMENTS / client / "bin" / "python", Path(sys.executable).with_name("uv")

    def make(folder: Path) -> None:
        _run(folder, uv, "venv", "--quiet", "--clear", folder)
        _run(folder, uv, "pip", "install", "--quiet", "--python", python, *PYTHON[client])

    environment(client, make)
    return [python, PROGRAMS / f"{client}.py"]


def _typescript(client: str) -> Command:
    """Return the command of the program of the TypeScript SDK; it lies where node finds the SDK."""
    folder = environment(client, lambda folder: npm_install(folder, TYPESCRIPT))
    return ["node", shutil.copy(PROGRAMS / f"{client}.mjs", folder)]


def _go(client: str) -> Command:
    """Return the program of the Go SDK, compiled."""

    def make(folder: Path) -> None:
        (folder / "go.mod").write_text("module client\n")
        _run(folder, "go", "get", GO)

    folder = environment(client, make)
    shutil.copy(PROGRAMS / client / "main.go", folder)
    _run(folder, "go", "mod", "tidy")
    _run(folder, "go", "build", "-o", "client", ".")
    return [folder / "client"]


COMMANDS: Final[dict[str, Callable[[str], Command]]] = {"typescript": _typescript, "go": _go}
"""How the programs are made ready that are not in Python. Each takes node 20 or Go 1.25 as it finds it."""


def npm_install(folder: Path, *packages: str) -> None:
    """Install packages of npm into a folder; nothing of them is run meanwhile."""
    _run(folder, "npm", "install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", *packages)


def environment(name: str, make: Callable[[Path], object]) -> Path:
    """Return the folder of an environment, which is made the first time."""
    folder = ENVIRONMENTS / name
    if not (folder / "complete").exists():
        folder.mkdir(parents=True, exist_ok=True)
        make(folder)
        (folder / "complete").touch()
    return folder


def _run(folder: Path, *command: str | Path) -> None:
    subprocess.run(command, cwd=folder, check=True)
