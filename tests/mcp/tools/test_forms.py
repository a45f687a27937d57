"""The forms in which agents ask, over repositories of several languages that real workers have indexed."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from mcp import Client
from mcp.server import Server

from codebase_index.api.source_policy import SourcePolicy
from codebase_index.embedding.static import StaticEmbedder
from codebase_index.store.database import Database
from codebase_mcp.freshness import working_trees
from codebase_mcp.identity.access import VisibleIndexes
from codebase_mcp.identity.gate import Gate
from codebase_mcp.search import service
from codebase_mcp.search.service import SearchService
from codebase_mcp.tools.tools import build_server
from tests.store.harness import WorkerHarness, track

FILES = {
    "cmd/main.go": "package main\n\nfunc main() {\n\tNewQueue().Push(3)\n}\n",
    "queue/queue.go": (
        "package queue\n\n// Queue holds numbers.\ntype Queue struct{ items []int }\n\n"
        "func NewQueue() *Queue { return &Queue{} }\n\n"
        "// Push adds a number.\nfunc (q *Queue) Push(n int) {\n\tq.items = append(q.items, n)\n}\n"
    ),
    "queue/queue_test.go": (
        'package queue\n\nimport "testing"\n\nfunc TestPush(t *testing.T) {\n\tNewQueue().Push(1)\n}\n'
    ),
    "app/billing.py": (
        "class Account:\n    pass\n\n\nclass Invoice(Account):\n"
        "    def total(self, lines):\n        return sum(line.price for line in lines)\n"
    ),
    "app/[id]/page.tsx": "export default function Page() {\n  return renderInvoice();\n}\n",
    "web/money.ts": "export class Money {\n  add(cents: number): number { return cents; }\n}\n",
    "native/point.hpp": (
        "namespace geo {\nstruct Point {\n  int x;\n"
        "  bool operator==(const Point& other) const { return x == other.x; }\n};\n}\n"
    ),
    "app2/notes.txt": "Invoice numbers are not reused.\n",
}

SEARCHES: list[tuple[dict[str, Any], dict[str, Any]]] = [
    # Blank arguments, lists in several forms, names of modes and languages.
    ({"query": "Invoice", "repo": None, "path": "", "language": [], "cursor": "", "limit": None}, {}),
    ({"query": "Invoice", "sessionId": "x", "request": {"a": 1}},
     {"note": "ignored unknown arguments 'sessionId'"}),
    ({"query": "Invoice", "limit": 9999}, {"note": "limit was taken as 50"}),
    ({"query": "Invoice", "limit": "2"}, {}),
    ({"query": "Invoice", "repo": '["team/ledger", "other"]'}, {}),
    ({"query": "Invoice", "repo": "team/ledger, other"}, {}),
    ({"query": "Invoice", "mode": "TEXT"}, {"paths": {"app/billing.py", "app/[id]/page.tsx", "app2/notes.txt"}}),
    ({"query": "Invoice", "mode": "literal", "language": "Py"}, {"paths": {"app/billing.py"}}),
    ({"query": "Invoice", "mode": "text", "language": ["python", "TSX"]},
     {"paths": {"app/billing.py", "app/[id]/page.tsx"}}),
    ({"query": "Push", "mode": "text", "language": "golang,c++"},
     {"paths": {"cmd/main.go", "queue/queue.go", "queue/queue_test.go"}}),
    # Paths.
    ({"query": "Invoice", "mode": "text", "path": "app"}, {"paths": {"app/billing.py", "app/[id]/page.tsx"}}),
    ({"query": "Invoice", "mode": "text", "path": "/app/"}, {"paths": {"app/billing.py", "app/[id]/page.tsx"}}),
    ({"query": "Invoice", "mode": "text", "path": "app/bill"}, {"paths": {"app/billing.py"}}),
    ({"query": "Invoice", "mode": "text", "path": "billing.py:3-4"}, {"paths": {"app/billing.py"}}),
    ({"query": "Invoice", "mode": "text", "path": "app/[id]/page.tsx"}, {"paths": {"app/[id]/page.tsx"}}),
    ({"query": "Invoice", "mode": "text", "path": "!app, !*.md"}, {"paths": {"app2/notes.txt"}}),
    ({"query": "Push", "mode": "text", "path": "*_test.go"}, {"paths": {"queue/queue_test.go"}}),
    ({"query": "Push", "mode": "text", "path": ["**/*.go", "!**/*_test.go"]},
     {"paths": {"cmd/main.go", "queue/queue.go"}}),
    ({"query": "Push", "mode": "text", "path": "{ROOT}/team/ledger/queue"},
     {"paths": {"queue/queue.go", "queue/queue_test.go"}}),
    ({"query": "Push", "path": "*_test.go"}, {"paths": {"queue/queue_test.go"}}),
    ({"query": "Push", "mode": "symbol", "path": "!*_test.go"}, {"first": "queue/queue.go"}),
    # Repositories.
    ({"query": "Push", "mode": "text", "repo": "{ROOT}/team/ledger/cmd"}, {"paths": {"cmd/main.go"}}),
    ({"query": "Push", "mode": "text", "repo": "LEDGER/cmd"}, {"paths": {"cmd/main.go"}}),
    ({"query": "Push", "mode": "text", "repo": "https://git.example.org/team/ledger.git", "path": "cmd"},
     {"paths": {"cmd/main.go"}, "note": "was taken for it"}),
    ({"query": "Push", "mode": "text", "repo": "team/ledger@main", "path": "cmd"}, {"paths": {"cmd/main.go"}}),
    # Names of definitions.
    ({"query": "(*Queue).Push", "mode": "symbol"}, {"first": "queue/queue.go"}),
    ({"query": "func (q *Queue) Push(n int)", "mode": "definition"}, {"first": "queue/queue.go"}),
    ({"query": "queue.NewQueue()", "mode": "symbol"}, {"first": "queue/queue.go"}),
    ({"query": "class Invoice(Account):", "mode": "symbol"}, {"first": "app/billing.py"}),
    ({"query": "com.team.ledger.Invoice.total", "mode": "symbol"}, {"first": "app/billing.py"}),
    ({"query": "geo::Point<int>::operator==", "mode": "symbol"}, {"first": "native/point.hpp"}),
    ({"query": "Money.prototype.add", "mode": "symbol"}, {"first": "web/money.ts"}),
    # Expressions.
    ({"query": r"TestPush\|renderInvoice", "mode": "regex"},
     {"paths": {"queue/queue_test.go", "app/[id]/page.tsx"}, "note": "read as an alternative"}),
    ({"query": "/INVOICE NUMBERS/i", "mode": "regex"},
     {"paths": {"app2/notes.txt"}, "note": "(?i)INVOICE NUMBERS"}),
    ({"query": r"\<Invoice\>", "mode": "regexp"}, {"paths": {"app/billing.py", "app2/notes.txt"}}),
    ({"query": r"[[:upper:]]nvoice", "mode": "re"},
     {"paths": {"app/billing.py", "app/[id]/page.tsx", "app2/notes.txt"}}),
    ({"query": r"func \(\w+ \*Queue\)", "mode": "grep_search"}, {"paths": set()}),  # text, and none holds it
    # What strangers' agents send who know other tools and other systems.
    ({"q": "Invoice", "search_mode": 1, "mode": "text"},
     {"paths": {"app/billing.py", "app/[id]/page.tsx", "app2/notes.txt"}, "note": "'q' was taken as query"}),
    ({"query": "Push", "mode": "text", "repository": "ledger", "file_path": "cmd"},
     {"paths": {"cmd/main.go"}, "note": "'repository' was taken as repo"}),
    ({"query": "Push", "mode": "text", "glob": "*_test.go", "maxResults": 3},
     {"paths": {"queue/queue_test.go"}, "note": "'glob' was taken as path"}),
    ({"query": "Invoice", "mode": "full-text", "languages": ["Python"], "top_k": "1,000"},
     {"paths": {"app/billing.py"}, "note": "limit was taken as 50"}),
    ({"query": "Invoice", "limit": 10**400}, {"note": "limit was taken as 50"}),
    ({"query": ["Invoice"], "mode": ["TEXT"], "limit": [5], "path": ["app2"]}, {"paths": {"app2/notes.txt"}}),
    ({"query": "Push", "mode": "text", "repo": "team\\ledger\\cmd"}, {"paths": {"cmd/main.go"}}),
    ({"query": "Push", "mode": "text", "path": "queue\\*_test.go"}, {"paths": {"queue/queue_test.go"}}),
    ({"query": "Push", "mode": "text", "path": r"^queue/.*_test\.go$"}, {"paths": {"queue/queue_test.go"}}),
    ({"query": "Push", "mode": "text", "path": "../cmd/./main.go:4:"}, {"paths": {"cmd/main.go"}}),
    ({"query": "Push", "mode": "text", "path": "path:cmd"}, {"paths": {"cmd/main.go"}}),
    ({"query": "Push", "mode": "text", "path": "cmd\nqueue/queue.go"},
     {"paths": {"cmd/main.go", "queue/queue.go"}}),
    ({"query": "Push", "mode": "text", "path": "file://{ROOT}/team/ledger/cmd"}, {"paths": {"cmd/main.go"}}),
    ({"query": "Push", "mode": "text", "path": "{cmd,native}/**, !"}, {"paths": {"cmd/main.go"}}),
    ({"query": "Invoice", "mode": "text", "path": "app\\[id]\\page.tsx"}, {"paths": {"app/[id]/page.tsx"}}),
    ({"query": "Push", "mode": "text", "repo": "team/*", "path": "cmd"}, {"paths": {"cmd/main.go"}}),
    ({"query": "Push", "mode": "text", "repo": "repo:team/ledger", "path": "cmd"}, {"paths": {"cmd/main.go"}}),
    ({"query": "Push", "mode": "text", "repo": "ledger#main", "path": "cmd"},
     {"paths": {"cmd/main.go"}, "note": "what is checked out was searched"}),
    ({"query": "Push", "mode": "text", "repo": "https://github.com/team/ledger/blob/main/cmd/main.go"},
     {"paths": {"cmd/main.go"}, "note": "was taken for it"}),
    ({"query": "Push", "mode": "text", "repo": "git@github.com:team/ledger.git", "path": "cmd"},
     {"paths": {"cmd/main.go"}, "note": "was taken for it"}),
    ({"query": "[]Queue", "mode": "usages"}, {"first": "queue/queue.go"}),
    ({"query": "from app.billing import Invoice", "mode": "Symbol Search"}, {"first": "app/billing.py"}),
    ({"query": "@dataclass class Invoice", "mode": "symbol"}, {"first": "app/billing.py"}),
    ({"query": "new Money()", "mode": "symbol"}, {"first": "web/money.ts"}),
    ({"query": "money?.add", "mode": "symbol"}, {"first": "web/money.ts"}),
    ({"query": "export class Money", "mode": "symbol"}, {"first": "web/money.ts"}),
    ({"query": "**Invoice**"}, {}),
    ({"query": "\u202eInvoice\u200b 🙂 ﷽"}, {}),
    ({"query": "Ｉｎｖｏｉｃｅ"}, {}),
    ({"query": "'; DROP TABLE chunks; --", "mode": "text"}, {"paths": set()}),
    ({"query": "%s%n\\x00 ${jndi:ldap://x}", "path": "%", "language": "py"}, {}),
]  # fmt: skip

REFUSALS: list[tuple[dict[str, Any], str, dict[str, Any]]] = [
    ({"query": ""}, "query is missing", {"query": "<what to find>"}),
    ({"query": "x", "language": "pyhton"}, "there are asciidoc, assembly, bash", {"language": "python"}),
    ({"query": "x", "repo": "ledgr"}, "not indexed: repo 'ledgr'", {"repo": "{ROOT}/team/ledger"}),
    ({"query": "x", "repo": "ledger@v9"}, "not indexed: ref 'v9'", {"repo": "{ROOT}/team/ledger"}),
    ({"query": "x", "mode": "fuzz"}, "mode must be one of auto, symbol, text, regex", {"mode": "auto"}),
    ({"query": "foo(?=bar)", "mode": "regex"}, "look-around", {"query": "foo"}),
    ({"query": "foo(", "mode": "regex"}, "a group is not closed", {"mode": "text"}),
    ({"query": "how is it pushed", "mode": "symbol"}, "mode=symbol looks up one name", {"mode": "auto"}),
    ({"query": "a\n  longest line", "mode": "text"}, "several lines", {"query": "longest line"}),
    ({"query": "x", "limit": "many"}, "limit must be a whole number", {"limit": 10}),
    ({"query": ["a", "b"]}, "query must be one text", {"query": "a"}),
    ({"query": "C++", "mode": "regex"}, "there is nothing to repeat", {"mode": "text"}),
    ({"query": "a\u0000b"}, "a character that no text has", {"query": "ab"}),
]


@pytest.fixture
async def ledger(
    database: Database, dsn: str, tmp_path: Path, embedder: StaticEmbedder
) -> AsyncIterator[tuple[Server[Any], Path]]:
    """A server over `team/ledger` and `other`, and the root under which both lie."""
    root = tmp_path / "root"
    roots = json.dumps([{"path": str(root)}])
    harness = WorkerHarness(database, dsn, root, env={"CODEBASE_ROOTS": roots})
    for name in ("team/ledger", "other"):
        for path, text in (FILES if name == "team/ledger" else {"a.md": "# Nothing of the kind\n"}).items():
            file = root / name / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        track(root / name)
        code, _ = await harness.run(await harness.job(name, source={"path": str(root / name)}))
        assert code == 0
    policy = SourcePolicy.from_env({"CODEBASE_ROOTS": roots})
    search = SearchService.from_database(database, lambda _: embedder, VisibleIndexes.every(database), policy)
    yield build_server(None, search, None, Gate.of_owner()), root  # type: ignore[arg-type]
    search.close()


async def test_every_form_is_taken_as_it_is_meant_or_refused_with_the_repaired_call(
    ledger: tuple[Server[Any], Path],
) -> None:
    server, root = ledger
    wrong: list[object] = []
    async with Client(server) as client:
        for arguments, expected in _with_root(SEARCHES, root):
            result = await client.call_tool("search_code", arguments)
            if faults := _faults(result, expected):
                wrong.append((arguments, faults))
        for arguments, says, repair in _with_root(REFUSALS, root):
            text = (await client.call_tool("search_code", arguments)).content[0].text  # type: ignore[union-attr]
            _, _, call = text.partition("; call search_code with ")
            if says not in text or not call or json.loads(call) != {**arguments, **repair}:
                wrong.append((arguments, text))
            elif "<" not in call and (await client.call_tool("search_code", json.loads(call))).is_error:
                wrong.append((arguments, f"the repaired call is refused: {call}"))
    assert wrong == []


def _with_root(table: Any, root: Path) -> Any:
    return json.loads(json.dumps(table, default=list).replace("{ROOT}", str(root)))


def _faults(result: Any, expected: dict[str, Any]) -> list[object]:
    if result.is_error:
        return [result.content[0].text]
    found = result.structured_content
    paths = [hit["path"] for hit in found["results"]]
    faults: list[object] = []
    if "paths" in expected and set(paths) != set(expected["paths"]):
        faults.append(paths)
    if "first" in expected and paths[:1] != [expected["first"]]:
        faults.append(paths)
    if expected.get("note", "") not in (found.get("note") or ""):
        faults.append(found.get("note"))
    return faults


async def test_a_file_that_is_newer_than_the_index_is_said_to_be(
    ledger: tuple[Server[Any], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(working_trees, "WAIT_SECONDS", 30.0)  # however busy the machine is
    monkeypatch.setattr(service, "STANDING_TIMEOUT_SECONDS", 30.0)
    server, root = ledger
    file = root / "team/ledger/app/billing.py"
    async with Client(server) as client:
        before = await client.call_tool("search_code", {"query": "Invoice", "repo": "ledger"})
        file.write_text(file.read_text())  # touched: nothing is different
        touched = await client.call_tool("search_code", {"query": "Invoice", "repo": "ledger"})
        file.write_text("class Receipt: pass\n")
        (root / "team/ledger/web/money.ts").unlink()
        async with asyncio.timeout(60):  # a look counts for some time, the longer the more it took
            while True:
                after = await client.call_tool("search_code", {"query": "Invoice", "repo": "ledger"})
                if "files_newer" in (after.structured_content or {})["indexes"][0]:
                    break
                await asyncio.sleep(0.05)
    for result in (before, touched):
        assert result.structured_content is not None and result.structured_content["message"] is None
    assert after.structured_content is not None
    (index,) = after.structured_content["indexes"]
    assert index["files_newer"] == 2
    message = after.structured_content["message"]
    assert message.startswith(f"{root}/team/ledger has changed since it was indexed (app/billing.py and 1 more): ")
    assert "Files newer on disk: 2." in after.content[0].text  # type: ignore[union-attr]
