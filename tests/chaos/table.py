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

from demo.tools import CHECKOUT
from tests.chaos.faults import Fault
from tests.chaos.rounds import Outcome
from tests.chaos.stops import Stop

RESULTS = CHECKOUT / "bench" / "results"
_HEAD = (
    f"{'fault':<46} {'runs':>4} {'recovered after: p50':>20} {'p95':>6} {'max':>6} {'outage':>7} {'repeated':>9}"
)


def row_of(fault: Fault | Stop, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Summarise the runs of a fault. Times in seconds."""
    recovered = sorted(o.recovered for o in outcomes if o.recovered is not None)
    problems = sorted({problem for outcome in outcomes for problem in outcome.problems})
    return {
        "fault": fault.name, "title": fault.title, "counted_from": fault.counted_from, "runs": len(outcomes),
        "limit_seconds": fault.limit_seconds, "repeated_limit": fault.repeated_limit,
        **{name: percentile(recovered, percent) for name, percent in (("p50", 50), ("p95", 95), ("max", 100))},
        "outage_max": round(max(o.outage for o in outcomes), 2),
        "repeated_max": round(max(o.repeated for o in outcomes), 4),
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
    times = " ".join(f"{_seconds(row[name]):>{width}}" for name, width in (("p50", 8), ("p95", 8), ("max", 8)))
    repeated = f"{100 * row['repeated_max']:.2f} %"
    told = f"{row['title']:<46} {row['runs']:>4} {times} {_seconds(row['outage_max']):>8} {repeated:>9}"
    return told + ("" if row["passed"] else "  BROKEN") + "".join(f"\n    {p}" for p in row["problems"][:6])


def show(rows: Sequence[dict[str, Any]]) -> None:
    """Print the whole matrix."""
    print(_HEAD)
    for row in rows:
        print(line(row))
    passed = sum(row["passed"] for row in rows)
    print(f"{passed} of {len(rows)} rows within their limits; times from the moment that each row names, by the")
    print("database's clock; repeated: share of a job's files that were started more than once, the worst job")


def save(path: Path, rows: Sequence[dict[str, Any]], **facts: Any) -> None:
    """Write the results with what they were measured on."""
    path.parent.mkdir(parents=True, exist_ok=True)
    measured = {"command": " ".join(["python -m tests.chaos", *sys.argv[1:]]), "machine": machine(), **facts}
    path.write_text(json.dumps({**measured, "rows": rows}, indent=1) + "\n")
    print(f"written to {path.relative_to(CHECKOUT)}")


def machine() -> dict[str, Any]:
    """Describe this machine."""
    return {
        "cores": cpu_count(),
        "memory_gib": round(sysconf("SC_PAGE_SIZE") * sysconf("SC_PHYS_PAGES") / 2**30),
        "kernel": platform.release(),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} s"
