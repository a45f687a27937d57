"""How the two sides go about a task: fixed procedures, written beforehand, a pair for each kind.

There is no model behind them. What a model would judge is judged the same on both sides: whether a text shows what
was looked for (`truth`), and that a line with `name(` is a call unless it defines the name. Where it has to guess,
neither side makes more than MAX_OPENED attempts.
"""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any, Final

from bench.agents.hands import WINDOW_LINES, Shell, Tools, defines, shown_lines
from bench.agents.truth import Defined, Line, Sources

MAX_OPENED: Final = 5
MIN_PRECISION: Final = 0.9
"""Of an answer that lists lines: all that are right, and few that are not."""

_STOP: Final = frozenset(
    [
        "a",
        "after",
        "an",
        "and",
        "are",
        "as",
        "at",
        "be",
        "before",
        "by",
        "for",
        "from",
        "has",
        "how",
        "in",
        "into",
        "is",
        "it",
        "its",
        "may",
        "most",
        "of",
        "on",
        "or",
        "out",
        "that",
        "the",
        "their",
        "they",
        "this",
        "to",
        "until",
        "was",
        "what",
        "when",
        "where",
        "which",
        "who",
        "with",
    ]
)
_SUFFIX: Final = re.compile(r"(ies|ied|ing|es|ed|s)$")


@dataclass(frozen=True)
class Task:
    """A task about a repository; `name` is what it is about, `user` the repository that uses it."""

    kind: str
    repository: str
    name: str = ""
    path: str = ""
    question: str = ""
    seen_in: str = ""
    user: str = ""


@dataclass(frozen=True)
class Side:
    """What a policy works with. `sources` of a repository judge what was seen."""

    sources: Callable[[str], Sources]
    tools: Tools
    shell: Shell

    def definition(self, task: Task) -> Defined:
        """Return the definition that a task is about, its path with the repository in front."""
        found = self.sources(task.repository).one(task.name, task.path or None)
        return replace(found, path=f"{task.repository}/{found.path}")


Policy = Callable[[Side, Task], Awaitable[bool]]
"""Carries out a task with one side's tools; returns whether it succeeded."""


def _in(repository: str, lines: set[Line]) -> set[Line]:
    return {(f"{repository}/{path}", line) for path, line in lines}


def _is_right(answer: set[Line], truth: set[Line]) -> bool:
    return truth <= answer and len(truth) >= MIN_PRECISION * len(answer)


def _is_call(name: str, text: str) -> bool:
    found = re.search(rf"\b{re.escape(name)}\(", text)
    return bool(found) and not re.match(rf"\s*(async\s+)?(def|class)\s+{re.escape(name)}\b", text)


def _plain(name: str) -> str:
    return name.rpartition(".")[2]


# --- find: a question in words -> the definition that answers it ----------------------------------------


async def find_by_tools(side: Side, task: Task) -> bool:
    """Search, and open the files of the results, best first: read what they define, then the definition."""
    wanted = side.definition(task)
    answer = await side.tools.call("search_code", query=task.question, repo=[task.repository])
    paths = list(dict.fromkeys(result["path"] for result in answer.get("results", ())))
    for path in paths[:MAX_OPENED]:
        place = {"path": path, "repo": [task.repository]}
        outline = (await side.tools.call("read_code", outline=True, **place)).get("outline", ())
        if any(f"{task.repository}/{path}" == wanted.path and _is_entry(e, wanted) for e in outline):
            await side.tools.call("read_code", symbol=wanted.name, **place)
            return True
    return False


async def find_by_grep(side: Side, task: Task) -> bool:
    """Look for the three longest words, open the files that have the most of them, and read what they define."""
    wanted = side.definition(task)
    words = [word for word in re.findall(r"\w+", task.question.lower()) if word not in _STOP]
    hits: dict[str, int] = {}
    for word in sorted(dict.fromkeys(words), key=len, reverse=True)[:3]:
        for path in side.shell.files("iE", _SUFFIX.sub("", word), task.repository):
            hits[path] = hits.get(path, 0) + 1
    for path in sorted(hits, key=lambda path: (-hits[path], path))[:MAX_OPENED]:
        outline = side.shell.grep("E", r"^\s*(async\s+)?(def|class)\s", path)
        if (wanted.path, wanted.line) in {(file, line) for file, line, _ in outline}:
            side.shell.read(path, wanted.line)
            return True
    return False


