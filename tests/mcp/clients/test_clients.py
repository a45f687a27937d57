"""Other people's clients list our tools and call each, each in an environment of its own (make test-clients)."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

from tests.mcp.tools.test_contract import TOOLS

pytestmark = pytest.mark.clients

PROGRAMS: Final = Path(__file__).with_name("programs")
ENVIRONMENTS: Final = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "codebase-mcp-clients"
CLIENTS: Final = {
    "mcp1": ["mcp>=1.20,<2"],
    "fastmcp": ["fastmcp>=2.12,<3"],
    "langchain": ["langchain-mcp-adapters>=0.1,<0.2", "langchain-core", "mcp<2"],
    "openai_agents": ["openai-agents>=0.3,<1", "mcp<2"],
    "google_genai": ["google-genai>=1.30,<2", "mcp<2"],
}
"""Each program in `programs/`, and what it is installed with."""


@pytest.mark.parametrize("client", CLIENTS)
async def test_a_client_lists_and_calls_every_tool(client: str, url: str, shop: Any) -> None:
    await shop.completed({"src/pay.py": "def pay(basket):\n    return sum(basket)\n"})
    job_id = str(await shop.running("/work/other"))
    calls = {
        "search_code": {"query": "pay", "repo": "shop", "limit": 5}, "read_code": {"path": "src/pay.py"},
        "list_files": {}, "list_repositories": {}, "list_indexing_jobs": {"status": "running"},
        "get_indexing_status": {"job_id": job_id}, "cancel_indexing_background": {"job_id": job_id},
        "start_indexing_background": {"repo_path": "/nowhere"},
    }  # fmt: skip
    python = await asyncio.to_thread(_environment, client)
    process = await asyncio.create_subprocess_exec(
        python, PROGRAMS / f"{client}.py", f"{url}/mcp", json.dumps(calls), stdout=asyncio.subprocess.PIPE
    )
    output, _ = await asyncio.wait_for(process.communicate(), 120)
    assert process.returncode == 0
    told = json.loads(output.decode().splitlines()[-1])
    assert told["tools"] == TOOLS
    assert told["errors"] == {name: name == "start_indexing_background" for name in calls}


def _environment(client: str) -> Path:
    """Return the interpreter of a client's environment, which is made the first time."""
    folder = ENVIRONMENTS / client
    python = folder / "bin" / "python"
    uv = Path(sys.executable).with_name("uv")
    if not (folder / "complete").exists():
        subprocess.run([uv, "venv", "--quiet", "--clear", folder], check=True)
        subprocess.run([uv, "pip", "install", "--quiet", "--python", python, *CLIENTS[client]], check=True)
        (folder / "complete").touch()
    return python
