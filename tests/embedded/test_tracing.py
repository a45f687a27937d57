"""One trace, and one id in all logs, from a tool call over the operator into the pod and its SQL."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from codebase_embedded.folder import Folder
from codebase_index import tracing
from hack.deployment.mcp_client import finished
from tests.fixtures.generate_test_repo import generate
from tests.support.collector import collecting
from tests.support.embedded import running, settings_for
from tests.support.waiting import wait_for

PROGRAMS = {"codebase-mcp-server", "codebase-operator", "codebase-indexer"}


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "traced"
    generate(folder, file_count=20, avg_lines=40)
    return folder


async def test_a_call_is_one_trace_down_to_its_sql(
    own_data_folder: Path, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with collecting() as collector:
        monkeypatch.setenv(tracing.ENDPOINTS[0], collector.url)
        with running(settings_for(own_data_folder, repository.parent)) as runtime:
            async with runtime.connect() as tools:
                job = await tools.call("start_indexing_background", repo_path=str(repository))
                assert (await finished(tools, job["job_id"], timeout=240))["status"] == "completed"
            lines = logs_of(own_data_folder)
            trace_id = trace_of_start(lines)
            wait_for(
                lambda: {span.service for span in collector.of_trace(trace_id)} == PROGRAMS,
                "each program has sent its spans of this trace",
            )
    spans = collector.of_trace(trace_id)
    names = {(span.service, span.name) for span in spans}
    assert ("codebase-mcp-server", "tool start_indexing_background") in names
    assert ("codebase-operator", "step Admit") in names
    assert ("codebase-indexer", "index") in names
    of_sql = {span.service for span in spans if span.attributes.get("db.system.name") == "postgresql"}
    assert of_sql == PROGRAMS
    known = {span.span_id for span in spans}
    assert {span.name for span in spans if span.parent_id and span.parent_id not in known} == set()
    assert {line["program"] for line in lines if line.get("trace_id") == trace_id} == {
        "mcp-server", "operator", "indexer",
    }  # fmt: skip


async def test_without_a_collector_the_logs_have_one_id_all_the_same(
    own_data_folder: Path, repository: Path
) -> None:
    with running(settings_for(own_data_folder, repository.parent)) as runtime:
        async with runtime.connect() as tools:
            job = await tools.call("start_indexing_background", repo_path=str(repository))
            assert (await finished(tools, job["job_id"], timeout=240))["status"] == "completed"
        lines = logs_of(own_data_folder)
    programs = {line["program"] for line in lines if line.get("trace_id") == trace_of_start(lines)}
    assert programs == {"mcp-server", "operator", "indexer"}


def trace_of_start(lines: list[dict[str, Any]]) -> str:
    (found,) = {line["trace_id"] for line in lines if line.get("tool") == "start_indexing_background"}
    return str(found)


def logs_of(data: Path) -> list[dict[str, Any]]:
    """The lines that the programs of an instance have logged, those of its pods too."""
    folder = Folder(data)
    return [line for file in [*data.rglob("*.log"), *folder.pods.rglob("log")] for line in lines_of(file)]


def lines_of(file: Path) -> Iterator[dict[str, Any]]:
    for text in file.read_text(errors="replace").splitlines():
        if text.startswith("{"):
            yield json.loads(text)
