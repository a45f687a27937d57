"""Opens what the settings ask for: what identifies a token's owner, and what decides the owner's rights."""

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

from kubernetes.aio import client

from codebase_mcp.identity.authenticator import Anybody, Authenticator
from codebase_mcp.identity.authority import Authority, Grants, Remembered
from codebase_mcp.identity.kubernetes import AccessReviews, TokenReviews
from codebase_mcp.identity.settings import AuthSettings, Mode
from codebase_mcp.identity.static_tokens import StaticTokens

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Identity:
    """What identifies a token's owner, and what decides the owner's rights."""

    authenticator: Authenticator
    authority: Authority


@asynccontextmanager
async def open_identity(
    settings: AuthSettings, kubernetes: Callable[[], AbstractAsyncContextManager[client.ApiClient]]
) -> AsyncIterator[Identity]:
    """Yield what the settings ask for; nobody has to answer yet. Raises TokensInvalid.

    `kubernetes` opens a client of the Kubernetes API.
    """
    if settings.mode is Mode.KUBERNETES:
        async with kubernetes() as api:
            yield Identity(TokenReviews(api, settings.audiences), Remembered(AccessReviews(api)))
    elif settings.oidc is not None:
        import httpx

        from codebase_mcp.identity.oidc import IssuerKeys, OidcTokens

        async with httpx.AsyncClient(follow_redirects=False) as http:
            keys = IssuerKeys(settings.oidc.issuer, http)
            yield Identity(OidcTokens(settings.oidc, keys), Grants())
    elif settings.owner_token is not None:
        yield Identity(StaticTokens.of_owner(settings.owner_token), Grants())
    elif settings.tokens_file is not None:
        yield Identity(StaticTokens.of_file(settings.tokens_file), Grants())
    elif settings.mode is Mode.NONE:
        log.warning(
            "INSECURE: CODEBASE_AUTH is none, so whoever reaches this port reads every index, and starts and "
            "cancels jobs; set it to kubernetes, oidc or tokens (auth.mode in the chart)"
        )
        yield Identity(Anybody(), Grants())
    else:  # nobody is let in for want of a setting
        raise ValueError(f"mode {settings.mode} lacks what identifies a token's owner; this server is at fault")
