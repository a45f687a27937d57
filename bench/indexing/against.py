"""What indexing costs now, beside another revision of this product, on the same files, in turn.

    python -m bench.indexing.against REVISION [FOLDER] [--rounds N] [--megabytes N] [--workers N] [--json FILE]

Each revision runs its own programs on a Postgres of its own, both with the packages of this environment. A pair is
one run of each, the first of them alternating, and what counts is processor time for each MB: the median of the
pairs is what a machine with other work leaves comparable, the quartiles say how far to trust it.
"""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench import figures
from bench.indexing import trees

HERE = Path(__file__).resolve().parents[2]
PACKAGES = ("", "operator", "indexer_image", "mcp_server")

# A run for each line that it reads. The names are those of the revision, which may be older than the rooms.
_PROGRAM = """
import asyncio, json, sys
from pathlib import Path
try:
    from bench.indexing.measured import Product
except ModuleNotFoundError:
    from bench.measured import Product
from bench.postgres import postgres
from codebase_index.store.database import Database

async def serve(dsn, folder, workers):
    database = await Database.open(dsn, name="bench")
    await database.migrate()
    product = Product(database, dsn, workers)
    for _ in sys.stdin:
        run = await product.index(folder)
        print(json.dumps(run.figures()), flush=True)
        await product.forget(folder)
    await database.close()

with postgres() as dsn:
    asyncio.run(serve(dsn, Path(sys.argv[1]), int(sys.argv[2])))
"""


class Revision:
    """The product as it is in a tree, waiting for the next run."""

    def __init__(self, tree: Path, folder: Path, workers: int) -> None:
        path = os.pathsep.join(str(tree / package) for package in PACKAGES)
        command = [sys.executable, "-c", _PROGRAM, str(folder), str(workers)]
        self._process = subprocess.Popen(
            command, cwd=tree, env={**os.environ, "PYTHONPATH": path}, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip

    def run(self) -> dict[str, Any]:
        """Index the folder once, from nothing."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        if not (answer := self._process.stdout.readline()):
            raise SystemExit(f"a run ended with code {self._process.wait()}: its own message is above")
        figures_of_run: dict[str, Any] = json.loads(answer)
        return figures_of_run

    def end(self) -> None:
        """Stop it, and its Postgres."""
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait()


@contextlib.contextmanager
def worktree(revision: str) -> Iterator[Path]:
    """Check a revision out beside this one."""
    git = ["git", "-C", str(HERE), "worktree"]
    with tempfile.TemporaryDirectory(prefix="bench-against-") as scratch:
        tree = Path(scratch) / "tree"
        subprocess.run([*git, "add", "--quiet", "--detach", str(tree), revision], check=True)
        try:
            yield tree
        finally:
            subprocess.run([*git, "remove", "--force", str(tree)], check=True)


def compare(before: Revision, now: Revision, rounds: int) -> dict[str, Any]:
    """Run both in turn after a pair that warms the files; return every pair and what they say."""
    names = {"before": before, "now": now}
    pairs: list[dict[str, dict[str, Any]]] = []
    for number in range(-1, rounds):
        order = list(names) if number % 2 else list(reversed(names))
        pair = {name: names[name].run() for name in order}
        ratio = _cost(pair["now"]) / _cost(pair["before"])
        print(f"{number + 1}: {order[0]} first; " + "; ".join(
            f"{name} {_cost(pair[name]):.3f} CPU s/MB {pair[name]['cpu_seconds']}" for name in names
        ) + f"; ratio {ratio:.3f}", flush=True)  # fmt: skip
        if number >= 0:
            pairs.append(pair)
    return {"pairs": pairs, **ratios(pairs)}


def ratios(pairs: list[dict[str, dict[str, Any]]]) -> dict[str, Any]:
    """Return how much processor time a MB takes now, for one before: median and quartiles, and by part."""
    of_all = [_cost(pair["now"]) / _cost(pair["before"]) for pair in pairs]
    low, median, high = statistics.quantiles(of_all, n=4, method="inclusive")
    parts = {
        part: round(statistics.median(_share(pair, part) for pair in pairs), 3)
        for part in pairs[0]["now"]["cpu_seconds"]
    }
    quartiles = [round(low, 3), round(high, 3)]
    return {"cpu_ratio": round(median, 3), "quartiles": quartiles, "cpu_ratio_by_part": parts}


def _cost(run: dict[str, Any]) -> float:
    """Return CPU seconds for each MB of source; the same files, so that the files' own sizes cancel out."""
    return float(sum(run["cpu_seconds"].values()) / run["megabytes"])


def _share(pair: dict[str, dict[str, Any]], part: str) -> float:
    return float(pair["now"]["cpu_seconds"][part] / pair["before"]["cpu_seconds"][part])


def main() -> None:
    """Compare, print each pair, and write JSON if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("revision")
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--rounds", type=int, default=7, help="pairs, at least 2")
    parser.add_argument("--megabytes", type=float, default=30.0, help="of the tree, at most")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--json", type=Path, help="write the figures to this file, too")
    options = parser.parse_args()
    name, source = next(iter(trees.sources(options.folder).items()))
    with tempfile.TemporaryDirectory(prefix="bench-trees-") as scratch, worktree(options.revision) as tree:
        folder = Path(scratch) / name
        megabytes = trees.copy(source, folder, options.megabytes)
        before, now = (Revision(of, folder, options.workers) for of in (tree, HERE))
        try:
            found = compare(before, now, options.rounds)
        finally:
            before.end()
            now.end()
    found = {"megabytes_of_tree": round(megabytes, 1), "load": os.getloadavg(), **found}
    print({key: value for key, value in found.items() if key != "pairs"})
    if options.json:
        figures.merge(options.json, {f"{options.revision} {name}": found})


if __name__ == "__main__":
    main()
