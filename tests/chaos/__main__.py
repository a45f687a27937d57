"""`python -m tests.chaos matrix|soak`: prove on the real cluster that nothing is lost, whatever breaks."""

import argparse
import asyncio
import random
import signal
import sys
import traceback
from typing import Any

from hack.deployment.chart import deploy
from hack.local_cluster.paths import own_state
from tests.chaos import soak, table
from tests.chaos.faults.catalog import Row, chosen, run
from tests.chaos.harness import machines
from tests.chaos.rounds import JOBS, Bench, Outcome, over_all
from tests.support.cluster import REPOSITORIES


def main() -> int:
    """Return 0 when nothing is broken, 1 when something is, 2 for wrong arguments."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--no-deploy", action="store_true", help="the chart is installed already")
    parser.add_argument(
        "--seed", type=int, default=random.randrange(10**6), help="for when and where faults strike"
    )
    commands = parser.add_subparsers(dest="command", required=True)
    matrix = commands.add_parser("matrix", help="each fault in several rounds of three jobs")
    matrix.add_argument("--only", metavar="NAMES", help="comma-separated names of faults")
    matrix.add_argument("--begin", metavar="NAME", help="at this row; those before it stay as they were saved")
    matrix.add_argument("--rounds", type=int, default=4, help="of three jobs each (4)")
    long = commands.add_parser("soak", help="random faults over many jobs for a given time")
    long.add_argument("--minutes", type=float, default=60.0)
    given = parser.parse_args()
    # Ended from outside, too, it closes its doors, takes its witness out, and ends what it has stopped.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    print(f"seed {given.seed}", flush=True)
    if not given.no_deploy:
        REPOSITORIES.mkdir(parents=True, exist_ok=True)
        deploy([REPOSITORIES], settings=machines.placement(own_state().recorded_nodes()))
    return asyncio.run(run_matrix(given) if given.command == "matrix" else run_soak(given))


async def run_matrix(given: argparse.Namespace) -> int:
    """Run the matrix; print each row as it is known, all of them at the end."""
    async with Bench.open(random.Random(given.seed)) as bench:
        nodes = bench.cluster.nodes
        results = table.RESULTS / f"chaos-{nodes}-node.json"
        faults = chosen(given.only, nodes)
        if given.begin:
            faults = faults[[fault.name for fault in faults].index(given.begin) :]
        # A part of the matrix replaces the same rows of what was saved.
        rows = {row["fault"]: row for row in table.saved(results)} if given.only or given.begin else {}
        measured = [fault.name for fault in faults]
        for fault in faults:
            rows[fault.name] = {**await run_row(bench, fault, given.rounds), "seed": given.seed, "at": table.now()}
            print(table.line(rows[fault.name]), flush=True)
            # After each row: what was measured in an hour survives what ends the next one.
            in_order = [rows[fault.name] for fault in chosen(None, nodes) if fault.name in rows]
            table.save(results, in_order, nodes=nodes)
    print()
    table.show([rows[name] for name in measured])
    return 0 if all(rows[name]["passed"] for name in measured) else 1


async def run_row(bench: Bench, fault: Row, rounds: int) -> dict[str, Any]:
    """Run the rounds of a row. One that comes to no end breaks the row, and not the matrix."""
    outcomes: list[Outcome] = []
    try:
        for _ in range(rounds):
            outcomes += await run(bench, fault)
    except Exception as error:
        traceback.print_exc()
        await over_all(bench)
        return table.row_of(
            fault, outcomes, [f"round {len(outcomes) // JOBS + 1}: {type(error).__name__}: {error}"]
        )
    return table.row_of(fault, outcomes)


async def run_soak(given: argparse.Namespace) -> int:
    """Run the soak; print and save its result."""
    async with Bench.open(random.Random(given.seed)) as bench:
        result = await soak.run(bench, given.minutes * 60)
        nodes = bench.cluster.nodes
    soak.show(result)
    table.save(table.RESULTS / f"soak-{nodes}-node.json", [result.as_json()], seed=given.seed, nodes=nodes)
    return 0 if result.passed else 1


if __name__ == "__main__":
    sys.exit(main())
