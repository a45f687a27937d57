"""Calls tools of a server so many times a second until a file appears, then prints what became of the calls.

    caller.py URL CALLS_A_SECOND LANES STOP_FILE TOOL ARGUMENTS [TOOL ARGUMENTS ...]

A lane is a client with a connection of its own, which calls when the call before has been answered.

It runs in a pod, with what the server's image has, and goes through the Service as clients do. Connections are
kept between calls, and no call is repeated: what a rollout costs is seen as it is.
"""

import asyncio
import json
import sys
import time
from collections import Counter
from itertools import cycle
from pathlib import Path
from typing import Any

import httpx

HEADERS = {"Accept": "application/json, text/event-stream"}


async def call(client: httpx.AsyncClient, url: str, tool: str, arguments: dict[str, Any]) -> str:
    """Call a tool; return "ok", or what went wrong."""
    request = {
        "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": tool, "arguments": arguments},
    }  # fmt: skip
    try:
        answer = await client.post(url, json=request, headers=HEADERS)
    except httpx.TransportError as error:
        return f"{type(error).__name__}: {error}"
    if not answer.is_success:
        return f"{answer.status_code} {answer.text[:200]}"
    result = answer.json().get("result") or {}
    if result.get("isError") is False or "structuredContent" in result:
        return "ok"
    return answer.text[:300]


async def lane(
    number: int, url: str, rate: float, lanes: int, stop: Path, calls: list[tuple[str, dict[str, Any]]]
) -> Counter[str]:
    """Call on, at an even pace of this lane's share."""
    outcomes: Counter[str] = Counter()
    due = time.monotonic() + number / rate
    async with httpx.AsyncClient(timeout=30, trust_env=False) as client:
        for tool, arguments in cycle(calls):
            if stop.exists():
                return outcomes
            outcomes[await call(client, url, tool, arguments)] += 1
            due = max(due + lanes / rate, time.monotonic() - 1)  # what was missed for long is not made up for
            await asyncio.sleep(max(0.0, due - time.monotonic()))
    return outcomes


async def main(url: str, rate: str, number: str, stop: str, *words: str) -> None:
    """Run all lanes to their end."""
    calls = [(tool, json.loads(arguments)) for tool, arguments in zip(words[::2], words[1::2], strict=True)]
    lanes = [lane(n, url, float(rate), int(number), Path(stop), calls) for n in range(int(number))]
    outcomes: Counter[str] = Counter()
    for counted in await asyncio.gather(*lanes):
        outcomes += counted
    print(json.dumps(outcomes), flush=True)


asyncio.run(main(*sys.argv[1:]))
