"""The attack script: every row of `rows.py`, and those of the trials where they are, at its door over HTTP.

A refusal changes nothing: no job is made, no row of the database is another one afterwards, and neither an answer
nor the log has a secret or a stack trace.
"""

import codecs
import json
import re
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, Final

import httpx

from codebase_index.store.database import Database
from hack.deployment.mcp_client import ToolFailed, Tools, connect
from tests.mcp.attacks.conftest import Attacked, found_in
from tests.mcp.attacks.rows import CONTROL, HOST, ROOT, ROWS, TOKEN, Row

TRIALS: Final = Path(__file__).resolve().parents[4] / "shared" / "trials" / "sources.txt"
"""Rows of others, where the project lies beside them; it stands without."""

PING: Final = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
LINE: Final = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}

Attempt = Callable[[Tools, Any], Awaitable[str]]


async def called(tools: Tools, tool: str, **arguments: Any) -> str:
    """Call a tool; return its refusal, or its answer as JSON."""
    try:
        return json.dumps(await tools.call(tool, **arguments), default=str)
    except ToolFailed as refusal:
        return str(refusal)


def searched(**given: str) -> Attempt:
    return lambda tools, value: called(
        tools, "search_code", **{"query": "till", "mode": "text", **{k: v or value for k, v in given.items()}}
    )


ATTEMPTS: Final[dict[str, Attempt]] = {
    "path": lambda tools, value: called(tools, "start_indexing_background", repo_path=value),
    "url": lambda tools, value: called(tools, "start_indexing_background", repo_path=value),
    "ref": lambda tools, value: called(tools, "start_indexing_background", repo_path=f"{ROOT}/good", ref=value),
    "spec": lambda tools, value: called(
        tools,
        "start_indexing_background",
        **{"repo_path": f"{ROOT}/good", "ref": f"spec-{len(str(value))}", **value},
    ),
    "job_id": lambda tools, value: called(tools, "cancel_indexing_background", job_id=value),
    "regex": searched(query="", mode="regex"),
    "cursor": searched(cursor=""),
    "repo": searched(repo=""),
    "read": lambda tools, value: called(tools, "read_code", path=value),
}  # fmt: skip
"""How a value is tried at a door of the tools; those of HTTP are tried by `headers_of`."""


def headers_of(row: Row) -> list[tuple[str, str]] | None:
    """Return the headers of a row that is tried by them; None: it is one of a tool's."""
    authorized = ("Authorization", f"Bearer {TOKEN}")
    if row.door == "token":
        return [("Authorization", value) for value in row.value]
    if row.door in ("host", "origin"):
        return [authorized, (row.door.capitalize(), row.value)]
    return None


TAKEN_CANONICAL: Final = (
    "newline at the end: log and prompt injection", "leading space", "double slashes: another index",
)  # fmt: skip
"""Why the trials have lines that may be taken in their one canonical form, as their README says: ours are."""


def of_trials() -> Iterator[Row]:
    """Yield the trials' rows that are for a door over HTTP, with our root and host for theirs."""
    if not TRIALS.exists():
        return
    doors = {"jobid": "job_id"}
    for line in TRIALS.read_text().splitlines():
        kind, text, why = line.split("\t")
        kind = doors.get(kind, kind)
        passes, door = kind.startswith("control-") or why in TAKEN_CANONICAL, kind.removeprefix("control-")
        value = codecs.decode(text.encode("latin-1", "backslashreplace"), "unicode_escape")
        value = (
            re.sub("(/+)srv/+repositories", r"\1" + ROOT.strip("/"), value)
            .replace("github.com", HOST)
            .replace("gitlab.com", HOST)
        )
        if door in ("host", "origin"):
            yield Row(door, value, "200" if passes else "421" if door == "host" else "403", why)
        elif door in ("path", "url", "ref", "job_id", "regex", "cursor"):
            yield Row(door, value, CONTROL if passes else "validation: ", why)


def is_as_expected(row: Row, answer: str) -> bool:
    """Say whether an answer is the row's outcome. Refusals of a tool are one line."""
    if row.outcome == CONTROL:
        return answer.startswith("{")
    return answer.startswith(row.outcome) and "\n" not in answer


async def tried(attacked: Attacked, rows: list[Row]) -> list[tuple[Row, str]]:
    """Try all; return each row with its answer: a text of a tool, or the status and text of HTTP."""
    answers = []
    async with connect(attacked.url, TOKEN) as tools, httpx.AsyncClient(timeout=60) as http:
        for row in rows:
            headers = headers_of(row)
            if headers is None:
                answers.append((row, await ATTEMPTS[row.door](tools, row.value)))
                continue
            encoded = [(name.encode(), value.encode("latin-1")) for name, value in (*LINE.items(), *headers)]
            answer = await http.post(f"{attacked.url}/mcp", json=PING, headers=encoded)
            answers.append((row, f"{answer.status_code} {answer.text.strip()}"))
    return answers


async def test_every_row_has_the_outcome_that_it_names(attacked: Attacked, database: Database) -> None:
    assert len(ROWS) >= 120
    rows = [*ROWS, *of_trials()]
    before = await everything(database)
    answers = await tried(attacked, [row for row in rows if row.outcome != CONTROL])
    made, after = [*attacked.api.jobs], await everything(database)
    answers += await tried(attacked, [row for row in rows if row.outcome == CONTROL])
    assert [(row, text[:200]) for row, text in answers if not is_as_expected(row, text)] == []
    assert (made, after) == ([], before)
    assert [(row, leaked) for row, text in answers if (leaked := found_in(text))] == []
    assert attacked.left_in_log() == []
    specs = [job["spec"] for job in attacked.api.jobs]
    assert specs and {name for spec in specs for name in spec} <= {
        "source",
        "ref",
        "name",
        "priority",
        "forceReindex",
    }
    sources = {spec["source"].get("path") or spec["source"]["git"]["url"] for spec in specs}
    assert all(source.startswith((f"{ROOT}/", f"https://{HOST}/", f"ssh://git@{HOST}/")) for source in sources)
    assert not [source for source in sources if "//" in source.split("://")[-1] or source != source.strip()]


async def everything(database: Database) -> dict[str, list[str]]:
    """Return all that the database holds of jobs and indexes."""
    async with database.connection() as connection:
        return {
            table: sorted(str(tuple(row)) for row in await connection.fetch(f"SELECT * FROM {table}"))
            for table in ("jobs", "indexes", "files", "work")
        }
