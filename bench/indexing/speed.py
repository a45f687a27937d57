"""Speed of indexing, beside semble's, on the same files.

    python -m bench.indexing.speed [FOLDER] [--rounds N] [--megabytes N] [--sizes N,N] [--dsn DSN] [--json FILE]

The product runs as in a pod: its real worker program, every batch durable in a Postgres that shares the machine
(embedded without --dsn). semble keeps its index in memory (bench/indexing/semble.py). Both get the same copy of a
tree (a
folder, else the installed packages and the Kubernetes source), one after the other, in alternating order; time
counts from the start of a process to its end. --sizes measures the product alone on generated repositories: first,
unchanged, and 1 % changed; --pods and --jobs with several pods for one job, and with several jobs, on the first
tree. --megabytes bounds each tree.

On a machine with other work compare `cpu_seconds_per_megabyte`; on a quiet one `ratio_to_semble` is what counts.
"""

import argparse
import asyncio
import contextlib
import json
import os
import platform
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bench.indexing import semble, trees
from bench.indexing.measured import Product, Run
from bench.indexing.stages import stages
from bench.postgres import postgres
from codebase_index.store.database import Database

CHANGED = 0.01
"""Share of files that a developer's week changes."""


async def compare(product: Product, folder: Path, rounds: int, parallel: int) -> dict[str, Any]:
    """Index a tree in turn with the product, with semble as it ships, and with semble on every core."""
    runs: dict[str, list[Run]] = {"product": [], "semble": [], "semble_parallel": []}
    for number in range(rounds):
        order = list(runs) if number % 2 == 0 else list(reversed(runs))
        for program in order:
            if program == "product":
                await product.forget(folder)
                run = await product.index(folder)
            else:
                workers = parallel if program == "semble_parallel" else 0
                run = await asyncio.to_thread(semble.index, folder, workers)
            runs[program].append(run)
            print(line(f"{folder.name} {number + 1}: {program}", run), flush=True)
    figures: dict[str, Any] = {name: [run.figures() for run in of] for name, of in runs.items()}
    for name in ("semble", "semble_parallel"):
        ratios = [ours.speed / theirs.speed for ours, theirs in zip(runs["product"], runs[name], strict=True)]
        costs = [theirs.cost / ours.cost for ours, theirs in zip(runs["product"], runs[name], strict=True)]
        figures[f"ratios_to_{name}"] = [round(ratio, 2) for ratio in ratios]
        figures[f"cpu_ratios_to_{name}"] = [round(ratio, 2) for ratio in costs]
    figures["bound_by"] = bound_by(runs["product"][-1])
    return figures


async def by_size(product: Product, scratch: Path, sizes: Sequence[int]) -> dict[str, Any]:
    """Index generated repositories: from nothing, again unchanged, after a few changes, and without git's word."""
    figures: dict[str, Any] = {}
    for size in sizes:
        folder = scratch / f"generated-{size}"
        trees.generated(folder, size)
        runs = {"first": await product.index(folder), "unchanged": await product.index(folder)}
        trees.change(folder, CHANGED)
        runs["changed"] = await product.index(folder)
        trees.without_git(folder)
        runs["unchanged_without_git"] = await product.index(folder)
        for name, run in runs.items():
            print(line(f"{size:,} files: {name}", run), flush=True)
        figures[str(size)] = {name: run.figures() for name, run in runs.items()}
        await product.forget(folder)
    return figures


async def by_pods(product: Product, folder: Path, numbers: Sequence[int]) -> dict[str, Any]:
    """Index a tree with the same workers in one pod, in two and so on, as processes of this machine."""
    figures: dict[str, Any] = {}
    for pods in numbers:
        await product.forget(folder)
        run = await product.index(folder, pods)
        print(line(f"{folder.name}: {pods} pod{'s' if pods > 1 else ''}", run), flush=True)
        figures[str(pods)] = run.figures()
    await product.forget(folder)
    return figures


async def at_once(product: Product, folder: Path, jobs: int) -> dict[str, Any]:
    """Index copies of a tree by several jobs at once."""
    copies = [folder.with_name(f"{folder.name}-{number}") for number in range(jobs)]
    for copy in copies:
        shutil.copytree(folder, copy)
    began = time.perf_counter()
    runs = await asyncio.gather(*(product.index(copy) for copy in copies))
    seconds = time.perf_counter() - began
    megabytes = sum(run.megabytes for run in runs)
    speed = megabytes / seconds
    print(f"{jobs} jobs at once: {megabytes:.1f} MB in {seconds:.1f} s, {speed:.2f} MB/s", flush=True)
    for copy in copies:
        await product.forget(copy)
        shutil.rmtree(copy)
    return {
        "jobs": jobs, "megabytes": round(megabytes, 2), "seconds": round(seconds, 2),
        "megabytes_per_second": round(speed, 3), "seconds_each": [run.seconds for run in runs],
    }  # fmt: skip


