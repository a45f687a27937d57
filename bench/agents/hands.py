"""The tools of the two sides, each counting its calls and what they cost a model: grep with read, and our own."""

import json
import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mcp import Client

from bench.agents.truth import Line
from codebase_mcp.search.budget import MAX_ANSWER_TOKENS, estimate_tokens

WINDOW_LINES = 100
"""Lines that grep's side reads at a time."""


@dataclass
class Costs:
    """Calls, and tokens of their arguments and answers, as the server counts them."""

    calls: int = 0
    tokens: int = 0

    def add(self, arguments: str, answer: str) -> None:
        """Count a call."""
        self.calls += 1
        self.tokens += estimate_tokens(arguments) + estimate_tokens(answer)


@dataclass
class Shell:
    """grep and a tool that reads lines of a file, in a folder that holds the repositories."""

    folder: Path
    costs: Costs = field(default_factory=Costs)

    def grep(self, options: str, expression: str, *paths: str) -> list[tuple[str, int, str]]:
        """Return the matching lines as (path, line, text); an answer is cut like ours."""
        return [
            (path, int(line), text)
            for path, line, text in (row.split(":", 2) for row in self._run(f"-rnHI{options}", expression, *paths))
        ]

    def files(self, options: str, expression: str, *paths: str) -> list[str]:
        """Return the files that match."""
        return self._run(f"-rlI{options}", expression, *paths)

    def read(self, path: str, first: int, count: int = WINDOW_LINES) -> str:
        """Return lines of a file."""
        first = max(first, 1)
        lines = (self.folder / path).read_text().split("\n")[first - 1 : first + count - 1]
        text = "\n".join(lines)
        self.costs.add(json.dumps({"path": path, "start": first, "count": count}), text)
        return text

    def _run(self, options: str, expression: str, *paths: str) -> list[str]:
        command = ["grep", options, "--", expression, *paths]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=False)
        rows, room = [], MAX_ANSWER_TOKENS
        for row in sorted(done.stdout.splitlines(), key=_by_place):
            room -= estimate_tokens(row)
            if room < 0:
                break
            rows.append(row)
        self.costs.add(" ".join(command), "\n".join(rows))
        return rows


def _by_place(row: str) -> tuple[str, int]:
    path, _, rest = row.partition(":")
    number = rest.partition(":")[0]
    return path, int(number) if number.isdecimal() else 0


@dataclass
class Tools:
    """Our tools over MCP. Paths in answers begin with the repository, as grep's do."""

    client: Client
    folder: Path
    costs: Costs = field(default_factory=Costs)

    async def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """Call a tool; return its structured answer. What is counted is the text that a model reads."""
        if "repo" in arguments:
            arguments["repo"] = [str(self.folder / name) for name in arguments["repo"]]
        result = await self.client.call_tool(tool, arguments)
        text = "\n".join(block.text for block in result.content if block.type == "text")
        self.costs.add(json.dumps({"tool": tool, **arguments}), text)
        answer: dict[str, Any] = result.structured_content or {}
        return answer

    async def search_all(self, **arguments: Any) -> list[dict[str, Any]]:
        """Return the results of all pages of a search."""
        answer = await self.call("search_code", limit=50, **arguments)
        results = list(answer.get("results", ()))
        while cursor := answer.get("next_cursor"):
            answer = await self.call("search_code", limit=50, cursor=cursor, **arguments)
            results += answer.get("results", ())
        return results


def shown_lines(path: str, first: int, text: str) -> set[Line]:
    """Return the lines that a text shows."""
    return {(path, first + number) for number in range(len(text.removesuffix("\n").split("\n")))}


def defines(name: str) -> str:
    """Return grep's expression for the line that defines a name in Python."""
    return rf"^\s*(async\s+)?(def|class)\s+{re.escape(name)}\b"
