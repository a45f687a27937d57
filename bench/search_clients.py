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
from pathlib import Path
from typing import Any

import aiohttp
import psutil

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
        before = json.loads(options.json.read_text()) if options.json.exists() else {}
        options.json.write_text(json.dumps(before | figures, indent=2) + "\n")


async def measure(dsn: str, scratch: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Return the latencies: of the first questions after a start of the server and the database, and by number of
    clients, without and with writing jobs.
    """
    database = await Database.open(dsn, name="bench", size=2, timeout=120)
    async with database.connection() as connection:
        chunks = await connection.fetchval("SELECT count(*) FROM chunks")
    before = [*await symbols(database, 100, part=1), *await sentences(database, 100, part=1), *QUESTIONS, *NASTY]
    asked = [*await symbols(database, 150), *await sentences(database, 150), *QUESTIONS * 3, *NASTY * 3]
    server, url = start_server(dsn, scratch)
    figures: dict[str, Any] = {"chunks": chunks}

    async def by_clients() -> dict[str, dict[str, float]]:
        return {str(n): await rounds(url, server.pid, asked, n, options.queries) for n in options.clients}

    try:
        await until_ready(url, server, jobs=0)
        figures["latency_ms_cold"] = await rounds(url, server.pid, before, 1, 40)
        await rounds(url, server.pid, before, 2, len(before))  # warms up, with other questions
        figures["latency_ms"] = await by_clients()
        if options.writers:
            async with writing(database, dsn, scratch, options.writers):
                figures["latency_ms_while_writing"] = await by_clients()
    finally:
        server.kill()
        server.wait()
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


async def rounds(url: str, server: int, asked: Sequence[str], clients: int, queries: int) -> dict[str, float]:
    """Let so many clients ask so many questions each; return the percentiles and the processor time of a query."""
    answers: list[float] = []

    async def client(number: int) -> None:
        # One connection a client. Not the SDK's client, which costs about as much as the server that it asks.
        chosen = random.Random(number).sample(asked, k=queries)
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1)) as session:
            for query in chosen:
                asked_at = time.perf_counter()
                answer = await call(session, url, "modern", "search_code", query=query)
                assert "results" in answer, answer
                answers.append(1000 * (time.perf_counter() - asked_at))

    used, began = cpu(server), time.perf_counter()
    await asyncio.gather(*(client(number) for number in range(clients)))
    seconds = time.perf_counter() - began
    answers.sort()
    found = {
        "p50": statistics.median(answers), "p95": answers[int(0.95 * len(answers))],
        "p99": answers[int(0.99 * len(answers))], "queries_per_second": len(answers) / seconds,
    }  # fmt: skip
    found |= {part: 1000 * (after - used[part]) / len(answers) for part, after in cpu(server).items()}
    print(clients, "clients:", {name: round(value, 1) for name, value in found.items()}, flush=True)
    return {name: round(value, 1) for name, value in found.items()}


def cpu(server: int) -> dict[str, float]:
    """Return the processor seconds of the server, of these clients, and of all server processes of Postgres."""
    postgres = [p for p in psutil.process_iter(["name", "cpu_times"]) if p.info["name"] == "postgres"]
    return {
        "cpu_server": sum(psutil.Process(server).cpu_times()[:2]),
        "cpu_clients": time.process_time(),
        "cpu_postgres": sum(sum(p.info["cpu_times"][:2]) for p in postgres),
    }


if __name__ == "__main__":
    asyncio.run(main())
