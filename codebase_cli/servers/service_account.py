"""Tokens of a service account, for a server in a cluster: asked of the API server with the user's kubeconfig.

The kubeconfig's own token is never sent: whoever may label a pod as a server of ours could take it, and be the
user at the API server. One of these is good for nothing but this server, for an hour.
"""

import asyncio
import time
from collections.abc import AsyncGenerator
from typing import Any, Final

import aiohttp
import httpx2
from kubernetes.aio import client
from kubernetes.aio.client.exceptions import ApiException

from codebase_cli.exits import NoServer
from codebase_index.api.job import AUDIENCE

VALID_SECONDS: Final = 3600
RENEWED_SECONDS: Final = 600
"""How long before its end a token is replaced."""

ANSWER_SECONDS: Final = 5.0


class ServiceAccountToken(httpx2.Auth):
    """Sends each request with a token of a service account. Raises NoServer where the API server makes none."""

    def __init__(self, core: client.CoreV1Api, namespace: str, account: str) -> None:
        """Take tokens of `account`, or of `NAMESPACE/ACCOUNT` where it is in another namespace."""
        self._core: Any = core
        given, slash, name = account.partition("/")
        self._namespace, self._account = (given, name) if slash else (namespace, given)
        self._token = ""
        self._renewed_at = float("-inf")
        self._lock = asyncio.Lock()

    async def async_auth_flow(self, request: httpx2.Request) -> AsyncGenerator[httpx2.Request, httpx2.Response]:
        """Send the request with the token."""
        request.headers["Authorization"] = f"Bearer {await self.token()}"
        yield request

    async def token(self) -> str:
        """Return a token that is valid for a while."""
        async with self._lock:
            if time.monotonic() - self._renewed_at > VALID_SECONDS - RENEWED_SECONDS:
                self._token = await self._request()
                self._renewed_at = time.monotonic()
        return self._token

    async def _request(self) -> str:
        spec = client.V1TokenRequestSpec(audiences=[AUDIENCE], expiration_seconds=VALID_SECONDS)
        try:
            made = await self._core.create_namespaced_service_account_token(
                self._account, self._namespace, client.AuthenticationV1TokenRequest(spec=spec),
                _request_timeout=ANSWER_SECONDS,
            )  # fmt: skip
        except ApiException as error:
            raise NoServer(
                f"the API server makes no token of the service account {self._namespace}/{self._account} "
                f"({error.status} {error.reason}); it takes the right to create serviceaccounts/token there"
            ) from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise NoServer(f"the API server does not answer ({type(error).__name__})") from error
        return str(made.status.token)
