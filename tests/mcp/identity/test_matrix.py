"""Every kind of caller times every tool, over HTTP: exactly the allowed cells pass."""

import base64
import hashlib
import hmac
import json
import time
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import jwt
import yaml

from codebase_index.api.job import index_name, target_of
from tests.mcp.identity.api_server import ApiServer, Rule, User
from tests.mcp.identity.conftest import NAMESPACE, Served, Serving
from tests.mcp.identity.issuer import AUDIENCE, Issuer, Key

READING: Final = frozenset(["search_code", "read_code", "list_files", "list_repositories"])
FOLLOWING: Final = frozenset(["get_indexing_status", "list_indexing_jobs"])
CHANGING: Final = frozenset(["start_indexing_background", "cancel_indexing_background"])
DELETING: Final = frozenset(["delete_index"])

READER: Final = READING | FOLLOWING
WRITER: Final = READER | CHANGING
OWNER: Final = WRITER | DELETING
NOTHING: Final = frozenset[str]()
UNKNOWN: Final = None
"""Of a caller who is not let in at all."""

Expected = dict[str, frozenset[str] | None]

SHOP: Final = index_name("/work/shop", target_of("/work/shop", None))


def arguments_of(roots: Path) -> dict[str, dict[str, Any]]:
    """Arguments that are right for each tool; what they name need not be there."""
    return {
        "search_code": {"query": "checkout"},
        "read_code": {"path": "shop.py"},
        "list_files": {},
        "list_repositories": {},
        "get_indexing_status": {"job_id": str(uuid4())},
        "list_indexing_jobs": {},
        "start_indexing_background": {"repo_path": str(roots / "shop")},
        "cancel_indexing_background": {"job_id": str(uuid4())},
        "delete_index": {"repo": "/work/not-there"},
    }


async def matrix(served: Served, tokens: dict[str, str | None], roots: Path) -> Expected:
    """Call every tool as every caller; return which passed."""
    calls, table = arguments_of(roots), Expected()
    for caller, token in tokens.items():
        texts = {tool: await served.text(token, tool, **arguments) for tool, arguments in calls.items()}
        assert not [text for text in texts.values() if text.startswith(("internal error", "unavailable", "5"))]
        is_out = {text == "401" for text in texts.values()}
        assert len(is_out) == 1, f"{caller} is let in by some tools: {texts}"
        passed = frozenset(tool for tool, text in texts.items() if not text.startswith("forbidden: "))
        table[caller] = UNKNOWN if is_out == {True} else passed
    return table


async def test_by_kubernetes(serving_with: Serving, api_server: ApiServer, roots: Path, shop: Any) -> None:
    await shop.completed({"shop.py": "def checkout(): pass"}, path="/work/shop")
    await shop.completed({"bank.py": "def checkout(): pass"}, path="/work/bank")
    names = ("nobody", "reader", "writer", "owner", "elsewhere", "one", "by-group", "wrong-audience")
    api_server.tokens = {name: User(f"system:serviceaccount:agents:{name}") for name in names}
    api_server.tokens["wrong-audience"] = User("admin", audiences=("https://kubernetes.default.svc",))
    api_server.tokens["by-group"] = User("ann", groups=("developers",), extra=("a",))
    jobs, verbs = "indexingjobs", {
        "reader": ("get", "list"), "by-group": ("get", "list"), "writer": ("get", "list", "create", "patch"),
        "owner": ("get", "list", "create", "patch", "delete", "prioritize"),
    }  # fmt: skip
    for name, allowed in verbs.items():
        subject = "developers" if name == "by-group" else api_server.tokens[name].name
        api_server.rules += [
            Rule(subject, jobs, allowed, NAMESPACE),
            Rule(subject, "indexes", ("get",), NAMESPACE),
        ]
    elsewhere, one = api_server.tokens["elsewhere"].name, api_server.tokens["one"].name
    api_server.rules += [Rule(elsewhere, what, verbs["owner"], "elsewhere") for what in (jobs, "indexes")]
    api_server.rules.append(Rule(one, "indexes", ("get",), NAMESPACE, (SHOP,)))
    tokens: dict[str, str | None] = {name: name for name in names}
    tokens |= {"no token": None, "garbage": "x" * 500, "expired": "expired"}
    async with serving_with(CODEBASE_AUTH="kubernetes") as served:
        assert await matrix(served, tokens, roots) == {
            "no token": UNKNOWN, "garbage": UNKNOWN, "expired": UNKNOWN, "wrong-audience": UNKNOWN,
            "nobody": NOTHING, "elsewhere": NOTHING, "one": READING,
            "reader": READER, "by-group": READER, "writer": WRITER, "owner": OWNER,
        }  # fmt: skip
        found = await served.post("one", "search_code", {"query": "checkout", "mode": "text"})
        content = found.json()["result"]["structuredContent"]
        assert [result["path"] for result in content["results"]] == ["shop.py"]
        assert "bank" not in found.text
        listed = (await served.post("one", "list_repositories", {})).json()["result"]["structuredContent"]
        assert [entry["access_name"] for entry in listed["repositories"]] == [SHOP]
        hidden = await served.text("one", "read_code", path="bank.py", repo="/work/bank")
        absent = await served.text("one", "read_code", path="bank.py", repo="/work/bunk")
        assert hidden.replace("/work/bank", "") == absent.replace("/work/bunk", "")
        start = {"repo_path": str(roots / "shop"), "priority": 5}
        assert (await served.text("writer", "start_indexing_background", **start)).startswith("forbidden: ")
        assert "job_id" in await served.text("owner", "start_indexing_background", **start)
    asked = [review for review in api_server.reviews if review.get("user") == "ann"]
    assert asked[0]["extra"] == {"example.org/scopes": ["a"]} and asked[0]["groups"] == ["developers"]


