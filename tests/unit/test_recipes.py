"""The recipes of CONTRIBUTING.md lead to what they promise. That of a counter: tests/store/test_new_counter.py."""

import re
from itertools import groupby
from pathlib import Path

import pytest

from codebase_index.api.counters import Counters
from codebase_index.store import queries
from tests.support.packages import CHECKOUT
from tests.support.recipes import LANGUAGE, RECIPES, TOOL, Recipe, ask


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda r: r.title)
def test_the_page_names_the_files_that_the_example_changes_and_no_other(recipe: Recipe) -> None:
    named = [path for path, _ in recipe.steps]
    changed = [edit.path for edit in recipe.edits]
    assert [path for path, _ in groupby(named)] == [
        path if path in named else str(Path(path).parent) + "/" for path, _ in groupby(changed)
    ]


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda r: r.title)
def test_each_file_of_the_page_holds_the_names_that_stand_beside_it(recipe: Recipe) -> None:
    missing = []
    for path, names in recipe.steps:
        file = CHECKOUT / path
        text = "\n".join(f.read_text() for f in file.glob("*.sql")) if file.is_dir() else file.read_text()
        missing += [(path, name) for name in names if name not in text]
    assert recipe.steps and missing == []


def test_a_batch_adds_to_the_counters_in_the_order_of_the_table() -> None:
    added = re.findall(r"(\w+) = \1 \+ \$(\d+)", queries.load("chunks")["count_batch"])
    assert added == [(name, str(number)) for number, name in enumerate(Counters.model_fields, start=3)]


def test_a_language_takes_two_places(tmp_path: Path) -> None:
    script = """
import json
from codebase_indexer.chunking.chunker import split
from codebase_index.languages import detect
from hack.scripts.document_languages import table
language = detect("greeting.d")
source = b"string greet(string name) { return name; }"
print(json.dumps([language.name, [p.symbol for p in split(source, language.grammar).chunks], table()]))
"""
    name, symbols, table = ask(LANGUAGE.follow(tmp_path), script)
    assert (name, symbols) == ("d", ["greet"])
    assert "| d | d di | `d` | function |" in table


def test_a_tool_takes_four_places(tmp_path: Path) -> None:
    script = """
import asyncio, json
from mcp import Client
from codebase_mcp.identity.gate import Gate
from codebase_mcp.jobs.service import JobService
from codebase_mcp.jobs.answers import JobList
from codebase_mcp.tools.tools import build_server

class Jobs(JobService):
    def __init__(self): pass
    async def list(self, request): return JobList(jobs=[], total_count=7, limit=1, offset=0)

async def main():
    async with Client(build_server(Jobs(), None, None, Gate.of_owner())) as client:
        names = [tool.name for tool in (await client.list_tools()).tools]
        answer = await client.call_tool("count_indexing_jobs", {})
        noted = await client.call_tool("count_indexing_jobs", {"wrong": 1})
    return [names, answer.structured_content, noted.structured_content]

print(json.dumps(asyncio.run(main())))
"""
    names, answer, noted = ask(TOOL.follow(tmp_path), script)
    assert "count_indexing_jobs" in names and answer["total_count"] == 7
    assert noted["note"].startswith("ignored unknown arguments 'wrong'")
