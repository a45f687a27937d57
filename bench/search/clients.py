"""Latency of search_code for concurrent clients over HTTP, on the index that `bench.search.latency` made.

    .venv/bin/python -m bench.search.clients --data /tmp/latency [--clients 1,10,50] [--queries 40] [--writers 3]

The servers run as they ship, each in its own process, as many as the chart has; the clients share another one.
Servers, database and jobs have the CPU weights that their pods have in a cluster. Each client sends its next query
as soon as the last one is answered, so ten clients mean ten queries at any moment. Then the same with clients that
pause for a second before each query, as agents do, and with a single server (`server.replicas: 1`). The queries
are names that the code defines, sentences of its comments, and hostile ones; others warm the servers and the
database up. With --writers the same again while so many jobs index.
"""

import argparse
import asyncio
import contextlib
import json
import random
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import psutil

from bench import chart
from bench.figures import merge
from bench.postgres import postgres
from bench.search.latency import NASTY, QUESTIONS, sentences, symbols
from bench.shares import Shares, shares
from bench.status_latency import call, start_server, start_worker, until_ready, weigh_postgres
from codebase_index.store.database import Database

THINK_SECONDS = 1.0
"""Mean pause of an agent between two queries."""


async def main() -> None:
    """Start everything, measure, print."""
    parser = argparse.ArgumentParser(prog="python -m bench.search.clients")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--clients", type=lambda text: [int(n) for n in text.split(",")], default=[1, 10, 50])
    parser.add_argument("--queries", type=int, default=40, help="of each client")
    parser.add_argument("--writers", type=int, default=0, help="jobs that write meanwhile")
    parser.add_argument("--json", type=Path, help="merge the figures into this file")
    options = parser.parse_args()
    with (
        shares() as pods,
        postgres(options.data) as dsn,
        tempfile.TemporaryDirectory(prefix="bench-clients-") as scratch,
    ):
        figures = await measure(Bench(dsn, Path(scratch), pods), options)
    print(json.dumps(figures, indent=2))
    if options.json:
        merge(options.json, figures)


@dataclass(frozen=True)
class Bench:
    """The database, scratch folder and CPU weights of a run."""

    dsn: str
    scratch: Path
    pods: Shares