async def test_two_namespaces_on_one_database_have_a_server_and_owners_each(
    serving_with: Serving, api_server: ApiServer, roots: Path, shop: Any
) -> None:
    for team in ("team-a", "team-b"):
        await shop.completed({f"{team}.py": "def checkout(): pass"}, path=f"/work/{team}", namespace=team)
        api_server.tokens[team] = User(f"owner-of-{team}")
        verbs = ("get", "list", "create", "patch", "delete", "prioritize")
        rights = (("indexingjobs", verbs), ("indexes", ("get",)))
        api_server.rules += [Rule(f"owner-of-{team}", resource, allowed, team) for resource, allowed in rights]
    tokens: dict[str, str | None] = {"team-a": "team-a", "team-b": "team-b"}
    for own, other in (("team-a", "team-b"), ("team-b", "team-a")):
        async with serving_with(CODEBASE_AUTH="kubernetes", CODEBASE_NAMESPACE=own) as served:
            assert await matrix(served, tokens, roots) == {own: OWNER, other: NOTHING}
            found = await served.text(own, "search_code", query="checkout", mode="text")
            listed = await served.text(own, "list_repositories") + await served.text(own, "list_indexing_jobs")
        assert f"{own}.py" in found and other not in found + listed


async def test_by_oidc(serving_with: Serving, roots: Path, shop: Any) -> None:
    await shop.completed({"shop.py": "def checkout(): pass"}, path="/work/shop")
    grants: list[dict[str, object]] = [
        {"group": f"{role}s", "role": role} for role in ("reader", "writer", "owner")
    ]
    grants.append({"group": "others", "role": "owner", "namespaces": ["elsewhere"]})
    grants.append({"group": "shop", "role": "reader", "repositories": [SHOP]})
    now = int(time.time())
    async with Issuer().serving() as issuer:
        good = issuer.token("ann", "owners")
        tokens: dict[str, str | None] = {
            "no token": None,
            "garbage": "x.y.z",
            "expired": issuer.token(exp=now - 90),
            "expired within the skew": issuer.token("ann", "readers", exp=now - 20),
            "not yet": issuer.token(nbf=now + 90),
            "wrong audience": issuer.token(aud="https://other.example.org/mcp"),
            "wrong issuer": issuer.token(iss="https://issuer.example.org"),
            "no expiry": issuer.token(exp=None),
            "another's key": issuer.token("ann", "owners", key=Key("first")),
            "unknown key": issuer.token("ann", "owners", key=Key("second")),
            "no signature": jwt.encode(
                {"iss": issuer.url, "aud": AUDIENCE, "sub": "ann", "exp": now + 600}, "", "none"
            ),
            "shared secret": signed_with_the_public_key(issuer, now),
            "changed": f"{good[:-8]}AAAAAAAA",
            "no group": issuer.token("ann"),
            "group of nothing": issuer.token("ann", "guests"),
            "elsewhere": issuer.token("ann", "others"),
            "one": issuer.token("ann", "shop"),
            "reader": issuer.token("ann", "readers"),
            "writer": issuer.token("ann", "writers", "readers"),
            "owner": good,
        }  # fmt: skip
        settings = {"CODEBASE_OIDC_ISSUER": issuer.url, "CODEBASE_PUBLIC_URL": AUDIENCE}
        async with serving_with(
            CODEBASE_AUTH="oidc", CODEBASE_OIDC_GRANTS=json.dumps(grants), **settings
        ) as served:
            assert await matrix(served, tokens, roots) == {
                **dict.fromkeys(list(tokens)[:13], UNKNOWN),
                "expired within the skew": READER,
                **dict.fromkeys(["no group", "group of nothing", "elsewhere"], NOTHING),
                "one": READING, "reader": READER, "writer": WRITER, "owner": OWNER,
            }  # fmt: skip
            metadata = (await served.http.get("/.well-known/oauth-protected-resource/mcp")).json()
            refused = await served.post(tokens["expired"], "list_files", {})
    assert (metadata["resource"], metadata["authorization_servers"]) == (AUDIENCE, [issuer.url])
    challenge = refused.headers["WWW-Authenticate"]
    assert 'error="invalid_token", error_description="the token has expired"' in challenge
    assert 'resource_metadata="https://mcp.example.org/.well-known/oauth-protected-resource/mcp"' in challenge


