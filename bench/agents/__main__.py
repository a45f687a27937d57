"""The agents' benchmark: 60 tasks over six repositories, by fixed policies with our tools and with grep and read.

    .venv/bin/python -m bench.agents [--json bench/results/agents.json] [--only KIND] [--data FOLDER]

The repositories are this project and packages that it depends on, indexed by the indexer as it ships. Calls are
counted, and tokens as the server counts them: of a call's arguments and of the text that is answered.
"""

import argparse
import asyncio
import json
import shutil
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

from mcp import Client

from bench.agents.hands import Costs, Shell, Tools
from bench.agents.policies import POLICIES, Side, Task
from bench.agents.truth import Sources
from bench.figures import merge
from bench.postgres import postgres
from bench.search.quality import index
from codebase_index.embedding import factory
from codebase_index.store.catalog.indexes import Indexes
from codebase_index.store.database import Database
from codebase_mcp.identity.access import VisibleIndexes
from codebase_mcp.identity.gate import Gate
from codebase_mcp.reading.service import ReadingService
from codebase_mcp.search.budget import estimate_tokens
from codebase_mcp.search.service import SearchService
from codebase_mcp.tools.tools import build_server

CHECKOUT = Path(__file__).parents[2]
PROJECT = "codebase-mcp"
FOLDERS = ("codebase_cli", "codebase_index", "operator", "indexer_image", "mcp_server", "tests")
_NOT_SOURCE = shutil.ignore_patterns("__pycache__", "*.pyc", "*.so", "*.npy", "tokenizer.json", "data")


@dataclass(frozen=True)
class Run:
    """A task that one side has carried out."""

    task: Task
    succeeded: bool
    costs: Costs


def tasks() -> list[Task]:
    """Return the tasks."""
    return [Task(**task) for task in json.loads(Path(__file__).with_name("tasks.json").read_text())["tasks"]]


def lay_out(repositories: Sequence[str], target: Path) -> None:
    """Copy the repositories into folders of their names."""
    for name in repositories:
        if name == PROJECT:
            for folder in FOLDERS:
                shutil.copytree(CHECKOUT / folder, target / name / folder, ignore=_NOT_SOURCE)
        else:
            spec = find_spec(name)
            assert spec is not None and spec.origin is not None, f"{name} is not installed: make venv"
            shutil.copytree(Path(spec.origin).parent, target / name, ignore=_NOT_SOURCE)


async def carry_out(all_tasks: Sequence[Task], folder: Path, dsn: str) -> tuple[list[Run], list[Run], int]:
    """Return the runs with our tools, those with grep and read, and the tokens of the tools' descriptions."""
    database = await Database.open(dsn, name="bench")
    await database.migrate()
    indexed = {row.source for row in await Indexes(database).list() if row.indexed_at}
    for repository in sorted(path for path in folder.iterdir() if str(path) not in indexed):
        await index(database, dsn, repository)
    search = SearchService.from_database(database, factory.by_name, VisibleIndexes.every(database))
    server = build_server(
        cast(Any, None),
        search,
        ReadingService.from_database(database, VisibleIndexes.every(database)),
        Gate.of_owner(),
    )

    @cache
    def sources(repository: str) -> Sources:
        return Sources(folder / repository)

    ours, theirs = [], []
    async with Client(server) as client:
        listed = (await client.list_tools()).tools
        described = [{"name": t.name, "description": t.description, "parameters": t.input_schema} for t in listed]
        for task in all_tasks:
            with_tools, with_grep = POLICIES[task.kind]
            side = Side(sources, Tools(client, folder), Shell(folder))
            ours.append(Run(task, await with_tools(side, task), side.tools.costs))
            theirs.append(Run(task, await with_grep(side, task), side.shell.costs))
    search.close()
    await database.close()
    return ours, theirs, estimate_tokens(json.dumps(described, separators=(",", ":")))


def summary(runs: Sequence[Run]) -> dict[str, float]:
    """Return the share that succeeded, and mean calls and tokens."""
    return {
        "success": round(statistics.mean(run.succeeded for run in runs), 3),
        "calls": round(statistics.mean(run.costs.calls for run in runs), 2),
        "tokens": round(statistics.mean(run.costs.tokens for run in runs)),
    }


async def main() -> int:
    """Index, carry out the tasks, and print the figures."""
    parser = argparse.ArgumentParser(prog="python -m bench.agents")
    parser.add_argument("--json", type=Path, help="write the figures into this file")
    parser.add_argument("--data", type=Path, help="keep repositories and index here for the next run")
    parser.add_argument("--only", choices=POLICIES, help="the tasks of this kind")
    arguments = parser.parse_args()
    chosen = [task for task in tasks() if arguments.only in (None, task.kind)]
    with tempfile.TemporaryDirectory(prefix="bench-agents-") as scratch:
        folder = (arguments.data or Path(scratch)) / "repositories"
        if not folder.exists():
            lay_out(sorted({name for task in tasks() for name in (task.repository, task.user) if name}), folder)
        with postgres(arguments.data and arguments.data / "postgres") as dsn:
            ours, theirs, described = await carry_out(chosen, folder, dsn)
    figures: dict[str, Any] = {"tasks": len(chosen), "description_tokens": described, "kinds": {}}
    for kind in dict.fromkeys(task.kind for task in chosen):
        figures["kinds"][kind] = {
            "tasks": sum(task.kind == kind for task in chosen),
            "tools": summary([run for run in ours if run.task.kind == kind]),
            "grep": summary([run for run in theirs if run.task.kind == kind]),
        }
    figures |= {"tools": summary(ours), "grep": summary(theirs)}
    for mine, other in zip(ours, theirs, strict=True):
        label = f"{mine.task.kind} {mine.task.repository} {mine.task.question or mine.task.name or mine.task.path}"
        print(f"{label}: {_shown(mine)}; grep {_shown(other)}")
    print(json.dumps(figures, indent=2))
    if arguments.json:
        merge(arguments.json, figures)
    return 0


def _shown(run: Run) -> str:
    return f"{'yes' if run.succeeded else 'NO'} {run.costs.calls} calls {run.costs.tokens} tokens"


if __name__ == "__main__":
    raise SystemExit(asyncio.run(main()))
