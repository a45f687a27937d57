"""A pod that ended with its instance is lost with its node; one that ended by itself is not."""

import json
from pathlib import Path
from typing import Any, cast

import pytest

from codebase_embedded.pods import status
from codebase_embedded.pods.runtime import PodRuntime
from codebase_embedded.processes import Process
from codebase_index.api.job import ExitCode

GONE = Process(2**22 + 1, "no-boot-1")
NOW = "2026-05-01T12:00:00.000Z"


@pytest.fixture
def runtime(tmp_path: Path) -> PodRuntime:
    return PodRuntime(cast(Any, None), tmp_path, -1)


def pod(told: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"metadata": {"name": "shop-a1", "uid": "u"}, "spec": {}, "status": told or {"phase": "Pending"}}


def running(before: dict[str, Any] | None = None) -> dict[str, Any]:
    return pod(status.running(before or pod(), GONE, NOW))


def down() -> dict[str, Any]:
    """As an operator that lived a moment longer tells of it."""
    return pod(status.ended(running(), 137, NOW))


def crash_loop() -> dict[str, Any]:
    return pod(status.ended(running(down()), 1, NOW))


def is_lost(runtime: PodRuntime, of: dict[str, Any], tmp_path: Path, **end: object) -> bool:
    if end:
        (tmp_path / "u").mkdir()
        (tmp_path / "u" / "end.json").write_text(json.dumps({"finishedAt": NOW, **end}))
    told = runtime._told_by_nobody(of)
    return told is not None and told["reason"] == "NodeLost"


@pytest.mark.parametrize("of", [running, down, crash_loop])
@pytest.mark.parametrize(
    "end",
    [
        {},
        {"exitCode": 137, "lost": False},
        {"exitCode": ExitCode.RETRY, "lost": True},
        {"exitCode": ExitCode.STOPPED, "lost": True},
    ],
    ids=["nobody saw it", "killed", "without a database", "stopped"],
)
def test_what_ended_with_its_instance_is_lost_however_it_was_told(
    of: Any, end: dict[str, object], runtime: PodRuntime, tmp_path: Path
) -> None:
    assert is_lost(runtime, of(), tmp_path, **end)


@pytest.mark.parametrize("code", [ExitCode.DONE, ExitCode.FAILED, ExitCode.FENCED])
def test_what_knew_how_it_ended_is_not(code: int, runtime: PodRuntime, tmp_path: Path) -> None:
    assert not is_lost(runtime, running(), tmp_path, exitCode=code, lost=True)


def test_what_crashed_in_an_instance_that_ran_on_or_was_never_started_is_not(
    runtime: PodRuntime, tmp_path: Path
) -> None:
    assert not is_lost(runtime, pod(status.refused("no such file")), tmp_path)
    assert not is_lost(runtime, running(), tmp_path, exitCode=ExitCode.RETRY, lost=False)
