"""The fault matrix as a table for people, and as JSON for comparison."""

import json
import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from os import cpu_count, sysconf
from pathlib import Path
from typing import Any

from hack.deployment.commands import CHECKOUT
from tests.chaos.faults.cancellations import Cancellation
from tests.chaos.faults.faults import Fault
from tests.chaos.faults.source_faults import SourceFault
from tests.chaos.rounds import Outcome

RESULTS = CHECKOUT / "bench" / "results"
_KINDS = {Fault: "recovery", Cancellation: "cancel", SourceFault: "source"}
_COLUMNS = ("p50", "p95", "max")


def row_of(
    fault: Fault | Cancellation | SourceFault, outcomes: Sequence[Outcome], problems: Sequence[str] = ()
) -> dict[str, Any]:
    """Summarise the runs of a fault. Times in seconds. `problems` are those that have no run."""
    recovered = sorted(o.recovered for o in outcomes if o.recovered is not None)
    problems = sorted({*problems, *(problem for outcome in outcomes for problem in outcome.problems)})
    return {
        "fault": fault.name, "kind": _KINDS[type(fault)],
        "title": fault.title, "counted_from": fault.counted_from, "runs": len(outcomes),
        "limit_seconds": fault.limit_seconds, "repeated_limit": fault.repeated_limit,
        **{name: percentile(recovered, percent) for name, percent in (("p50", 50), ("p95", 95), ("max", 100))},
        "outage_max": round(max((o.outage for o in outcomes), default=0.0), 2),
        "repeated_max": round(max((o.repeated for o in outcomes), default=0.0), 4),
        "passed": not problems, "problems": problems,
        "samples": [asdict(outcome) for outcome in outcomes],
    }  # fmt: skip


def percentile(ordered: Sequence[float], percent: int) -> float | None:
    """Return the nearest-rank percentile of sorted values; None of none."""
    if not ordered:
        return None
    return round(ordered[max(0, -(-len(ordered) * percent // 100) - 1)], 2)


def line(row: dict[str, Any]) -> str:
    """Return a row for people."""
    times = "".join(f"{_seconds(row[name]):>8}" for name in _COLUMNS)
    repeated = f"{100 * row['repeated_max']:.2f} %"
    told = f"{row['title']:<42} {row['runs']:>4}{times}{_seconds(row['outage_max']):>8} {repeated:>8}"
    broken = "" if row["passed"] else "  BROKEN"
    return f"{told}  from {row['counted_from']}{broken}" + "".join(f"\n    {p}" for p in row["problems"][:6])


def show(rows: Sequence[dict[str, Any]]) -> None:
    """Print the whole matrix."""
    kinds = (
        ("recovery", "recovered", "outage"), ("cancel", "processes gone", "answer"), ("source", "job ended", "-"),
    )  # fmt: skip
    for kind, title, outage in kinds:
        chosen = [row for row in rows if row["kind"] == kind]
        if chosen:
            times = "".join(f"{name:>8}" for name in _COLUMNS)
            print(f"\n{title + ' after':<42} {'runs':>4}{times}{outage:>8} {'repeated':>8}")
            print("\n".join(line(row) for row in chosen))
    passed = sum(row["passed"] for row in rows)
    print(
        f"\n{passed} of {len(rows)} rows within their limits. Times by the database's clock; repeated: the share"
    )
    print("of a job's files that were started more than once, in the worst job.")


def save(path: Path, rows: Sequence[dict[str, Any]], **facts: Any) -> None:
    """Write the results with what they were measured on."""
    path.parent.mkdir(parents=True, exist_ok=True)
    measured = {"command": " ".join(["python -m tests.chaos", *sys.argv[1:]]), "machine": machine(), **facts}
    path.write_text(json.dumps({**measured, "rows": rows}, indent=1) + "\n")


def saved(path: Path) -> list[dict[str, Any]]:
    """Return the rows of an earlier run; none where there was none."""
    return list(json.loads(path.read_text())["rows"]) if path.exists() else []


def machine() -> dict[str, Any]:
    """Describe this machine."""
    return {
        "cores": cpu_count(),
        "memory_gib": round(sysconf("SC_PAGE_SIZE") * sysconf("SC_PHYS_PAGES") / 2**30),
        "kernel": platform.release(),
        "at": now(),
    }


def now() -> str:
    """Return the time as results note it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} s"