def signed_with_the_public_key(issuer: Issuer, now: int) -> str:
    """A token of somebody who takes the public key for a shared secret; the library makes none."""

    def encoded(value: bytes) -> bytes:
        return base64.urlsafe_b64encode(value).rstrip(b"=")

    claims = {"iss": issuer.url, "aud": AUDIENCE, "sub": "ann", "exp": now + 600, "groups": ["owners"]}
    header = {"alg": "HS256", "typ": "JWT", "kid": issuer.keys[0].id}
    signed = b".".join(encoded(json.dumps(part).encode()) for part in (header, claims))
    secret = json.dumps(issuer.keys[0].public).encode()
    return (signed + b"." + encoded(hmac.digest(secret, signed, "sha256"))).decode()


async def test_by_static_tokens(serving_with: Serving, roots: Path, shop: Any, tmp_path: Path) -> None:
    await shop.completed({"shop.py": "def checkout(): pass"}, path="/work/shop")

    def entry(token: str, role: str, **more: object) -> dict[str, object]:
        return {"name": token, "sha256": hashlib.sha256(token.encode()).hexdigest(), "role": role, **more}

    file = tmp_path / "tokens.yaml"
    entries = [
        entry("reader", "reader"), entry("writer", "writer", namespaces=[NAMESPACE]), entry("owner", "owner"),
        entry("elsewhere", "owner", namespaces=["elsewhere"]), entry("one", "reader", repositories=[SHOP]),
        entry("expired", "owner", expires="2020-01-01T00:00:00Z"),
    ]  # fmt: skip
    file.write_text(yaml.safe_dump({"tokens": entries}))
    tokens: dict[str, str | None] = {str(one["name"]): str(one["name"]) for one in entries}
    tokens |= {"no token": None, "garbage": "x" * 500, "the digest": str(entries[2]["sha256"])}
    async with serving_with(CODEBASE_AUTH="tokens", CODEBASE_TOKENS_FILE=str(file)) as served:
        assert await matrix(served, tokens, roots) == {
            **dict.fromkeys(["no token", "garbage", "the digest", "expired"], UNKNOWN),
            "elsewhere": NOTHING, "one": READING, "reader": READER, "writer": WRITER, "owner": OWNER,
        }  # fmt: skip


async def test_without_identity_everybody_may_everything_and_the_server_says_so(
    serving_with: Serving, roots: Path, shop: Any
) -> None:
    await shop.completed({"shop.py": "def checkout(): pass"}, path="/work/shop")
    async with serving_with(CODEBASE_AUTH="none") as served:
        assert await matrix(served, {"anybody": None, "somebody": "x"}, roots) == {
            "anybody": OWNER,
            "somebody": OWNER,
        }
        health = (await served.http.get("/healthz")).json()
    assert health["authentication"]["mode"] == "none" and "insecure" in health["authentication"]["warning"]


async def test_a_read_only_server_changes_nothing_for_anybody(serving_with: Serving, roots: Path) -> None:
    async with serving_with(CODEBASE_AUTH="none", CODEBASE_READ_ONLY="true") as served:
        for tool in CHANGING | DELETING:
            assert (await served.text(None, tool, **arguments_of(roots)[tool])).startswith("read-only: "), tool
        assert "jobs" in await served.text(None, "list_indexing_jobs")
