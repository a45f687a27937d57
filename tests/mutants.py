"""Break the product on purpose and see the model test fail: `make mutants`. On the cluster: `tests.chaos.mutants`.

Each mutant is a small change of the sources in a copy of the tree. The table names the invariant that broke. Exit
code 1 when a mutant survives, when its change no longer applies, or when the sources as they are do not pass.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.support.packages import PACKAGES

ROOT = Path(__file__).resolve().parents[1]
PARTS = (*PACKAGES, "tests", "pyproject.toml")
LIMIT_SECONDS = 600
BROKEN = re.compile(r"invariant '([^']+)' is broken: (.*)")


class Stale(Exception):
    """A mutant's change does not apply to the sources any more."""


@dataclass(frozen=True)
class Change:
    """A piece of a file, and what stands there instead."""

    path: str
    old: str
    new: str

    def apply(self, tree: Path) -> None:
        """Change the file. Raises Stale."""
        file = tree / self.path
        text = file.read_text()
        if text.count(self.old) != 1:
            raise Stale(f"{self.path} does not hold exactly once: {self.old!r}")
        file.write_text(text.replace(self.old, self.new))


@dataclass(frozen=True)
class Mutant:
    """A broken product. `key` names it for a machine, `name` for people."""

    key: str
    name: str
    changes: tuple[Change, ...]

    def apply(self, tree: Path) -> None:
        """Break the sources below a folder. Raises Stale."""
        for change in self.changes:
            change.apply(tree)


@dataclass(frozen=True)
class Outcome:
    """What the model test said. `broken` is None when it passed."""

    name: str
    broken: str | None
    detail: str
    seconds: float
    expected: bool


_WRITE = """            ids = await self._write_files(connection, writer, fresh)
            await _write_pending(connection, writer, batch, done, ids)
            if unchanged:
                await connection.execute(SQL["touch_files"], [r.file_id for r in unchanged], writer.job_id)
"""
_COUNTED = """            await _count(connection, writer, counted)
"""
_NEXT = "\n    async def analyze"

MUTANTS = (
    Mutant(
        "fence",
        "fence check removed: batches and claims of replaced attempts",
        (
            Change(
                "codebase_index/store/sql/chunks.sql",
                "secrets_redacted + $7\nWHERE id = $1 AND attempt = $2 AND state IN ('running', 'blocked')",
                "secrets_redacted + $7\nWHERE id = $1 AND $2::integer > 0 AND state IN ('running', 'blocked')",
            ),
            Change(
                "codebase_index/store/sql/work.sql", "AND jobs.attempt = $2 AND jobs.state IN", "AND jobs.state IN"
            ),
        ),
    ),
    Mutant(
        "batch",
        "batch marked done and counted before its chunks are written",
        (
            Change("codebase_index/store/ingest/chunks.py", _WRITE, ""),
            Change(
                "codebase_index/store/ingest/chunks.py",
                _COUNTED + _NEXT,
                f"{_COUNTED}        async with self._db.transaction() as connection:\n{_WRITE}{_NEXT}",
            ),
        ),
    ),
    Mutant(
        "limit",
        "limit counts admitted jobs only, not those whose pod is terminating",
        (
            Change(
                "operator/codebase_operator/planning/scheduler.py",
                "return {v.job.id for v in views if v.holds_slot} | rows | _with_pods(s)",
                "return {v.job.id for v in views if v.admitted}",
            ),
            Change("codebase_index/store/sql/jobs.sql", "AND o.id <> $1) < $3\n", "AND o.id <> $1) < $3 + 1000\n"),
        ),
    ),
)


def copy_tree(target: Path) -> None:
    """Copy what the model test needs."""
    ignore = shutil.ignore_patterns("__pycache__", ".*")
    for part in PARTS:
        source = ROOT / part
        if source.is_dir():
            shutil.copytree(source, target / part, ignore=ignore)
        else:
            shutil.copy(source, target / part)


def judge(tree: Path) -> tuple[bool, str]:
    """Run the model test on a tree; return whether it passed, and what it printed."""
    path = os.pathsep.join(str((tree / package).parent) for package in PACKAGES)
    env = {**os.environ, "PYTHONPATH": path, "CODEBASE_MODEL_FIND_ONLY": "1", "CODEBASE_MODEL_EXAMPLES": ""}
    command = [sys.executable, "-m", "pytest", "-q", "--tb=short", "-p", "no:cacheprovider", "tests/model"]
    try:
        done = subprocess.run(command, cwd=tree, env=env, capture_output=True, text=True, timeout=LIMIT_SECONDS)
    except subprocess.TimeoutExpired:
        return False, f"not finished within {LIMIT_SECONDS} s"
    return done.returncode == 0, done.stdout + done.stderr


def outcome_of(mutant: Mutant) -> Outcome:
    """Make a mutant and run the test on it. Without changes it must pass, with them an invariant must break."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="codebase-mutant-", ignore_cleanup_errors=True) as folder:
        tree = Path(folder)
        copy_tree(tree)
        try:
            mutant.apply(tree)
        except Stale as error:
            return Outcome(mutant.name, None, f"STALE: {error}", 0, False)
        passed, output = judge(tree)
    seconds = time.monotonic() - began
    found = BROKEN.search(output)
    if found:
        return Outcome(mutant.name, found[1], found[2], seconds, bool(mutant.changes))
    detail = "" if passed else "no invariant broke, but the test failed:\n" + output[-2000:]
    return Outcome(mutant.name, None, detail, seconds, passed and not mutant.changes)


def report(outcomes: Iterable[Outcome]) -> bool:
    """Print a line for each outcome as it comes; return whether all are as they should be."""
    print(f"{'mutant':70} {'broken invariant':50} {'s':>4}")
    good = True
    for outcome in outcomes:
        verdict = outcome.broken or ("passes" if not outcome.detail else "-")
        mark = "" if outcome.expected else "  <-- WRONG"
        print(f"{outcome.name:70} {verdict:50} {outcome.seconds:4.0f}{mark}", flush=True)
        if not outcome.expected:
            print(f"    {outcome.detail or 'the mutant survives: the harness does not notice it'}", flush=True)
        good &= outcome.expected
    return good


def main() -> int:
    """Judge the sources as they are, then every mutant."""
    return (
        0 if report(outcome_of(m) for m in (Mutant("none", "none: the sources as they are", ()), *MUTANTS)) else 1
    )


if __name__ == "__main__":
    sys.exit(main())