def bound_by(run: Run) -> str:
    """Say what a run waited for: the parts' shares of its CPU time, and how busy the cores were."""
    total, cores = sum(run.cpu_seconds.values()), os.cpu_count() or 1
    shares = sorted(run.cpu_seconds.items(), key=lambda part: -part[1])
    parts = ", ".join(f"{part} {cpu / total:.0%}" for part, cpu in shares)
    return f"{parts} of the CPU time; {total / run.seconds / cores:.0%} of {cores} cores"


def line(title: str, run: Run) -> str:
    """Return a run as a row of a Markdown table (`HEAD`)."""
    cpu = " + ".join(f"{part} {seconds:.1f}" for part, seconds in run.cpu_seconds.items())
    indexer, postgres = (run.peak_megabytes.get(part, 0) for part in ("indexer", "postgres"))
    return (
        f"| {title} | {run.files:,} | {run.chunks:,} | {run.megabytes:.1f} | {run.seconds:.1f} | {run.speed:.2f} "
        f"| {run.chunks / run.seconds:,.0f} | {cpu} | {indexer:.0f} | {postgres:.0f} |"
    )


HEAD = (
    "| run | files | chunks | MB | s | MB/s | chunks/s | CPU s | peak MB | Postgres, peak MB |\n"
    "|---|---|---|---|---|---|---|---|---|---|"
)


async def measure(options: argparse.Namespace, dsn: str, scratch: Path) -> dict[str, Any]:
    """Run everything, printing as it goes."""
    database = await Database.open(dsn, name="bench")
    await database.migrate()
    product = Product(database, dsn, options.workers)
    results: dict[str, Any] = {
        "machine": {"processors": os.cpu_count(), "system": platform.platform(), "load": os.getloadavg()},
        "rounds": options.rounds, "workers": options.workers, "semble": semble.VERSION,
        "trees": {}, "stages_megabytes_per_second": {},
    }  # fmt: skip
    print(HEAD, flush=True)
    sources = trees.sources(options.folder) if options.rounds else {}
    for number, (name, source) in enumerate(sources.items()):
        folder = scratch / name
        trees.copy(source, folder, options.megabytes)
        results["trees"][name] = await compare(product, folder, options.rounds, options.workers)
        results["stages_megabytes_per_second"][name] = stages(folder)
        await product.forget(folder)
        if number == 0:
            results["pods"] = await by_pods(product, folder, options.pods)
            results["at_once"] = await at_once(product, folder, options.jobs) if options.jobs else None
    for other in ("semble", "semble_parallel") if options.rounds else ():
        for kind in ("ratio", "cpu_ratio"):
            ratios = [r for tree in results["trees"].values() for r in tree[f"{kind}s_to_{other}"]]
            results[f"{kind}_to_{other}"] = round(statistics.median(ratios), 2)
    results["sizes"] = await by_size(product, scratch, options.sizes)
    await database.close()
    return results


def summary(results: dict[str, Any]) -> str:
    """Return the end of the report: ratios, stages, and what bounds each tree."""
    names = ("ratio_to_semble", "ratio_to_semble_parallel", "cpu_ratio_to_semble", "cpu_ratio_to_semble_parallel")
    parts = [f"{name}: {results[name]}" for name in names if name in results]
    parts += [f"{name}: {tree['bound_by']}" for name, tree in results["trees"].items()]
    for name, speeds in results["stages_megabytes_per_second"].items():
        parts.append(f"{name}, MB/s of one core: " + ", ".join(f"{s} {speed}" for s, speed in speeds.items()))
    return "\n".join(parts)


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """Give a place for the trees outside of any repository, whose ignore rules would hide them."""
    with tempfile.TemporaryDirectory(prefix="bench-trees-") as folder:
        yield Path(folder)


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


def main() -> None:
    """Measure, print a table, and write JSON if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--rounds", type=int, default=3, help="comparisons with semble; 0: none")
    parser.add_argument("--megabytes", type=float, default=60.0, help="of each tree, at most")
    parser.add_argument("--sizes", type=_numbers, default=[])
    parser.add_argument("--pods", type=_numbers, default=[], help="pods for one job: 1,2,4")
    parser.add_argument("--jobs", type=int, default=0, help="jobs at once")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--dsn", help="a Postgres with pgvector, such as the cluster's; default: an embedded one")
    parser.add_argument("--json", type=Path, help="write the figures to this file, too")
    options = parser.parse_args()
    with contextlib.nullcontext(options.dsn) if options.dsn else postgres() as dsn, scratch_folder() as scratch:
        results = asyncio.run(measure(options, dsn, scratch))
    print(summary(results))
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
