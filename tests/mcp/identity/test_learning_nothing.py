"""Whoever may read one repository gets the same answers, to the letter, whether another one is there or not.

The other one has the same code under a similar name, and a job that runs: every way to hear of it is asked, before
and after it is made. How long an answer takes is not compared.
"""

import re
from typing import Any, Final
from uuid import UUID

from codebase_cli.servers import messages
from tests.mcp.identity.api_server import ApiServer, Rule, User
from tests.mcp.identity.conftest import NAMESPACE, Served, Serving
from tests.mcp.identity.test_matrix import SHOP

CODE: Final = {"till.py": "\n".join(f"def till_{n}():\n    return checkout({n})\n" for n in range(40))}
HIDDEN: Final = "/work/shopping"
JOB: Final = UUID("12345678-1234-1234-1234-123456789abc")

CALLS: Final[list[tuple[str, dict[str, Any]]]] = [
    *(("search_code", {"query": "till checkout", "mode": mode, "limit": 3}) for mode in ("auto", "text", "regex")),
    ("search_code", {"query": "till_1", "mode": "symbol"}),
    ("search_code", {"query": "checkout", "detail": "full"}),
    ("search_code", {"query": "only_in_shopping", "mode": "text"}),
    *(("search_code", {"query": "till", "repo": repo}) for repo in (
        "shopping", HIDDEN, f"{HIDDEN}@main", "shoping", "shop*", "/work", "*", "work/shop", "SHOPPING", ".",
    )),
    ("search_code", {"query": "till", "path": f"{HIDDEN}/till.py"}),
    ("search_code", {"query": "till", "path": "secret"}),
    ("search_code", {"query": "till", "language": "go"}),
    ("read_code", {"path": "till.py"}),
    ("read_code", {"path": "secret.go"}),
    ("read_code", {"path": f"{HIDDEN}/secret.go"}),
    ("read_code", {"path": "secre.go"}),
    ("read_code", {"symbol": "till_1"}),
    ("read_code", {"symbol": "OnlyInShopping"}),
    ("read_code", {"path": "till.py", "outline": True}),
    ("list_files", {}), ("list_files", {"tree": True}), ("list_files", {"repo": "shopping"}),
    ("list_files", {"path": "secret.go"}), ("list_files", {"language": "go"}),
    ("list_repositories", {}), ("list_repositories", {"repo": "shopping"}), ("list_repositories", {"offset": 1}),
    ("get_indexing_status", {"job_id": str(JOB)}), ("get_indexing_status", {"job_id": str(JOB)[:8]}),
    ("cancel_indexing_background", {"job_id": str(JOB)}), ("list_indexing_jobs", {}),
    ("list_indexing_jobs", {"repo_path": "shopping"}), ("start_indexing_background", {"repo_path": HIDDEN}),
    ("delete_index", {"repo": HIDDEN}), ("delete_index", {"repo": "shopping"}),
]  # fmt: skip

_MARK: Final = re.compile(r"stand between \[([0-9a-f]{8}) and")

METHODS: Final[list[tuple[str, dict[str, Any]]]] = [
    ("tools/list", {}), ("resources/list", {}), ("resources/templates/list", {}), ("prompts/list", {}),
    ("resources/read", {"uri": f"file://{HIDDEN}/secret.go"}), ("prompts/get", {"name": "shopping"}),
    ("resources/subscribe", {"uri": f"file://{HIDDEN}"}), ("ping", {}), ("logging/setLevel", {"level": "debug"}),
    ("completion/complete", {
        "ref": {"type": "ref/prompt", "name": "repo"}, "argument": {"name": "repo", "value": "shop"},
    }),
    ("completion/complete", {
        "ref": {"type": "ref/resource", "uri": "file://{repo}"}, "argument": {"name": "repo", "value": "/work/s"},
    }),
]  # fmt: skip


async def asked(served: Served, method: str, params: dict[str, Any]) -> str:
    """Send a message as the caller who may read one; return the answer."""
    envelope = {
        messages.VERSION_KEY: messages.VERSION, messages.CAPABILITIES_KEY: {},
        messages.CLIENT_KEY: {"name": "test", "version": "1"},
    }  # fmt: skip
    message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**params, "_meta": envelope}}
    headers = {**messages.headers_of(message), "Authorization": "Bearer one"}
    answer = await served.http.post("/mcp", json=message, headers=headers)
    return f"{answer.status_code} {answer.text}"


async def everything(served: Served, cursors: list[str]) -> dict[str, str]:
    """Ask in every way; return the answers."""
    answers = {f"{tool} {given}": (await served.post("one", tool, given)).text for tool, given in CALLS}
    for method, params in METHODS:
        answers[f"{method} {params}"] = await asked(served, method, params)
    for cursor in cursors:
        answers[f"cursor {cursor}"] = await further_page(served, cursor)
    for path in ("/healthz", "/readyz", "/mcp", "/metrics"):
        answers[path] = (await served.http.get(path)).text
    return {key: without_mark(answer) for key, answer in answers.items()}


def without_mark(answer: str) -> str:
    """Return an answer without the mark between which text of repositories stands: each has one of its own."""
    found = _MARK.search(answer)
    return answer.replace(found[1], "mark") if found else answer


def where_different(one: str, other: str) -> tuple[str, str]:
    """Return both from a little before the first character in which they differ."""
    same = next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), 0)
    return one[max(0, same - 60) : same + 60], other[max(0, same - 60) : same + 60]


async def further_page(served: Served, cursor: str) -> str:
    given = {"query": "till", "mode": "text", "limit": 2, "cursor": cursor}
    return (await served.post("one", "search_code", given)).text


async def cursor_of(served: Served, token: str) -> str:
    given = {"query": "till", "mode": "text", "limit": 2}
    found = (await served.post(token, "search_code", given)).json()["result"]["structuredContent"]
    return str(found["next_cursor"])


async def test_another_repository_changes_no_answer(
    serving_with: Serving, api_server: ApiServer, shop: Any
) -> None:
    await shop.completed(CODE, path="/work/shop")
    api_server.tokens = {name: User(name) for name in ("one", "all")}
    api_server.rules = [
        Rule("one", "indexes", ("get",), NAMESPACE, (SHOP,)),
        Rule("all", "indexes", ("get",), NAMESPACE),
    ]
    async with serving_with(CODEBASE_AUTH="kubernetes") as served:
        own = await cursor_of(served, "one")
        before = await everything(served, [own, "AAAA"])
        more = {**CODE, "secret.go": "package secret\n\nfunc OnlyInShopping() { only_in_shopping() }\n"}
        await shop.completed(more, path=HIDDEN)
        await shop.running("/work/shop-next-door")
        others = await cursor_of(served, "all")
        after = await everything(served, [own, "AAAA"])
        foreign = await further_page(served, others)
        told_all = await served.text("all", "list_repositories")
    assert [where_different(before[key], after[key]) for key in before if before[key] != after[key]] == []
    assert "shopping" not in foreign, "a cursor of somebody who may read more shows no more"
    assert HIDDEN in told_all, "there was something to hear of"
