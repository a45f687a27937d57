"""The tasks of the agents' benchmark: as many as the page says, of every kind, about things that are there."""

from collections import Counter
from pathlib import Path

import pytest

from bench.agents.__main__ import PROJECT, lay_out, tasks
from bench.agents.policies import POLICIES, Task
from bench.agents.truth import Sources

DEFINED = ("find", "follow", "read", "across")


def test_there_are_60_tasks_over_six_repositories_of_every_kind() -> None:
    kinds = Counter(task.kind for task in tasks())
    assert kinds.total() == 60 and kinds.keys() == POLICIES.keys() and min(kinds.values()) >= 5
    assert len({task.repository for task in tasks()}) == 6


@pytest.fixture(scope="module")
def repositories(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("repositories")
    lay_out(sorted({name for task in tasks() for name in (task.repository, task.user) if name}), folder)
    return folder


@pytest.mark.parametrize(
    "task", [task for task in tasks() if task.repository == PROJECT], ids=lambda task: f"{task.kind}-{task.name}"
)
def test_a_task_about_this_project_names_something_that_is_there(task: Task, repositories: Path) -> None:
    sources = Sources(repositories / task.repository)
    if task.kind in DEFINED:
        assert sources.one(task.name, task.path or None)
    elif task.kind == "outline":
        assert sources.defined(task.path)
    else:
        assert {"callers": sources.calls, "rename": sources.uses, "tests": sources.tests}[task.kind](task.name)