async def measure(bench: Bench, options: argparse.Namespace) -> dict[str, Any]:
    """Return the latencies: of the first questions after a start of the server and the database, and by number of
    clients, without and with writing jobs, and from two servers.
    """
    database = await Database.open(bench.dsn, name="bench", size=2, timeout=120)
    await weigh_postgres(database, bench.pods)
    async with database.connection() as connection:
        chunks = await connection.fetchval("SELECT count(*) FROM chunks")
    queries = [*await symbols(database, 150), *await sentences(database, 150), *QUESTIONS * 3, *NASTY * 3]
    warmup_queries = [*QUESTIONS, *NASTY]
    for part in range(1, 5):
        warmup_queries += [*await symbols(database, 100, part), *await sentences(database, 100, part)]
    figures: dict[str, Any] = {"chunks": chunks}

    async def ask(servers: Servers, clients: Sequence[int], pause: float = 0.0) -> dict[str, dict[str, float]]:
        return {str(n): await servers.ask(queries, n, options.queries, pause) for n in clients}

    try:
        async with running_servers(database, bench, default_replicas()) as servers:
            figures["servers"] = len(servers.urls)
            figures["latency_ms_cold"] = await servers.ask(warmup_queries, 1, 40)
            await servers.ask(warmup_queries, 2 * len(servers.urls), len(warmup_queries) // 2)
            figures["latency_ms"] = await ask(servers, options.clients)
            figures["latency_ms_with_pauses"] = await ask(servers, [10], THINK_SECONDS)
            if options.writers:
                async with writing_jobs(database, bench, options.writers):
                    figures["latency_ms_while_writing"] = await ask(servers, options.clients)
        async with running_servers(database, bench, 1) as one:
            await one.ask(warmup_queries, 2, len(warmup_queries) // 2)
            figures["latency_ms_one_server"] = await ask(one, options.clients)
    finally:
        await database.close()
    return figures


def default_replicas() -> int:
    """Return how many servers the chart has by default."""
    return int(chart.values("server")["replicas"])


@contextlib.asynccontextmanager
async def writing_jobs(database: Database, bench: Bench, jobs: int) -> AsyncIterator[None]:
    """Run so many indexing jobs during the block, and remove their indexes."""
    workers = [
        await start_worker(database, bench.dsn, bench.scratch / f"writer-{n}", n, bench.pods) for n in range(jobs)
    ]
    try:
        await asyncio.sleep(5)  # they have begun to write
        yield
        if any(worker.poll() is not None for worker in workers):
            print("a writing job finished before the end: use fewer --queries", flush=True)
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
        async with database.connection() as connection:
            await connection.execute("DELETE FROM indexes WHERE source LIKE $1", f"{bench.scratch}/%", timeout=600)


@contextlib.asynccontextmanager
async def running_servers(database: Database, bench: Bench, count: int) -> AsyncIterator["Servers"]:
    """Run so many fresh servers during the block."""
    processes = [start_server(bench.dsn, bench.scratch, number, bench.pods) for number in range(count)]
    try:
        for process, url in processes:
            await until_ready(url, process, jobs=0)
        yield Servers(database, [url for _, url in processes], [process.pid for process, _ in processes])
    finally:
        for process, _ in processes:
            process.kill()
            process.wait()


@dataclass(frozen=True)
class Servers:
    """The servers, among which the clients are divided, and their database."""

    database: Database
    urls: Sequence[str]
    pids: Sequence[int]

    async def ask(self, queries: Sequence[str], clients: int, each: int, pause: float = 0.0) -> dict[str, float]:
        """Run clients with so many queries each, and a mean pause of so many seconds before each.

        Return percentiles, and the CPU time of a query.
        """
        answers: list[float] = []
        refused = 0

        async def client(number: int) -> None:
            nonlocal refused
            # One connection a client. Not the SDK's client, which costs about as much as the server that it asks.
            async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1)) as session:
                rng, url = random.Random(number), self.urls[number % len(self.urls)]
                for query in rng.sample(queries, k=each):
                    await asyncio.sleep(rng.uniform(0, 2 * pause))
                    started_at = time.perf_counter()
                    answer = await call(session, url, "modern", "search_code", query=query)
                    answers.append(1000 * (time.perf_counter() - started_at))
                    refused += "results" not in answer  # too busy, as the answer says

        used, began = await self._cpu(), time.perf_counter()
        await asyncio.gather(*(client(number) for number in range(clients)))
        seconds, after = time.perf_counter() - began, await self._cpu()
        answers.sort()
        found = {
            "p50": statistics.median(answers), "p95": answers[int(0.95 * len(answers))],
            "p99": answers[int(0.99 * len(answers))], "refused": refused,
            "queries_per_second": len(answers) / seconds,
            **{part: 1000 * (after[part] - used[part]) / len(answers) for part in after},
        }  # fmt: skip
        rounded = {name: round(value, 1) for name, value in found.items()}
        thinking = f" that think for {pause:g} s" if pause else ""
        print(f"{clients} clients{thinking}, {len(self.urls)} servers: {rounded}", flush=True)
        return rounded

    async def _cpu(self) -> dict[str, float]:
        """Return the processor seconds of the servers, of these clients, and of the servers' connections."""
        query = "SELECT pid FROM pg_stat_activity WHERE application_name = 'codebase-mcp-server'"
        async with self.database.connection() as connection:
            backends = [row["pid"] for row in await connection.fetch(query)]
        return {
            "cpu_server": sum(sum(psutil.Process(pid).cpu_times()[:2]) for pid in self.pids),
            "cpu_clients": time.process_time(),
            "cpu_postgres": sum(sum(psutil.Process(pid).cpu_times()[:2]) for pid in backends),
        }


if __name__ == "__main__":
    asyncio.run(main())
