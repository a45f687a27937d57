"""The recipes of CONTRIBUTING.md, each followed once in a copy of the sources."""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.packages import CHECKOUT, PACKAGES

_STEP = re.compile(r"^\d+\. `([^`]+)`: (.*?)(?=^\d+\. |^\S|\Z)", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Edit:
    """What a step does to a file: text before a piece of it that occurs once; or the whole of a new file."""

    path: str
    before: str
    text: str

    def apply(self, tree: Path) -> None:
        file = tree / self.path
        if not self.before:
            assert not file.exists()
            file.write_text(self.text)
            return
        old = file.read_text()
        assert old.count(self.before) == 1, f"{self.path} does not hold exactly once: {self.before!r}"
        file.write_text(old.replace(self.before, self.text + self.before))


@dataclass(frozen=True)
class Recipe:
    """`title` is its heading in CONTRIBUTING.md, `edits` an example."""

    title: str
    edits: tuple[Edit, ...]

    @property
    def steps(self) -> list[tuple[str, list[str]]]:
        """The page's numbered steps: a file or folder, and what stands in backticks after it."""
        _, _, rest = (CHECKOUT / "CONTRIBUTING.md").read_text().partition(f"### {self.title}\n")
        section = re.split(r"^#", rest, maxsplit=1, flags=re.MULTILINE)[0]
        return [(path, re.findall("`([^`]+)`", text)) for path, text in _STEP.findall(section)]

    def follow(self, tree: Path) -> Path:
        """Copy the packages into an empty folder and make the edits there."""
        for part in (*PACKAGES, "tests", "hack", "docs", "pyproject.toml"):
            source = CHECKOUT / part
            if source.is_dir():
                shutil.copytree(source, tree / part, ignore=shutil.ignore_patterns("__pycache__", ".*"))
            else:
                shutil.copy(source, tree / part)
        for edit in self.edits:
            edit.apply(tree)
        return tree


def ask(tree: Path, script: str, *arguments: str) -> Any:
    """Run a script on the packages of a tree; return the JSON in the last line that it prints."""
    path = os.pathsep.join([str(tree), *(str((tree / package).parent) for package in PACKAGES)])
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        cwd=tree, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


COUNTER = Recipe(
    "A new counter of a job",
    (
        Edit(
            "codebase_index/api/counters.py",
            "\n    def counts(self)",
            '    bytes_indexed: Annotated[int, Wording(answer="size of all", summary="bytes read")] = 0\n'
            '    """Bytes of the files that were read."""\n',
        ),
        Edit(
            "codebase_index/store/schema/9999_bytes_indexed.sql",
            "",
            "ALTER TABLE jobs ADD COLUMN bytes_indexed bigint NOT NULL DEFAULT 0;\n",
        ),
        Edit(
            "codebase_index/store/sql/chunks.sql",
            "\nWHERE id = $1 AND attempt = $2 AND state IN ('running', 'blocked')",
            ",\n    bytes_indexed = bytes_indexed + $8",
        ),
        Edit(
            "codebase_index/store/ingest/chunks.py",
            "        secrets_redacted=sum(",
            "        bytes_indexed=sum(r.size for r in fresh),\n",
        ),
    ),
)

LANGUAGE = Recipe(
    "A new language",
    (
        Edit(
            "codebase_index/languages.py",
            '    _Row(_code("luau"), "luau"),\n',
            '    _Row(_code("d"), "d di"),\n',
        ),
        Edit(
            "indexer_image/codebase_indexer/chunking/syntax.py",
            '    "zig": """\n',
            '    "d": """\n        function function_declaration\n    """,\n',
        ),
    ),
)

TOOL = Recipe(
    "A new tool",
    (
        Edit(
            "mcp_server/codebase_mcp/jobs/answers.py",
            "class JobList(Reply):\n",
            'class JobCount(Reply):\n    """The answer of count_indexing_jobs."""\n\n    total_count: int\n\n\n',
        ),
        Edit(
            "mcp_server/codebase_mcp/jobs/service.py",
            "    async def list(self, request: ListRequest) -> JobList:\n",
            "    async def count(self) -> int:\n"
            '        """Return how many jobs there are."""\n'
            "        return (await self.list(ListRequest(None, None, None, 1, 0))).total_count\n\n",
        ),
        Edit(
            "mcp_server/codebase_mcp/tools/tools.py",
            "    async def search_code(\n",
            "    async def count_indexing_jobs(self) -> JobCount:\n"
            '        """Use this to count the indexing jobs."""\n'
            "        return JobCount(total_count=await self._jobs.count())\n\n",
        ),
        Edit(
            "mcp_server/codebase_mcp/tools/tools.py",
            "            tool(tools.list_indexing_jobs",
            '            tool(tools.count_indexing_jobs, Right.LIST, "Count jobs", reads),\n',
        ),
        Edit(
            "mcp_server/codebase_mcp/tools/tools.py",
            "from codebase_mcp.jobs.answers import ",
            "from codebase_mcp.jobs.answers import JobCount\n",
        ),
    ),
)

RECIPES = (COUNTER, LANGUAGE, TOOL)
