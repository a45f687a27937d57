"""What comes in by HTTP is refused at its door: nothing changes, and the refusal says what would be taken."""

import base64
import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from mcp import Client

from codebase_index.store.database import Database

HEADERS = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
LISTING = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}})
JOB = "12345678-1234-1234-1234-123456789abc"

HOSTS = {
    "": "none", "evil.example": "a name of somebody else's", "mcp.example.org.evil.example": "ours in front",
    "evil.example.mcp.example.org": "ours behind", "mcp.example.org.": "a dot behind", "mcp_example.org": "nearly",
    "mcp.example.org:evil.example": "no number for a port", "mcp.example.org:80.evil.example": "a port and more",
    "mcp.example.org:0": "no port", "mcp.example.org:99999": "no port either", "mcp.example.org:": "an empty port",
    "mcp.example.org@evil.example": "ours for a user", "mcp.example.org, evil.example": "two",
    "mcp.example.org/evil": "a path", "127.0.0.2": "loopback, another", "2130706433": "loopback, in decimal",
    "0x7f000001": "and in hexadecimal", "0.0.0.0": "any address", "[::]": "any address of IPv6",
    "[::ffff:127.0.0.1]": "loopback, mapped", "169.254.169.254": "metadata", "10.1.2.3:8080": "a pod's address",
    "localhost.localdomain": "ours in front, again", "kubernetes.default.svc": "a Service",
}  # fmt: skip
ALLOWED_HOSTS = ["localhost", "127.0.0.1:8080", "[::1]:9", "mcp.example.org", "MCP.example.org:8443"]
ORIGINS = {
    "null": "a page in a sandbox", "https://evil.example": "somebody else's", "file://": "a file",
    "http://mcp.example.org.evil.example": "ours in front",
    "https://evil.example/mcp.example.org": "ours in the path",
    "http://localhost.evil.example:80": "loopback in front", "http://localhost:80.evil.example": "and a port",
    "http://localhost@evil.example": "loopback for a user", "ws://mcp.example.org": "another scheme",
    "http://mcp.example.org http://evil.example": "two", "mcp.example.org": "no scheme", "*": "all",
    "chrome-extension://abcdefgh": "an extension", "http://127.0.0.2": "loopback, another",
}  # fmt: skip
ALLOWED_ORIGINS = ["", "http://localhost:6274", "https://mcp.example.org", "http://[::1]:3000"]
JOB_IDS = [
    "' OR ''='", "1; DROP TABLE jobs", JOB.replace("-", ""), f"{{{JOB}}}", f"urn:uuid:{JOB}",
    f"{JOB}\0", JOB[:-1], f"{JOB}0", JOB.replace("a", "g"), JOB.replace("-", "\u2010"),
    JOB.replace("1", "１"),
    "../../etc/passwd", "%2e%2e", "null", "0", "*", "\u202e", JOB.replace("-", "_"),
    "12345678-1234-1234-1234123456789-abc",
]  # fmt: skip
REGEXES = [
    "***=a", "***:a", "(?q)a", "(?b)a", "(?e)a", "(?x) a", "(?n)a", "(?#x)a", "(?i:a)", "(?:(?i)a)",
    "a(?i)b", "(a", "a)",
    "[a", "[z-a]", "*a", "+a", "?a", "|*a", "a**", "a++", "a*+", "a{2}{3}", "a{2,1}", "a{99999}", "(?=a)",
    "(?!a)b",
    "(?<=a)b", "(?<!a)b", "(?>a)", r"(a)\1", "(?P<n>a)(?P=n)", "(?P>n)", "(?R)", "(?(1)a)", "a\0b", "\\",
    r"a\U00110000",
    r"\x{110000}", r"\K", r"\C", "[[:nonsense:]]", "(((((a{500}){500}){500}){500}){500})",
]  # fmt: skip
NEXT = re.compile("mode=text|leave it out")
ALLOWED_REGEXES = [
    r"(?i)def\s+\w+\(",
    "a|b",
    "^class ",
    r"x{2,5}",
    "[^a-z]+$",
    "(?:a|b)c",
    r"\bTill\b",
    "[[:alpha:]]+",
]


async def everything(database: Database) -> dict[str, list[str]]:
    """Return all that the database holds of jobs and indexes."""
    async with database.connection() as connection:
        return {
            table: sorted(str(tuple(row)) for row in await connection.fetch(f"SELECT * FROM {table}"))
            for table in ("jobs", "indexes", "files", "work")
        }


async def posted(url: str, headers: dict[str, str]) -> httpx.Response:
    async with httpx.AsyncClient() as client:
        return await client.post(f"{url}/mcp", content=LISTING, headers={**HEADERS, **headers})


@pytest.fixture
async def held(shop: Any, database: Database) -> dict[str, list[str]]:
    await shop.running("/work/busy")
    await shop.completed({f"till{n}.py": f"def till_{n}():\n    return {n}" for n in range(9)})
    return await everything(database)


async def test_hosts(url: str, held: dict[str, list[str]], database: Database) -> None:
    answers = {host: await posted(url, {"Host": host}) for host in HOSTS}
    assert {host: answer.status_code for host, answer in answers.items()} == dict.fromkeys(HOSTS, 421)
    assert all("allowed are localhost, 127.0.0.1, [::1], mcp.example.org" in a.text for a in answers.values())
    assert [(await posted(url, {"Host": host})).status_code for host in ALLOWED_HOSTS] == [200] * len(
        ALLOWED_HOSTS
    )
    assert await everything(database) == held


