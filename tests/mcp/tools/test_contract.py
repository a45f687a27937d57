"""What every tool promises: its schema, its bounds, its two channels, its errors' form."""

import json
import logging
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from mcp import Client
from mcp.server import MCPServer
from mcp_types import Tool

from tests.support.packages import CHECKOUT

SNAPSHOT = Path(__file__).with_name("tools.json")
TOOLS = [
    "search_code",
    "start_indexing_background",
    "get_indexing_status",
    "cancel_indexing_background",
    "list_indexing_jobs",
]
VALID: dict[str, dict[str, Any]] = {
    "search_code": {"query": "checkout"},
    "start_indexing_background": {"repo_path": "/work/shop"},
    "get_indexing_status": {"job_id": "00000000-0000-0000-0000-000000000000"},
    "cancel_indexing_background": {"job_id": "00000000-0000-0000-0000-000000000000"},
    "list_indexing_jobs": {},
}


@pytest.fixture
async def tools(server: MCPServer, era: str) -> dict[str, Tool]:
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
        for variant in schema.get("anyOf", [schema])
        if not _is_bounded(variant, tool.input_schema)
    ]
    assert unbounded == []


def _is_bounded(schema: dict[str, Any], root: dict[str, Any]) -> bool:
    if "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rsplit("/", 1)[-1]]
    if "enum" in schema or schema["type"] in ("boolean", "null") or schema.get("format") == "date-time":
        return True
    if schema["type"] == "array":
        return "maxItems" in schema and _is_bounded(schema["items"], root)
    if schema["type"] == "string":
        return "maxLength" in schema
    return schema["type"] == "integer" and "minimum" in schema and "maximum" in schema


async def test_every_tool_refuses_unknown_arguments(tools: dict[str, Tool]) -> None:
    assert [tool.input_schema["additionalProperties"] for tool in tools.values()] == [False] * len(tools)


async def test_every_tool_says_when_to_use_it_and_what_it_may_do(tools: dict[str, Tool]) -> None:
    for tool in tools.values():
        assert tool.description and tool.description.startswith("Use this ") and len(tool.description) < 1024
        assert tool.annotations is not None
        assert tool.annotations.read_only_hint is not None and tool.annotations.open_world_hint is not None
    writers = {name for name, tool in tools.items() if tool.annotations and not tool.annotations.read_only_hint}
    assert writers == {"start_indexing_background", "cancel_indexing_background"}


@pytest.mark.parametrize("tool", TOOLS)
async def test_a_misspelt_argument_is_named(tool: str, call: Any, refused: Any) -> None:
    text = refused(await call(tool, **VALID[tool], recursive=True))
    assert text.startswith("validation: unknown argument 'recursive'; ")
    assert "pydantic" not in text


@pytest.mark.parametrize("tool", [name for name in TOOLS if VALID[name]])
async def test_a_missing_argument_is_named(tool: str, call: Any, refused: Any) -> None:
    (name,) = VALID[tool]
    assert refused(await call(tool)).startswith(f"validation: {name}: Field required; {tool} takes {name}")


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("search_code", {"query": "x" * 2001}),
        ("search_code", {"query": " \n "}),
        ("search_code", {"query": "x", "limit": 0}),
        ("search_code", {"query": "x", "limit": 51}),
        ("search_code", {"query": "x", "detail": "verbose"}),
        ("list_indexing_jobs", {"limit": 101}),
        ("list_indexing_jobs", {"limit": 0}),
        ("list_indexing_jobs", {"offset": -1}),
        ("list_indexing_jobs", {"status": "done"}),
        ("list_indexing_jobs", {"created_after": "2026-01-01T00:00:00"}),
        ("list_indexing_jobs", {"created_after": "9999-12-31T23:59:59-23:59"}),
        ("list_indexing_jobs", {"created_after": "0001-01-01T00:00:00+23:59"}),
        ("list_indexing_jobs", {"repo_path": "a\0"}),
        ("start_indexing_background", {"repo_path": ""}),
        ("start_indexing_background", {"repo_path": "/" + "x" * 4096}),
        ("start_indexing_background", {"repo_path": "/work/shop", "ref": "--upload-pack=x"}),
        ("start_indexing_background", {"repo_path": "/work/shop", "name": "a\nb"}),
        ("start_indexing_background", {"repo_path": "/work/shop", "priority": 1001}),
        ("get_indexing_status", {"job_id": "x" * 65}),
    ],
)
async def test_what_is_out_of_bounds_is_refused(
    tool: str, arguments: dict[str, Any], call: Any, refused: Any
) -> None:
    assert refused(await call(tool, **arguments)).startswith("validation: ")


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
