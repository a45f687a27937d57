"""`make demo-cluster [REPO=path or URL]`: index a repository with pods, by a real MCP client, and search it."""

import argparse
import asyncio
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from hack.deployment.chart import NAMESPACE, deploy, root_above
from hack.deployment.commands import CHECKOUT, CommandFailed, kubectl, kubectl_json
from hack.deployment.mcp_client import ToolFailed, Tools, connect, follow, port_forward

QUERIES = {
    "own": ["which job may start next", "fencing token", "split camelCase identifiers"],
    "any": ["parse the configuration", "error handling and retries", "main entry point"],
}
_BAR = 30  # characters


def main() -> int:
    """Run the demo; return the process' exit code."""
    parser = argparse.ArgumentParser(prog="make demo-cluster", description=__doc__)
    parser.add_argument("repo", nargs="?", default=str(CHECKOUT), help="a folder of this machine, or a git URL")
    parser.add_argument("--query", action="append", help="what to search for (up to ten times)")
    arguments = parser.parse_args()
    try:
        asyncio.run(demonstrate(arguments.repo, arguments.query))
    except (CommandFailed, ToolFailed, TimeoutError) as error:
        print(f"\ndemo failed: {error}", file=sys.stderr)
        return 1
    return 0


async def demonstrate(repo: str, queries: list[str] | None) -> None:
    """Install, index, search, and say how to go on."""
    is_url = "://" in repo
    source = repo if is_url else str(Path(repo).resolve())
    step("Installing the chart (Postgres, operator, MCP server)")
    roots = [root_above(CHECKOUT), *([] if is_url else [root_above(Path(source))])]
    deploy(roots, git_hosts=[urlsplit(repo).hostname or ""] if is_url else [])
    with port_forward() as url:
        async with connect(url) as tools:
            step(f"Indexing {source}")
            status = await index(tools, source)
            if status["status"] != "completed":
                raise ToolFailed(
                    f"the job is {status['status']}: {status['error_message'] or status['progress_message']}"
                )
            default = QUERIES["own" if source == str(CHECKOUT) else "any"]
            for query in (queries or default)[:10]:
                await search(tools, source, query)
    closing_words()


async def index(tools: Tools, source: str) -> dict[str, Any]:
    """Start the job, show it live, and return its last status."""
    began = time.monotonic()
    job = await tools.call("start_indexing_background", repo_path=source)
    took = time.monotonic() - began
    word = "created" if job["created"] else "already active"
    print(f"  job {job['job_id']} {word} in {took:.2f} s")
    status: dict[str, Any] = {}
    async for status in follow(tools, job["job_id"], every=0.5, timeout=3600):
        show_progress(status)
    print()
    await asyncio.to_thread(wait_for_mirror, job["job_id"])
    print(kubectl("get", "indexingjobs", "-n", NAMESPACE))
    for path_and_reason in status["skipped"][:5]:
        print(f"  skipped: {path_and_reason['path']} ({path_and_reason['reason']})")
    return status


def wait_for_mirror(job_id: str) -> None:
    """Wait until kubectl shows the end, too: the resource's status follows the facts by a second or two."""
    for _ in range(20):
        jobs = kubectl_json("get", "indexingjobs", "-n", NAMESPACE)["items"]
        phases = [j.get("status", {}).get("phase") for j in jobs if j["metadata"]["uid"] == job_id]
        if not set(phases) & {"Pending", "Running", None}:
            return
        time.sleep(0.5)


def show_progress(status: dict[str, Any]) -> None:
    """Draw one line: bar, percentage, message and the time that is left."""
    percent = status["progress_percentage"]
    filled = int(_BAR * percent / 100)
    left = status["estimated_time_remaining_seconds"]
    eta = f", about {left} s left" if left and percent < 100 else ""
    bar = "█" * filled + "·" * (_BAR - filled)
    line = f"  [{bar}] {percent:3d} %  {status['status']}: {status['progress_message']}{eta}"
    if sys.stdout.isatty():
        print(f"\r\x1b[2K{line[:150]}", end="", flush=True)
    else:
        print(line, flush=True)


async def search(tools: Tools, source: str, query: str) -> None:
    """Search and print the first results."""
    step(f"Searching: {query}")
    began = time.monotonic()
    answer = await tools.call("search_code", query=query, repo=source, limit=5)
    took = 1000 * (time.monotonic() - began)
    for place, result in enumerate(answer["results"], 1):
        where = f"{result['path']}:{result['start_line']}-{result['end_line']}"
        print(f"  {place}. {where}  {result['symbol'] or ''}")
    print(f"  ({took:.0f} ms)")


def closing_words() -> None:
    """Say what to do next."""
    print(f"""
Connect an MCP client, or search from here:
  export KUBECONFIG={CHECKOUT}/.cluster/kubeconfig PATH={CHECKOUT}/.cluster/bin:{CHECKOUT}/.venv/bin:$PATH
  codebase-mcp setup claude-code --namespace {NAMESPACE}
  codebase-mcp search "…" --namespace {NAMESPACE}

Watch jobs:   kubectl get indexingjobs -n {NAMESPACE} -w
Look closer:  kubectl describe ij -n {NAMESPACE}
Stop all:     make down""")


def step(title: str) -> None:
    """Print a headline."""
    print(f"\n== {title}", flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