async def test_origins(url: str, held: dict[str, list[str]], database: Database) -> None:
    answers = {origin: await posted(url, {"Origin": origin}) for origin in ORIGINS}
    assert {origin: answer.status_code for origin, answer in answers.items()} == dict.fromkeys(ORIGINS, 403)
    assert all("allowed are http and https pages of localhost" in a.text for a in answers.values())
    accepted = [(await posted(url, {"Origin": origin})).status_code for origin in ALLOWED_ORIGINS]
    assert accepted == [200] * len(ALLOWED_ORIGINS)
    assert await everything(database) == held


async def test_job_ids(url: str, held: dict[str, list[str]], database: Database, shop: Any) -> None:
    taken, badly_told = [], []
    async with Client(f"{url}/mcp") as client:
        for tool in ("get_indexing_status", "cancel_indexing_background"):
            for job_id in JOB_IDS:
                result = await client.call_tool(tool, {"job_id": job_id})
                text = result.content[0].text  # type: ignore[union-attr]
                taken += [] if result.is_error else [job_id]
                badly_told += (
                    [] if text.startswith("validation: job_id") and "\n" not in text else [(job_id, text)]
                )
            for job_id in (JOB.upper(), f" {JOB}", f"{JOB}\n"):
                result = await client.call_tool(tool, {"job_id": job_id})
                assert result.content[0].text.startswith("job not found")  # type: ignore[union-attr]
    assert (taken, badly_told) == ([], [])
    assert await everything(database) == held


async def test_regular_expressions(url: str, held: dict[str, list[str]], database: Database) -> None:
    taken, badly_told = [], []
    async with Client(f"{url}/mcp") as client:
        for expression in REGEXES:
            result = await client.call_tool("search_code", {"query": expression, "mode": "regex"})
            text = result.content[0].text  # type: ignore[union-attr]
            taken += [] if result.is_error else [expression]
            badly_told += (
                [] if text.startswith("validation: query") and NEXT.search(text) else [(expression, text)]
            )
        for expression in ALLOWED_REGEXES:
            result = await client.call_tool("search_code", {"query": expression, "mode": "regex"})
            assert not result.is_error, expression
    assert (taken, badly_told) == ([], [])
    assert await everything(database) == held


def packed(*values: Any) -> str:
    text = json.dumps(values, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def made_up(cursor: str) -> Iterator[str]:
    """Yield cursors that are like this one, which the server gave, but for one thing."""
    version, request, state, offset, place = json.loads(
        base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    )
    index, path, line = place
    other: Any
    for other in (0, 2, None, "1", True if version != 1 else [1]):
        yield packed(other, request, state, offset, place)
    for other in ("", "another", None, 7, request.upper() + "x"):
        yield packed(version, other, state, offset, place)
    for other in (None, 7, ["x"]):
        yield packed(version, request, other, offset, place)
    for other in (-1, 100_001, 2**63, 1.5, "0", None, True):
        yield packed(version, request, state, other, place)
    for other in (index + 1000, -1, 2**63, str(index), None, 0.5, True):
        yield packed(version, request, state, offset, [other, path, line])
    for other in ("a\0b", "\ud800", "x" * 5000, 7, None, ["x"]):
        yield packed(version, request, state, offset, [index, other, line])
    for other in (-1, 2**31, str(line), None, 1.0, False):
        yield packed(version, request, state, offset, [index, path, other])
    for other in ([], [index], [index, path], [index, path, line, 1], {"a": 1}, "x", 7):
        yield packed(version, request, state, offset, other)
    yield packed()
    yield packed(version, request, state, offset)
    yield packed(version, request, state, offset, place, 1)
    yield base64.urlsafe_b64encode(b'{"a":1}').decode().rstrip("=")
    yield base64.urlsafe_b64encode(b"[" * 9000).decode().rstrip("=")
    yield base64.urlsafe_b64encode(b"[1," + b"9" * 9000 + b"]").decode().rstrip("=")
    yield base64.urlsafe_b64encode(b"\xff\xfe").decode().rstrip("=")
    yield from (
        cursor[:-1],
        cursor[1:],
        cursor + "=",
        cursor + "A",
        cursor.swapcase(),
    )
    yield from ("ı", "%", "!", "AAAA", "\u202e", "../..", "é" * 100)


async def test_cursors(url: str, held: dict[str, list[str]], database: Database) -> None:
    asked = {"query": "def till", "mode": "text", "limit": 2}
    taken, badly_told = [], []
    async with Client(f"{url}/mcp") as client:
        first = await client.call_tool("search_code", asked)
        cursor = (first.structured_content or {})["next_cursor"]
        for other in made_up(cursor):
            result = await client.call_tool("search_code", {**asked, "cursor": other})
            text = result.content[0].text  # type: ignore[union-attr]
            taken += [] if result.is_error else [other]
            badly_told += (
                [] if text.startswith("validation: cursor") and "leave cursor out" in text else [(other, text)]
            )
        second = await client.call_tool("search_code", {**asked, "cursor": cursor})
    assert (taken, badly_told) == ([], [])
    assert not second.is_error and (second.structured_content or {})["results"]
    assert await everything(database) == held
