"""Identity by the Kubernetes API: it says whose a token is (TokenReview), and what that one may
(SubjectAccessReview). Needs the ClusterRole `system:auth-delegator`, and nothing else.
"""

import asyncio
import hashlib
import time
from collections.abc import Callable
from typing import Any, Final

import aiohttp
from cachetools import TLRUCache
from kubernetes.aio import client
from kubernetes.aio.client.exceptions import ApiException

from codebase_index.api.job import GROUP
from codebase_mcp.identity.authenticator import AuthenticationUnavailable, Authenticator, Unauthenticated
from codebase_mcp.identity.authority import (
    ALLOWED_SECONDS,
    REFUSED_SECONDS,
    Authority,
    AuthorityUnavailable,
)
from codebase_mcp.identity.principal import Method, Principal
from codebase_mcp.identity.rights import Question, covered

TIMEOUT_SECONDS: Final = 3.0
"""A review takes milliseconds; three seconds allow for a busy API server, not for one that is down."""

MAX_REVIEWS: Final = 16
"""Reviews of tokens at once: a flood of made-up ones must not become one at the API server."""

MAX_WAITING: Final = 64
"""Tokens that wait for their review; further ones are refused at once."""

MAX_TOKENS: Final = 10_000
"""Tokens whose owners are remembered."""


class TokenReviews(Authenticator):
    """Asks the API server whose a token is. It has to be meant for this server: for one of its audiences."""

    def __init__(
        self, api: client.ApiClient, audiences: tuple[str, ...], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._api: Any = client.AuthenticationV1Api(api)
        self._audiences = audiences
        self._free = asyncio.Semaphore(MAX_REVIEWS)
        self._waiting = 0
        self._known: TLRUCache[bytes, Principal | str] = TLRUCache(
            MAX_TOKENS,
            lambda _, found, now: now + (ALLOWED_SECONDS if isinstance(found, Principal) else REFUSED_SECONDS),
            clock,
        )
        self.advice = (
            f"`kubectl create token SERVICE_ACCOUNT --audience={audiences[0]}` makes one, and a pod gets one from "
            f"a projected volume with the audience {audiences[0]}"
        )

    async def authenticate(self, token: str) -> Principal:
        """Return whose it is, or was a short while ago. Raises Unauthenticated and AuthenticationUnavailable."""
        key = hashlib.sha256(token.encode()).digest()  # a dump of the memory has no tokens that are over
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = await self._review(token)
        if isinstance(found, Principal):
            return found
        raise Unauthenticated(found)

    async def _review(self, token: str) -> Principal | str:
        """Return whose it is, or why it is nobody's. Raises AuthenticationUnavailable."""
        if self._waiting >= MAX_WAITING:
            raise AuthenticationUnavailable("too many tokens wait for their check")
        self._waiting += 1
        try:
            async with self._free:
                status = await self._ask(token)
        finally:
            self._waiting -= 1
        if not status.authenticated or status.user is None or not status.user.username:
            return f"the Kubernetes API does not accept the token for the audience {' or '.join(self._audiences)}"
        if not set(status.audiences or ()) & set(self._audiences):
            return f"the token is not for the audience {' or '.join(self._audiences)}"
        user = status.user
        return Principal(
            user.username, Method.KUBERNETES, tuple(user.groups or ()), (), user.uid or "",
            tuple(sorted((name, tuple(values)) for name, values in (user.extra or {}).items())),
        )  # fmt: skip

    async def _ask(self, token: str) -> Any:
        spec = client.V1TokenReviewSpec(token=token, audiences=list(self._audiences))
        try:
            review = await self._api.create_token_review(
                client.V1TokenReview(spec=spec), _request_timeout=TIMEOUT_SECONDS
            )
        except Exception as error:
            raise AuthenticationUnavailable(_reason(error, "tokens (tokenreviews)")) from error
        return review.status


class AccessReviews(Authority):
    """Asks the API server what a principal may, by all that the cluster's authorizers know."""

    def __init__(self, api: client.ApiClient) -> None:
        self._api: Any = client.AuthorizationV1Api(api)

    async def may(self, principal: Principal, question: Question, /) -> bool:
        """Say whether it may. Raises AuthorityUnavailable. The owner of the process is none of the cluster's."""
        if principal.method is not Method.KUBERNETES:
            return covered(principal.grants, question)
        spec = client.V1SubjectAccessReviewSpec(
            user=principal.name,
            groups=list(principal.groups),
            uid=principal.uid or None,
            extra={name: list(values) for name, values in principal.extra} or None,
            resource_attributes=client.V1ResourceAttributes(
                group=GROUP, resource=question.right.resource, verb=question.right.verb,
                namespace=question.namespace, name=question.index,
            ),
        )  # fmt: skip
        try:
            review = await self._api.create_subject_access_review(
                client.V1SubjectAccessReview(spec=spec), _request_timeout=TIMEOUT_SECONDS
            )
        except Exception as error:
            raise AuthorityUnavailable(_reason(error, "rights (subjectaccessreviews)")) from error
        return bool(review.status and review.status.allowed and not review.status.denied)


def _reason(error: Exception, what: str) -> str:
    """Say why there was no review. Whatever went wrong, nobody is let in."""
    if isinstance(error, ApiException) and error.status in (401, 403):
        return (
            f"the Kubernetes API does not let this server ask about {what}; its service account needs the "
            "ClusterRole system:auth-delegator"
        )
    if isinstance(error, ApiException):
        return f"the Kubernetes API does not answer about {what} (HTTP {error.status})"
    if isinstance(error, aiohttp.ClientError | TimeoutError | OSError):
        return f"the Kubernetes API does not answer about {what} ({type(error).__name__})"
    return f"the Kubernetes API gave no answer about {what} that can be read ({type(error).__name__})"
