"""Every row of the matrix, in order."""

from tests.chaos import machine_faults, pod_faults, process_faults, service_faults, suspend_faults
from tests.chaos.faults import Fault
from tests.chaos.rounds import Bench, Outcome, TooLate, over_all, run_round
from tests.chaos.stops import STOPS, Stop, run_stops

FAULTS: tuple[Fault, ...] = (
    *process_faults.FAULTS, *pod_faults.FAULTS, *service_faults.FAULTS, *suspend_faults.FAULTS,
    *machine_faults.FAULTS,
)  # fmt: skip
ROWS: tuple[Fault | Stop, ...] = (*FAULTS, *STOPS, *machine_faults.STOPS)


def chosen(names: str | None, nodes: int) -> list[Fault | Stop]:
    """Return the rows that are named (comma-separated; None: all) and possible with so many nodes.

    Raises ValueError for a name that does not exist.
    """
    by_name = {row.name: row for row in ROWS}
    wanted = names.split(",") if names else list(by_name)
    if unknown := [name for name in wanted if name not in by_name]:
        raise ValueError(f"no row is called {', '.join(unknown)}; there are {', '.join(by_name)}")
    return [by_name[name] for name in wanted if by_name[name].nodes <= nodes]


TRIES = 3
"""Of one round, when a job was over before its fault: a quick machine must not look like a broken product."""


async def run(bench: Bench, row: Fault | Stop) -> list[Outcome]:
    """Run one round of a row. Raises TooLate when the jobs are over before the fault time and again."""
    for _ in range(TRIES - 1):
        try:
            return await _once(bench, row)
        except TooLate as missed:
            print(f"    {row.name}: again, {missed}", flush=True)
            await over_all(bench)
    return await _once(bench, row)


async def _once(bench: Bench, row: Fault | Stop) -> list[Outcome]:
    return await (run_stops(bench, row) if isinstance(row, Stop) else run_round(bench, row))
