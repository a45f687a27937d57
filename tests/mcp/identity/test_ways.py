"""Each way to find out who calls, in what can go wrong with it: outages, rotation, floods, and what is logged."""

import asyncio
import hashlib
import json
import logging
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from kubernetes.aio import client

from codebase_mcp.identity import oidc
from codebase_mcp.identity.authenticator import AuthenticationUnavailable, Unauthenticated
from codebase_mcp.identity.kubernetes import MAX_REVIEWS, MAX_WAITING, TokenReviews
from codebase_mcp.identity.oidc import IssuerKeys, OidcTokens
from codebase_mcp.identity.oidc_settings import OidcSettings
from tests.mcp.identity.api_server import ApiServer, Rule, User
from tests.mcp.identity.conftest import NAMESPACE, Serving
from tests.mcp.identity.issuer import AUDIENCE, Issuer, Key


async def test_an_api_server_that_is_away_lets_nobody_in_and_says_so(
    serving_with: Serving, api_server: ApiServer
) -> None:
    api_server.tokens = {"ann": User("ann")}
    api_server.rules = [Rule("ann", "indexingjobs", ("get", "list"), NAMESPACE)]
    async with serving_with(CODEBASE_AUTH="kubernetes") as served:
        assert (await served.post("ann", "list_indexing_jobs", {})).status_code == 200
        api_server.is_away = True
        refused = await served.post("bob", "list_indexing_jobs", {})
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "10")
        assert refused.text.startswith("unavailable: who calls cannot be found out: the Kubernetes API")
        assert "jobs" in await served.text("ann", "list_indexing_jobs")  # what was allowed a moment ago
        unknown = await served.text("ann", "search_code", query="x")  # a right that nobody has asked about yet
        assert unknown.startswith("unavailable: the Kubernetes API does not answer about rights")


async def test_a_token_is_reviewed_once_and_kept_as_a_digest(api_server: ApiServer) -> None:
    api_server.tokens = {"ann": User("ann")}
    async with client.ApiClient(client.Configuration(host=api_server.url)) as api:
        reviews = TokenReviews(api, ("codebase-mcp",))
        for _ in range(3):
            assert (await reviews.authenticate("ann")).name == "ann"
            with pytest.raises(Unauthenticated):
                await reviews.authenticate("bob")
    assert [review["token"] for review in api_server.reviews] == ["ann", "bob"]
    assert all(isinstance(key, bytes) for key in reviews._known)


async def test_a_flood_of_made_up_tokens_is_bounded_at_the_api_server(api_server: ApiServer) -> None:
    async with client.ApiClient(client.Configuration(host=api_server.url)) as api:
        reviews = TokenReviews(api, ("codebase-mcp",))
        flood = [reviews.authenticate(f"made-up-{number}") for number in range(MAX_WAITING + 40)]
        ends = await asyncio.gather(*flood, return_exceptions=True)
    assert sum(isinstance(end, AuthenticationUnavailable) for end in ends) == 40
    assert len(api_server.reviews) == MAX_WAITING > MAX_REVIEWS


async def test_keys_are_fetched_again_for_a_new_one_but_not_for_every_made_up_one() -> None:
    now = 0.0
    async with Issuer().serving() as issuer, httpx.AsyncClient() as http:
        keys = IssuerKeys(issuer.url, http, lambda: now)
        tokens = OidcTokens(OidcSettings(issuer.url, AUDIENCE, {}), keys)
        assert (await tokens.authenticate(issuer.token("ann"))).name == "ann"
        issuer.keys.append(Key("second"))
        now = oidc.RETRY_SECONDS + 1
        assert (await tokens.authenticate(issuer.token("bob"))).name == "bob"
        assert issuer.fetches == 2
        for number in range(20):
            with pytest.raises(Unauthenticated, match="a key that its issuer does not have"):
                await tokens.authenticate(issuer.token(key=Key(f"made-up-{number}")))
        assert issuer.fetches == 2
        issuer.keys.pop(0)  # withdrawn
        now += oidc.KEYS_SECONDS + 1
        await tokens.authenticate(issuer.token("bob"))
        with pytest.raises(Unauthenticated):
            await tokens.authenticate(issuer.token("ann", key=Key("first")))


async def test_an_issuer_that_is_away_is_done_without_for_an_hour_and_no_longer() -> None:
    now = 0.0
    async with Issuer().serving() as issuer, httpx.AsyncClient() as http:
        tokens = OidcTokens(OidcSettings(issuer.url, AUDIENCE, {}), IssuerKeys(issuer.url, http, lambda: now))
        good = issuer.token("ann")
        issuer.is_away = True
        with pytest.raises(AuthenticationUnavailable):
            await tokens.authenticate(good)
        issuer.is_away, now = False, oidc.RETRY_SECONDS + 1
        await tokens.authenticate(good)
        issuer.is_away, now = True, now + oidc.STALE_SECONDS - 1
        assert (await tokens.authenticate(good)).name == "ann"
        now += oidc.RETRY_SECONDS + 1
        with pytest.raises(AuthenticationUnavailable):
            await tokens.authenticate(good)


@pytest.mark.parametrize("header", ["Basic YTpi", "Bearer", "bearer\tx", "Token x"])
async def test_what_is_no_bearer_token_is_none(serving_with: Serving, header: str, tmp_path: Path) -> None:
    file = tmp_path / "tokens.yaml"
    file.write_text("tokens: []")
    async with serving_with(CODEBASE_AUTH="tokens", CODEBASE_TOKENS_FILE=str(file)) as served:
        answer = await served.post(None, "list_files", {}, Authorization=header)
        two = await served.http.post("/mcp", json={}, headers=[("Authorization", "Bearer a")] * 2)
    assert (answer.status_code, two.status_code) == (401, 401)
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="codebase-mcp"'


async def test_each_call_leaves_a_line_that_says_who_and_what_and_no_secret(
    serving_with: Serving, shop: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await shop.completed({"shop.py": "def checkout(): pass"}, path="/work/shop")
    token = "hunter2" * 6
    file = tmp_path / "tokens.yaml"
    entry = {"name": "ci", "sha256": hashlib.sha256(token.encode()).hexdigest(), "role": "reader"}
    file.write_text(yaml.safe_dump({"tokens": [entry]}))
    with caplog.at_level(logging.INFO):
        async with serving_with(CODEBASE_AUTH="tokens", CODEBASE_TOKENS_FILE=str(file)) as served:
            more = {"User-Agent": "agent/1", "X-Request-Id": "abc-1"}
            answer = await served.post(token, "search_code", {"query": "checkout"}, **more)
            refused = await served.post(token, "cancel_indexing_background", {"job_id": "x"})
    read, cancelled = [r.__dict__ for r in caplog.records if r.name == "codebase_mcp.audit"]
    said = ("principal", "address", "user_agent", "request_id", "tool", "outcome", "repositories")
    assert tuple(read[name] for name in said) == (
        "token:ci", "127.0.0.1", "agent/1", "abc-1", "search_code", "ok", ["/work/shop"],
    )  # fmt: skip
    assert (cancelled["outcome"], cancelled["request_id"]) == (
        "refused: forbidden",
        refused.headers["X-Request-Id"],
    )
    assert answer.headers["X-Request-Id"] == "abc-1"
    of_ours = [r for r in caplog.records if r.name.startswith(("codebase", "uvicorn", "mcp"))]
    written = json.dumps([str(r.__dict__) for r in of_ours])
    assert token not in written and str(entry["sha256"]) not in written and "checkout" not in written
