"""Latency of search_code for several clients at once, over HTTP, on the index that `bench.search_latency` made.

    .venv/bin/python -m bench.search_clients --data /tmp/latency [--clients 1,10,50] [--queries 40] [--writers 3]

The server runs as it ships, in a process of its own. The clients share another, and the machine's processors with
it. Each asks its next question as soon as the last one is answered: ten clients are ten at any moment. The
questions are names that the code defines, sentences of its comments, and some that are nasty; before the first is
measured, others warm the server and the database up. With --writers the same once more while so many jobs index.
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

from bench.figures import merge
from bench.postgres import postgres
from bench.search_latency import NASTY, QUESTIONS, sentences, symbols
from bench.status_latency import call, start_server, start_worker, until_ready
from codebase_index.store.database import Database


async def main() -> None:
    """Start everything, measure, print."""
    parser = argparse.ArgumentParser(prog="python -m bench.search_clients")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--clients", type=lambda text: [int(n) for n in text.split(",")], default=[1, 10, 50])
    parser.add_argument("--queries", type=int, default=40, help="of each client")
    parser.add_argument("--writers", type=int, default=0, help="jobs that write meanwhile")
    parser.add_argument("--json", type=Path, help="merge the figures into this file")
    options = parser.parse_args()
    with postgres(options.data) as dsn, tempfile.TemporaryDirectory(prefix="bench-clients-") as scratch:
        figures = await measure(dsn, Path(scratch), options)
    print(json.dumps(figures, indent=2))
    if options.json:
        merge(options.json, figures)


async def measure(dsn: str, scratch: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Return the latencies: of the first questions after a start of the server and the database, and by number of
    clients, without and with writing jobs.
    """
    database = await Database.open(dsn, name="bench", size=2, timeout=120)
    async with database.connection() as connection:
        chunks = await connection.fetchval("SELECT count(*) FROM chunks")
    before = [*await symbols(database, 100, part=1), *await sentences(database, 100, part=1), *QUESTIONS, *NASTY]
    asked = [*await symbols(database, 150), *await sentences(database, 150), *QUESTIONS * 3, *NASTY * 3]
    process, url = start_server(dsn, scratch)
    server = Server(database, url, process.pid)
    figures: dict[str, Any] = {"chunks": chunks}
    try:
        await until_ready(url, process, jobs=0)
        figures["latency_ms_cold"] = await server.ask(before, 1, 40)
        await server.ask(before, 2, len(before))  # warms up, with other questions
        figures["latency_ms"] = {str(n): await server.ask(asked, n, options.queries) for n in options.clients}
        if options.writers:
            async with writing(database, dsn, scratch, options.writers):
                figures["latency_ms_while_writing"] = {
                    str(n): await server.ask(asked, n, options.queries) for n in options.clients
                }
    finally:
        process.kill()
        process.wait()
        await database.close()
    return figures


@contextlib.asynccontextmanager
async def writing(database: Database, dsn: str, scratch: Path, jobs: int) -> AsyncIterator[None]:
    """Keep so many jobs indexing until the block ends, and remove what they made."""
    workers = [await start_worker(database, dsn, scratch / f"writer-{n}", seed=n) for n in range(jobs)]
    try:
        await asyncio.sleep(5)  # they have begun to write
        yield
        if any(worker.poll() is not None for worker in workers):
            print("a writing job was over before the end: ask fewer questions", flush=True)
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
        async with database.connection() as connection:
            await connection.execute("DELETE FROM indexes WHERE source LIKE $1", f"{scratch}/%", timeout=600)


@dataclass(frozen=True)
class Server:
    """The server that is asked, and the database that it asks."""

    database: Database
    url: str
    pid: int

    async def ask(self, queries: Sequence[str], clients: int, each: int) -> dict[str, float]:
        """Let clients ask so many questions each; return percentiles, and the processor time of a question."""
        answers: list[float] = []
        refused = 0

        async def client(number: int) -> None:
            nonlocal refused
            # One connection a client. Not the SDK's client, which costs about as much as the server that it asks.
            async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1)) as session:
                for query in random.Random(number).sample(queries, k=each):
                    asked_at = time.perf_counter()
                    answer = await call(session, self.url, "modern", "search_code", query=query)
                    answers.append(1000 * (time.perf_counter() - asked_at))
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
        print(clients, "clients:", rounded, flush=True)
        return rounded

    async def _cpu(self) -> dict[str, float]:
        """Return the processor seconds of the server, of these clients, and of the server's connections."""
        query = "SELECT pid FROM pg_stat_activity WHERE application_name = 'codebase-mcp-server'"
        async with self.database.connection() as connection:
            backends = [row["pid"] for row in await connection.fetch(query)]
        return {
            "cpu_server": sum(psutil.Process(self.pid).cpu_times()[:2]),
            "cpu_clients": time.process_time(),
            "cpu_postgres": sum(sum(psutil.Process(pid).cpu_times()[:2]) for pid in backends),
        }


if __name__ == "__main__":
    asyncio.run(main())
