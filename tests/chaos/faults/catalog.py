"""Every row of the matrix, in order."""

from tests.chaos.faults import machine_faults, pod_faults, process_faults, service_faults, suspend_faults
from tests.chaos.faults.cancellations import CANCELLATIONS, Cancellation, run_cancellations
from tests.chaos.faults.faults import Fault
from tests.chaos.faults.source_faults import SOURCE_FAULTS, SourceFault, run_source_faults
from tests.chaos.rounds import Bench, Outcome, TooLate, over_all, run_round

Row = Fault | Cancellation | SourceFault

FAULTS: tuple[Fault, ...] = (
    *process_faults.FAULTS, *pod_faults.FAULTS, *service_faults.FAULTS, *suspend_faults.FAULTS,
    *machine_faults.FAULTS,
)  # fmt: skip
ROWS: tuple[Row, ...] = (*FAULTS, *CANCELLATIONS, *machine_faults.CANCELLATIONS, *SOURCE_FAULTS)


def chosen(names: str | None, nodes: int) -> list[Row]:
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


async def run(bench: Bench, row: Row) -> list[Outcome]:
    """Run one round of a row. Raises TooLate when the jobs are over before the fault time and again."""
    for _ in range(TRIES - 1):
        try:
            return await _once(bench, row)
        except TooLate as missed:
            print(f"    {row.name}: again, {missed}", flush=True)
            await over_all(bench)
    return await _once(bench, row)


async def _once(bench: Bench, row: Row) -> list[Outcome]:
    match row:
        case Cancellation():
            return await run_cancellations(bench, row)
        case SourceFault():
            return await run_source_faults(bench, row)
        case Fault():
            return await run_round(bench, row)
