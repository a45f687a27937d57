"""The program itself as a process: `python -m codebase_mcp --http`."""

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

START_SECONDS = 60  # a bound for a machine that is busy

KUBECONFIG = {
    "apiVersion": "v1", "kind": "Config", "current-context": "x",
    "clusters": [{"name": "x", "cluster": {"server": "http://127.0.0.1:{port}"}}],
    "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
    "users": [{"name": "x", "user": {"token": "t"}}],
}  # fmt: skip


@asynccontextmanager
async def run_server(
    environment: dict[str, str], log: Path = Path(os.devnull)
) -> AsyncIterator[tuple[str, asyncio.subprocess.Process]]:
    """Run it with this environment; yield its address and its process once it answers. `log` takes its log."""
    with log.open("wb") as errors:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "codebase_mcp", "--http", env=environment, stderr=errors
        )
    url = f"http://127.0.0.1:{environment['CODEBASE_PORT']}"
    try:
        async with asyncio.timeout(START_SECONDS), httpx.AsyncClient() as client:
            while True:
                assert process.returncode is None, "the server ended while it started"
                with contextlib.suppress(httpx.TransportError):
                    await client.get(f"{url}/healthz")
                    break
                await asyncio.sleep(0.1)
        yield url, process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
