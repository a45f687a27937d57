"""The workflows name what there is: targets, modules, images. `make lint` checks their form."""

import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from hack.images.catalog import IMAGES
from tests.unit.test_docs import CHECKOUT, TARGETS

WORKFLOWS = sorted((CHECKOUT / ".github" / "workflows").glob("*.yml"))


def jobs(workflow: Path) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = yaml.safe_load(workflow.read_text())["jobs"]
    return found


def scripts(workflow: Path) -> str:
    """Every line of shell in a workflow."""
    steps = [step for job in jobs(workflow).values() for step in job.get("steps", [])]
    return "\n".join(step["run"] for step in steps if "run" in step)


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda workflow: workflow.name)
def test_targets_and_modules_exist(workflow: Path) -> None:
    text = scripts(workflow)
    targets = set(re.findall(r"^\s*make ([a-z0-9-]+)", text, re.M))
    assert targets
    assert targets <= TARGETS
    for module in re.findall(r"python3? -m ([\w.]+)", text):
        assert importlib.util.find_spec(module), f"{workflow.name} runs {module}, and there is no such module"


def test_the_released_images_are_all_that_there_are() -> None:
    (workflow,) = (path for path in WORKFLOWS if path.name == "release.yml")
    built = jobs(workflow)["image"]["strategy"]["matrix"]["include"]
    assert [(entry["image"], entry["folder"]) for entry in built] == [(i.name, i.folder) for i in IMAGES]


def test_nothing_is_published_before_all_tests_have_passed() -> None:
    (workflow,) = (path for path in WORKFLOWS if path.name == "release.yml")
    all_jobs = jobs(workflow)

    def before(job: str) -> set[str]:
        needs = all_jobs[job].get("needs", [])
        direct = {needs} if isinstance(needs, str) else set(needs)
        return direct.union(*map(before, direct))

    for job in set(all_jobs) - {"tests", "version"}:
        assert {"tests", "version"} <= before(job), f"{job} does not wait for the tests"


def test_dependabot_looks_where_there_is_something_to_look_at() -> None:
    files = {"pip": "requirements/*.txt", "github-actions": ".github/workflows/*.yml"}
    files |= {"docker": "Dockerfile", "gomod": "go.mod"}
    for update in yaml.safe_load((CHECKOUT / ".github" / "dependabot.yml").read_text())["updates"]:
        for folder in update.get("directories", [update.get("directory")]):
            found = list((CHECKOUT / folder.removeprefix("/")).glob(files[update["package-ecosystem"]]))
            assert found, f"nothing of {update['package-ecosystem']} in {folder}"