# --- follow, read: a name -> the whole of its definition -----------------------------------------------


async def read_by_tools(side: Side, task: Task) -> bool:
    """Read the symbol, and go on where the answer says."""
    wanted = side.definition(task)
    path = {"path": task.path} if task.path else {}
    answer = await side.tools.call("read_code", symbol=task.name, repo=[task.repository], **path)
    seen = _read_lines(task.repository, answer)
    while wanted.lines - seen and (line := answer.get("next_line")):
        path = {"path": answer["parts"][0]["path"]}
        answer = await side.tools.call(
            "read_code", repo=[task.repository], start_line=line, end_line=wanted.last, **path
        )
        seen |= _read_lines(task.repository, answer)
    return wanted.lines <= seen


async def read_by_grep(side: Side, task: Task) -> bool:
    """Find the line that defines the name, and read on from there, window by window, until it ends."""
    wanted = side.definition(task)
    below = f"{task.repository}/{task.path}" if task.path else task.repository
    for path, line, _ in side.shell.grep("E", defines(_plain(task.name)), below)[:MAX_OPENED]:
        seen: set[Line] = set()
        while True:
            text = side.shell.read(path, line)
            seen |= shown_lines(path, line, text)
            line += WINDOW_LINES
            if path != wanted.path or (path, wanted.line) not in seen or (path, wanted.last) in seen:
                break
        if {spot for spot in wanted.lines if spot[1] >= wanted.line} <= seen:
            return True
    return False


# --- callers: a function -> the lines that call it ------------------------------------------------------


async def callers_by_tools(side: Side, task: Task) -> bool:
    """Ask for the symbol, and keep the uses that are calls."""
    results = await side.tools.search_all(query=_plain(task.name), mode="symbol", repo=[task.repository])
    truth = _in(task.repository, side.sources(task.repository).calls(task.name))
    return _is_right({spot for spot, text in _matches(task, results) if _is_call(task.name, text)}, truth)


async def callers_by_grep(side: Side, task: Task) -> bool:
    """Look for the name before a parenthesis."""
    rows = side.shell.grep("E", rf"\b{re.escape(task.name)}\(", task.repository)
    truth = _in(task.repository, side.sources(task.repository).calls(task.name))
    return _is_right({(path, line) for path, line, text in rows if _is_call(task.name, text)}, truth)


# --- rename: a name -> every line that has it as a token ------------------------------------------------


async def rename_by_tools(side: Side, task: Task) -> bool:
    """Find every line with the name as a word."""
    results = await side.tools.search_all(
        query=rf"\b{re.escape(task.name)}\b", mode="regex", repo=[task.repository]
    )
    truth = _in(task.repository, side.sources(task.repository).uses(task.name))
    return truth <= {spot for spot, _ in _matches(task, results)}


async def rename_by_grep(side: Side, task: Task) -> bool:
    """The same."""
    rows = side.shell.grep("w", task.name, task.repository)
    truth = _in(task.repository, side.sources(task.repository).uses(task.name))
    return truth <= {(path, line) for path, line, _ in rows}


# --- outline: a file -> what it defines -----------------------------------------------------------------


async def outline_by_tools(side: Side, task: Task) -> bool:
    """Ask for the outline, and go on where it says."""
    arguments = {"path": task.path, "repo": [task.repository], "outline": True}
    answer = await side.tools.call("read_code", **arguments)
    entries = list(answer.get("outline", ()))
    while line := answer.get("next_line"):
        answer = await side.tools.call("read_code", start_line=line, **arguments)
        entries += answer.get("outline", ())
    return all(any(_is_entry(e, d) for e in entries) for d in side.sources(task.repository).defined(task.path))


def _is_entry(entry: dict[str, Any], defined: Defined) -> bool:
    return bool(entry["symbol"] == defined.name and entry["start_line"] <= defined.line <= entry["end_line"])


