"""Break the product on purpose, run it on the cluster, and see the harness fail: `make chaos-mutants NODES=2`.

The mutants are those of `tests.mutants`. Each becomes images of its own, which take the place of the real ones
until it is judged. Exit code 1 when the harness does not notice one, or a mutant's change no longer applies.
"""

import asyncio
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from hack.deployment.chart import deploy
from hack.deployment.commands import CHECKOUT
from hack.local_cluster.paths import own_state
from tests.chaos import soak
from tests.chaos.faults.catalog import chosen, run
from tests.chaos.harness import machines
from tests.chaos.rounds import Bench
from tests.mutants import MUTANTS, Mutant, Stale
from tests.support.cluster import REPOSITORIES

_IMAGES = ".images"
_NOT_COPIED = shutil.ignore_patterns(
    ".git", ".venv", ".cluster", ".demo", _IMAGES, "results", "__pycache__", "*_cache"
)

_ROUNDS = {"fence": "node-cut-off", "batch": "pid1-killed"}
"""The row that meets what a mutant lacks: pods that live on after they were replaced, or die at any moment."""

_SOAK_SECONDS = 150.0
"""The rest needs more jobs than slots, and users who cancel: the soak."""

_JOB_OF = re.compile(r"^job \S+: ")


def main() -> int:
    """Judge every mutant, then bring the real product back."""
    nodes = own_state().recorded_nodes()
    if nodes < 2:
        print("chaos-mutants: needs two nodes, so that a pod can live on behind a cut; make down, then NODES=2")
        return 2
    REPOSITORIES.mkdir(parents=True, exist_ok=True)
    noticed = []
    try:
        for mutant in MUTANTS:
            began = time.monotonic()
            problems = _judged(mutant, nodes)
            noticed.append(bool(problems))
            print(f"{mutant.name}: {time.monotonic() - began:.0f} s", flush=True)
            for problem in problems[:4] or ["NOT NOTICED by the harness"]:
                print(f"    {problem}", flush=True)
    finally:
        deploy([REPOSITORIES], settings=machines.placement(nodes))
    return 0 if all(noticed) else 1


def _judged(mutant: Mutant, nodes: int) -> list[str]:
    """Run a mutant's images, and return what the harness says of them, each kind of problem once."""
    with tempfile.TemporaryDirectory(prefix="codebase-mutant-", dir=CHECKOUT.parent) as folder:
        tree = Path(folder) / "tree"
        shutil.copytree(CHECKOUT, tree, ignore=_NOT_COPIED)
        try:
            mutant.apply(tree)
        except Stale as error:
            sys.exit(f"chaos-mutants: {mutant.name}: {error}")
        values = _images_of(tree)
    deploy([REPOSITORIES], settings={**machines.placement(nodes), **values})
    problems = asyncio.run(_problems(mutant, nodes))
    return list({_JOB_OF.sub("", problem): problem for problem in problems}.values())


def _images_of(tree: Path) -> dict[str, Any]:
    """Build the images of a tree and load those that differ; return the chart's values that name them."""
    (tree / _IMAGES).mkdir()
    there = {archive.name for archive in (CHECKOUT / _IMAGES).glob("*.tar")}
    for name in there:
        os.link(CHECKOUT / _IMAGES / name, tree / _IMAGES / name)  # what did not change is not built again
    _python("hack.images", "build", folder=tree)
    for archive in sorted((tree / _IMAGES).glob("*.tar")):
        if archive.name not in there:
            _python("hack.local_cluster", "load-image", str(archive), folder=CHECKOUT)
    values: dict[str, Any] = json.loads((tree / _IMAGES / "values.yaml").read_text())
    return values


def _python(*arguments: str, folder: Path) -> None:
    """Run a module of a checkout. Raises CalledProcessError, with its output."""
    command = [sys.executable, "-E", "-m", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        print(done.stdout + done.stderr, file=sys.stderr)
        done.check_returncode()


async def _problems(mutant: Mutant, nodes: int) -> list[str]:
    """Run the rounds that a mutant should not survive, or the soak."""
    async with Bench.open(random.Random(1)) as bench:
        await bench.facts.fetch("DELETE FROM indexes WHERE starts_with(source, $1)", f"{REPOSITORIES}/")
        if mutant.key not in _ROUNDS:
            return (await soak.run(bench, _SOAK_SECONDS)).broken
        (row,) = chosen(_ROUNDS[mutant.key], nodes)
        return [problem for outcome in await run(bench, row) for problem in outcome.problems]


if __name__ == "__main__":
    sys.exit(main())
