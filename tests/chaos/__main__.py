"""`python -m tests.chaos matrix|soak`: prove on the real cluster that nothing is lost, whatever breaks."""

import argparse
import asyncio
import random
import sys

from demo.deploy import deploy
from tests.chaos import table
from tests.chaos.catalog import chosen, run
from tests.chaos.rounds import Bench
from tests.cluster import REPOSITORIES

_ON_NODE_1 = {"nodeSelector": {"kubernetes.io/hostname": "node1"}}
SETTINGS = {"postgres": _ON_NODE_1, "operator": _ON_NODE_1, "server": _ON_NODE_1}
"""Chart values: what has to survive the loss of a node is not on it."""


def main() -> int:
    """Return 0 when nothing is broken, 1 when something is, 2 for wrong arguments."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--no-deploy", action="store_true", help="the chart is installed already, with SETTINGS")
    parser.add_argument(
        "--seed", type=int, default=random.randrange(10**6), help="for when and where faults strike"
    )
    commands = parser.add_subparsers(dest="command", required=True)
    matrix = commands.add_parser("matrix", help="each fault in several rounds of three jobs")
    matrix.add_argument("--only", metavar="NAMES", help="comma-separated names of faults")
    matrix.add_argument("--rounds", type=int, default=4, help="of three jobs each (4)")
    given = parser.parse_args()
    print(f"seed {given.seed}", flush=True)
    if not given.no_deploy:
        REPOSITORIES.mkdir(parents=True, exist_ok=True)
        deploy([REPOSITORIES], settings=SETTINGS)
    return asyncio.run(run_matrix(given))


async def run_matrix(given: argparse.Namespace) -> int:
    """Run the matrix; print each row as it is known, all of them at the end."""
    rows = []
    async with Bench.open(random.Random(given.seed)) as bench:
        nodes = bench.cluster.nodes
        for fault in chosen(given.only, nodes):
            outcomes = [outcome for _ in range(given.rounds) for outcome in await run(bench, fault)]
            rows.append(table.row_of(fault, outcomes))
            print(table.line(rows[-1]), flush=True)
    print()
    table.show(rows)
    if not given.only:
        table.save(table.RESULTS / f"chaos-{nodes}-node.json", rows, seed=given.seed, nodes=nodes)
    return 0 if all(row["passed"] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