async def outline_by_grep(side: Side, task: Task) -> bool:
    """Look for the lines that define something."""
    rows = side.shell.grep("E", r"^\s*(async\s+)?(def|class)\s", f"{task.repository}/{task.path}")
    lines = {line for _, line, _ in rows}
    return all(d.line in lines for d in side.sources(task.repository).defined(task.path))


# --- tests: a name -> the test functions that use it ----------------------------------------------------


async def tests_by_tools(side: Side, task: Task) -> bool:
    """Ask for the uses of the symbol below tests/: each names the function that it lies in."""
    results = await side.tools.search_all(query=task.name, mode="symbol", repo=[task.repository], path=["tests/"])
    answer = {(r["path"], part) for r in results for part in (r.get("symbol") or "").split(".")}
    return side.sources(task.repository).tests(task.name) <= answer


async def tests_by_grep(side: Side, task: Task) -> bool:
    """Look for the name below tests/, and read above each use up to the function that it lies in."""
    sources = side.sources(task.repository)
    rows = side.shell.grep("w", task.name, f"{task.repository}/tests")
    functions = {
        (f"{task.repository}/{d.path}", d.line): d
        for path in sources.paths("tests")
        for d in sources.defined(path)
    }
    seen = {(path, line) for path, line, _ in rows}
    for path, line, _ in reversed(rows):
        at = line
        while at > 0 and not any((path, n) in functions and (path, n) in seen for n in range(at, line + 1)):
            at = max(at - WINDOW_LINES // 2, 0)
            text = side.shell.read(path, at, line - at)
            seen |= shown_lines(path, max(at, 1), text)
    found = {(d.path, _plain(d.name)) for place, d in functions.items() if place in seen}
    return sources.tests(task.name) <= found


# --- across: a name of one repository -> where another uses it ------------------------------------------


async def across_by_tools(side: Side, task: Task) -> bool:
    """Ask for the symbol in both."""
    results = await side.tools.search_all(query=task.name, mode="symbol", repo=[task.repository, task.user])
    return _across(side, task) <= {spot for spot, _ in _matches(task, results)}


async def across_by_grep(side: Side, task: Task) -> bool:
    """Look for the name in both."""
    rows = side.shell.grep("w", task.name, task.repository, task.user)
    return _across(side, task) <= {(path, line) for path, line, _ in rows}


def _across(side: Side, task: Task) -> set[Line]:
    defined = side.definition(task)
    return {(defined.path, defined.line)} | _in(task.user, side.sources(task.user).uses(task.name))


POLICIES: Final[dict[str, tuple[Policy, Policy]]] = {
    "find": (find_by_tools, find_by_grep),
    "follow": (read_by_tools, read_by_grep),
    "callers": (callers_by_tools, callers_by_grep),
    "read": (read_by_tools, read_by_grep),
    "rename": (rename_by_tools, rename_by_grep),
    "outline": (outline_by_tools, outline_by_grep),
    "tests": (tests_by_tools, tests_by_grep),
    "across": (across_by_tools, across_by_grep),
}
"""For each kind of task: with our tools, with grep and read."""


def _read_lines(repository: str, answer: dict[str, Any]) -> set[Line]:
    """Return the lines that an answer of read_code shows."""
    seen: set[Line] = set()
    for part in answer.get("parts", ()):
        seen |= shown_lines(f"{repository}/{part['path']}", part["start_line"], part["text"])
    return seen


def _matches(task: Task, results: list[dict[str, Any]]) -> list[tuple[Line, str]]:
    """Return the lines that results name as matching, each with its text if that is shown."""
    found = []
    for result in results:
        repository = (result.get("repository") or task.repository).rstrip("/").rpartition("/")[2]
        lines = result["text"].split("\n")
        first, last = result["start_line"], result["end_line"]
        numbers = result.get("matching_lines") or (
            [first] if result.get("is_definition") else range(first, last + 1)
        )
        for number in numbers:
            at = number - result["text_start_line"]
            text = lines[at] if 0 <= at < len(lines) else ""
            found.append(((f"{repository}/{result['path']}", number), text))
    return found
