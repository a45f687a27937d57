"""Which way the server asks who calls: settings from the environment."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from codebase_index.api.job import AUDIENCE
from codebase_mcp.identity.oidc_settings import OidcSettings, is_safe
from codebase_mcp.identity.rights import Grant
from codebase_mcp.identity.static_tokens import GrantSpec

_AUDIENCE: Final = re.compile(r"[\x21-\x7e]{1,253}")


class Mode(StrEnum):
    """How the server finds out who calls over HTTP."""

    KUBERNETES = "kubernetes"
    OIDC = "oidc"
    TOKENS = "tokens"
    NONE = "none"


class GroupGrant(GrantSpec):
    """What the members of a group may."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    group: Annotated[str, Field(min_length=1, max_length=1000)]


_GROUP_GRANTS: Final = TypeAdapter(tuple[GroupGrant, ...])


@dataclass(frozen=True)
class AuthSettings:
    """How the server finds out who calls over HTTP, with what that way needs."""

    mode: Mode
    audiences: tuple[str, ...] = (AUDIENCE,)
    """Of mode kubernetes: what tokens have to be for one of."""

    tokens_file: Path | None = None
    """Of mode tokens: the file of the tokens' digests, `static_tokens.TokensFile`."""

    owner_token: str | None = field(default=None, repr=False)
    """Of mode tokens: instead of the file, the one token of a server that is one user's. Never logged."""

    oidc: OidcSettings | None = None
    """Of mode oidc."""

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> "AuthSettings | None":
        """Read the environment; None: nothing is said. Raises ValueError, which names the variable."""
        owner_token = _owner_token(env)
        text = env.get("CODEBASE_AUTH") or ("tokens" if owner_token else "")
        if not text:
            return None
        if text not in tuple(Mode):
            raise ValueError(f"CODEBASE_AUTH is {text!r}; set it to one of {', '.join(Mode)}")
        mode = Mode(text)
        if mode is not Mode.TOKENS:
            oidc = _oidc(env) if mode is Mode.OIDC else None
            return cls(mode, _audiences(env), oidc=oidc)
        if owner_token:
            return cls(mode, owner_token=owner_token)
        file = env.get("CODEBASE_TOKENS_FILE")
        if not file:
            raise ValueError("CODEBASE_AUTH is tokens: set CODEBASE_TOKENS_FILE to the file of their digests")
        return cls(mode, tokens_file=Path(file))

    @property
    def described(self) -> dict[str, Any]:
        """What anybody may know of it, for the health answer."""
        more: dict[str, Any] = {"audiences": list(self.audiences)} if self.mode is Mode.KUBERNETES else {}
        if self.mode is Mode.NONE:
            more = {"warning": "insecure: whoever reaches this port reads every index and starts and cancels jobs"}
        return {"authentication": {"mode": self.mode.value, **more}}

    @property
    def tells_callers_apart(self) -> bool:
        """Whether callers have different rights."""
        return self.mode is not Mode.NONE and self.owner_token is None


def _owner_token(env: Mapping[str, str]) -> str | None:
    file = env.get("CODEBASE_TOKEN_FILE")
    if not file:
        return None
    try:
        token = Path(file).read_text().strip()
    except (OSError, ValueError) as error:
        raise ValueError(f"CODEBASE_TOKEN_FILE cannot be read ({type(error).__name__}: {file})") from error
    if not token:
        raise ValueError(f"CODEBASE_TOKEN_FILE ({file}) is empty; put a long random token into it")
    return token


def _audiences(env: Mapping[str, str]) -> tuple[str, ...]:
    given = env.get("CODEBASE_AUTH_AUDIENCES", "").split(",")
    audiences = tuple(text.strip() for text in given if text.strip()) or (AUDIENCE,)
    for audience in audiences:
        if not _AUDIENCE.fullmatch(audience):
            raise ValueError(f"CODEBASE_AUTH_AUDIENCES holds {audience!r}; give names without spaces")
    return audiences


def _oidc(env: Mapping[str, str]) -> OidcSettings:
    issuer, url = env.get("CODEBASE_OIDC_ISSUER", ""), env.get("CODEBASE_PUBLIC_URL", "")
    for name, value in (("CODEBASE_OIDC_ISSUER", issuer), ("CODEBASE_PUBLIC_URL", url)):
        if not is_safe(value):
            raise ValueError(f"{name} is {value!r}; set it to an https URL (http on this machine alone)")
    return OidcSettings(
        issuer,
        url,
        _grants_by_group(env.get("CODEBASE_OIDC_GRANTS") or "[]"),
        env.get("CODEBASE_OIDC_GROUPS_CLAIM") or "groups",
        env.get("CODEBASE_OIDC_NAME_CLAIM") or "sub",
    )


def _grants_by_group(text: str) -> dict[str, tuple[Grant, ...]]:
    try:
        given = _GROUP_GRANTS.validate_python(json.loads(text), strict=False)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise ValueError(f"CODEBASE_OIDC_GRANTS is malformed at {where}: {first['msg']}") from None
    except ValueError as error:
        raise ValueError(
            'CODEBASE_OIDC_GRANTS is no JSON; give a list such as [{"group": "developers", "role": "writer"}]'
        ) from error
    grants: dict[str, tuple[Grant, ...]] = {}
    for one in given:
        grants[one.group] = (*grants.get(one.group, ()), one.grant())
    return grants
