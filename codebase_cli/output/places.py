"""Search results for a person: places with highlighted, numbered code."""

from collections.abc import Iterator
from typing import Any

from rich.syntax import Syntax
from rich.text import Text

from codebase_index import untrusted_text

_LEXERS = {"csharp": "c#", "shell": "bash", "objc": "objective-c", "terraform": "hcl"}
"""Names of languages that Pygments has under another one."""

_THEME = "ansi_dark"
"""The terminal's own sixteen colours: readable on light and dark grounds alike."""


def place(number: int, result: dict[str, Any]) -> Text:
    """Return one result: where it is, then its code."""
    text = Text(f"{number}. ", "bold")
    text.append(_line(f"{result['path']}:{result['start_line']}-{result['end_line']}"), "bold cyan")
    for part in _about(result):
        text.append(f"  {part}", "dim")
    text.append("\n")
    return text.append_text(_code(result))


def index_status(index: dict[str, Any]) -> Text:
    """Return in a line which state of a repository was searched."""
    name = index["name"] or index["repository"]
    at = f" at {index['ref']}" if index["ref"] else ""
    commit = f", commit {index['commit'][:12]}" if index["commit"] else ""
    indexed = f", indexed {index['indexed_at'][:16].replace('T', ' ')}" if index["indexed_at"] else ""
    whole = index["state"] == "complete"
    state = "" if whole else f", {index['state']}: {index['percent_complete']} %"
    stopped = f", last run {index['stopped_run']}" if index.get("stopped_run") else ""
    behind = f", behind commit {index['newer_commit'][:12]}" if index["newer_commit"] else ""
    style = "dim" if whole and not behind else "yellow"
    return Text(_line(f"{name}{at}{commit}{indexed}{state}{stopped}{behind}"), style)


def _about(result: dict[str, Any]) -> Iterator[str]:
    if result.get("symbol"):
        yield _line(result["symbol"])
    if (is_definition := result.get("is_definition")) is not None:
        yield f"definition of a {result.get('kind')}" if is_definition else _line(result.get("use") or "use")
    if result.get("repository"):
        yield _line(f"in {result['repository']}")
    if result.get("score") is not None:
        yield f"score {result['score']}"


def _code(result: dict[str, Any]) -> Text:
    """Return the code with the numbers of its lines; the lines that match have a mark."""
    parts = [result.get("context_before"), result["text"], result.get("context_after")]
    before = parts[0].count("\n") + 1 if parts[0] else 0
    code = untrusted_text.code("\n".join(part for part in parts if part))
    first, matching = result["text_start_line"] - before, set(result.get("matching_lines") or ())
    lines = _highlighted(code, result.get("language")).split("\n", allow_blank=True)
    width = len(str(first + len(lines)))
    text = Text()
    for number, line in enumerate(lines, start=first):
        text.append(
            f"{'>' if number in matching else ' '}{number:>{width}} ", "bold" if number in matching else "dim"
        )
        text.append("│ ", "dim").append_text(line).append("\n")
    return text


def _highlighted(code: str, language: str | None) -> Text:
    name = (language or "text").lower()
    text = Syntax("", _LEXERS.get(name, name), theme=_THEME).highlight(code)
    text.rstrip()
    return text


def _line(text: str) -> str:
    return untrusted_text.line(text)
