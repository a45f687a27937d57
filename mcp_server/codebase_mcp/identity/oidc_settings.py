"""Whose tokens are taken: what `oidc.py` is set to. Apart from it, since the cryptography that it imports takes a
third of the server's start.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from codebase_mcp.identity.rights import Grant


@dataclass(frozen=True)
class OidcSettings:
    """Whose tokens are taken, and what they are good for."""

    issuer: str
    """URL under which `/.well-known/openid-configuration` lies; tokens have it as `iss`."""

    audience: str
    """What tokens have to have as `aud`: the URL of this server (RFC 8707)."""

    grants: Mapping[str, tuple[Grant, ...]]
    """By group: what its members may."""

    groups_claim: str = "groups"
    name_claim: str = "sub"


def is_safe(url: str) -> bool:
    """Say whether nobody between can change what comes from a URL: https, or this machine's own."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme == "https" or (
        parts.scheme == "http" and parts.hostname in ("127.0.0.1", "::1", "localhost")
    )
