"""What identity asks of a Kubernetes API server, over real HTTP: reviews of tokens and of access, and jobs.

The cluster's suite asks the real one (test_real_api_server.py). Here the rules are those that a test
gives, and it can take them back, or let the server be away.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from aiohttp import web

from codebase_index.api.job import GROUP, VERSION
from tests.support.web_server import served


@dataclass(frozen=True)
class User:
    """Whose a token is, and which audiences it is for."""

    name: str
    groups: tuple[str, ...] = ()
    audiences: tuple[str, ...] = ("codebase-mcp",)
    extra: tuple[str, ...] = ()


@dataclass(frozen=True)
class Rule:
    """RBAC: a user or group may use verbs on a resource in a namespace; with names, on those objects alone."""

    subject: str
    resource: str
    verbs: tuple[str, ...]
    namespace: str
    names: tuple[str, ...] = ()


@dataclass
class ApiServer:
    """An API server that knows these tokens and rules."""

    tokens: dict[str, User] = field(default_factory=dict)
    rules: list[Rule] = field(default_factory=list)
    is_away: bool = False
    jobs: list[dict[str, Any]] = field(default_factory=list)
    reviews: list[dict[str, Any]] = field(default_factory=list)
    """The specs of all reviews that it was asked for."""
    url: str = ""

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["ApiServer"]:
        """Serve on a free port as long as the block."""
        jobs = f"/apis/{GROUP}/{VERSION}/namespaces/{{namespace}}/indexingjobs"
        app = web.Application()
        app.router.add_post("/apis/authentication.k8s.io/v1/tokenreviews", self._token_review)
        app.router.add_post("/apis/authorization.k8s.io/v1/subjectaccessreviews", self._access_review)
        app.router.add_get(jobs, self._list)
        app.router.add_post(jobs, self._create)
        async with served(app) as self.url:
            yield self

    async def _token_review(self, request: web.Request) -> web.Response:
        spec = await self._spec(request)
        user = self.tokens.get(spec["token"])
        audiences = sorted(set(user.audiences) & set(spec["audiences"])) if user else []
        status: dict[str, Any] = {"authenticated": False}
        if user and audiences:
            extra = {"example.org/scopes": list(user.extra)} if user.extra else {}
            said = {"username": user.name, "groups": list(user.groups), "uid": "u-1", "extra": extra}
            status = {"authenticated": True, "audiences": audiences, "user": said}
        return web.json_response({"kind": "TokenReview", "spec": spec, "status": status}, status=201)

    async def _access_review(self, request: web.Request) -> web.Response:
        spec = await self._spec(request)
        asked, subjects = spec["resourceAttributes"], {spec["user"], *spec.get("groups", ())}
        allowed = asked["group"] == GROUP and any(
            rule.subject in subjects
            and (rule.resource, rule.namespace) == (asked["resource"], asked["namespace"])
            and asked["verb"] in rule.verbs
            and (not rule.names or asked.get("name") in rule.names)
            for rule in self.rules
        )
        review = {"kind": "SubjectAccessReview", "spec": spec, "status": {"allowed": allowed}}
        return web.json_response(review, status=201)

    async def _spec(self, request: web.Request) -> dict[str, Any]:
        if self.is_away:
            raise web.HTTPServiceUnavailable
        spec: dict[str, Any] = (await request.json())["spec"]
        self.reviews.append(spec)
        return spec

    async def _list(self, request: web.Request) -> web.Response:
        unlabelled = request.query.get("labelSelector", "").startswith("!")
        return web.json_response({"kind": "IndexingJobList", "items": [] if unlabelled else self.jobs})

    async def _create(self, request: web.Request) -> web.Response:
        job = await request.json()
        job["metadata"] |= {
            "uid": str(uuid4()), "namespace": request.match_info["namespace"],
            "creationTimestamp": "2026-01-01T00:00:00Z",
        }  # fmt: skip
        self.jobs.append(job)
        return web.json_response(job, status=201)
