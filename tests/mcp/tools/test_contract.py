"""What every tool promises: its schema, its bounds, its two channels, its errors' form."""

import json
import logging
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from mcp import Client
from mcp.server import Server
from mcp_types import Tool

from tests.support.packages import CHECKOUT

SNAPSHOT = Path(__file__).with_name("tools.json")
TOOLS = [
    "search_code",
    "read_code",
    "list_files",
    "list_repositories",
    "start_indexing_background",
    "get_indexing_status",
    "cancel_indexing_background",
    "list_indexing_jobs",
]
VALID: dict[str, dict[str, Any]] = {
    "search_code": {"query": "checkout"},
    "read_code": {},
    "list_files": {},
    "list_repositories": {},
    "start_indexing_background": {"repo_path": "/work/shop"},
    "get_indexing_status": {"job_id": "00000000-0000-0000-0000-000000000000"},
    "cancel_indexing_background": {"job_id": "00000000-0000-0000-0000-000000000000"},
    "list_indexing_jobs": {},
}


@pytest.fixture
async def tools(server: Server[Any], era: str) -> dict[str, Tool]:
    async with Client(server, mode=era) as client:
        return {tool.name: tool for tool in (await client.list_tools()).tools}


async def test_the_schemas_are_those_that_were_reviewed(tools: dict[str, Tool]) -> None:
    """After a change that is meant: `python tests/mcp/tools/snapshot_tools.py`, and read the difference."""
    shown = [tool.model_dump(mode="json", by_alias=True, exclude_none=True) for tool in tools.values()]
    assert shown == json.loads(SNAPSHOT.read_text())


async def test_the_tools_have_a_fixed_order(tools: dict[str, Tool]) -> None:
    assert list(tools) == TOOLS


@pytest.mark.parametrize("path", ["README.md", "charts/codebase-mcp/files/smoke_test.py"])
async def test_the_readme_and_the_smoke_test_name_every_tool(path: str, tools: dict[str, Tool]) -> None:
    text = (CHECKOUT / path).read_text()
    assert [name for name in tools if f"`{name}`" not in text and f'"{name}"' not in text] == []


async def test_every_argument_is_bounded(tools: dict[str, Tool]) -> None:
    unbounded = [
        f"{tool.name}.{name}"
        for tool in tools.values()
        for name, schema in tool.input_schema["properties"].items()
        if not _is_bounded(schema)
    ]
    assert unbounded == []


def _is_bounded(schema: dict[str, Any]) -> bool:
    if "enum" in schema or schema["type"] == "boolean" or schema.get("format") == "date-time":
        return True
    if schema["type"] == "string":
        return "maxLength" in schema
    return schema["type"] == "integer" and "minimum" in schema and "maximum" in schema


async def test_schemas_are_short(tools: dict[str, Tool]) -> None:
    """No titles, no unions with null, no defaults of null, nothing to be looked up: a model pays for each word."""
    for tool in tools.values():
        words = set(re.findall(r'"(\w+)": ', json.dumps(tool.input_schema)))
        assert not words & {"title", "anyOf", "oneOf", "default", "$defs", "$ref"}, tool.name
        assert "null" not in json.dumps(tool.input_schema)


async def test_every_tool_says_when_to_use_it_and_what_it_may_do(tools: dict[str, Tool]) -> None:
    for tool in tools.values():
        assert tool.description and tool.description.startswith("Use this ") and len(tool.description) < 1024
        assert tool.annotations is not None
        assert tool.annotations.read_only_hint is not None and tool.annotations.open_world_hint is not None
    writers = {name for name, tool in tools.items() if tool.annotations and not tool.annotations.read_only_hint}
    assert writers == {"start_indexing_background", "cancel_indexing_background"}


@pytest.mark.parametrize("tool", [name for name in TOOLS if VALID[name]])
@pytest.mark.parametrize("nothing", [{}, None, "", " ", []], ids=str)
async def test_a_missing_argument_is_named_with_the_call_as_it_would_be_right(
    tool: str, nothing: object, call: Any, refused: Any
) -> None:
    (name,) = VALID[tool]
    text = refused(await call(tool, **({} if nothing == {} else {name: nothing})))
    assert text.startswith(f'validation: {name} is missing; call {tool} with {{"{name}": "<')


async def test_both_channels_are_complete(tools: dict[str, Tool], call: Any, shop: Any, answered: Any) -> None:
    job_id = await shop.running()
    for name, arguments in {
        "get_indexing_status": {"job_id": str(job_id)},
        "list_indexing_jobs": {},
        "cancel_indexing_background": {"job_id": str(job_id)},
    }.items():
        result = await call(name, **arguments)
        content = answered(result)
        schema = tools[name].output_schema
        assert schema is not None
        jsonschema.validate(content, schema)
        assert json.loads(result.content[0].text) == content


async def test_each_call_leaves_one_audit_line_without_the_arguments(
    call: Any, shop: Any, caplog: pytest.LogCaptureFixture
) -> None:
    job_id = str(await shop.running(path="/work/secret-project"))
    with caplog.at_level(logging.INFO, "codebase_mcp.audit"):
        await call("get_indexing_status", job_id=job_id)
        await call("search_code", query="secret-project", repo="/work/none")
    lines = [r.__dict__ for r in caplog.records if r.name == "codebase_mcp.audit"]
    assert [(r["tool"], r["outcome"], r.get("job_id")) for r in lines] == [
        ("get_indexing_status", "ok", job_id),
        ("search_code", "ok", None),
    ]
    assert all(r["ms"] >= 0 for r in lines)
    assert "secret-project" not in str(lines)
