"""Static tokens: a file says whose each is, what it may and until when; of the token itself it has a digest alone.

The file is a Secret's, so it is read again when it has changed. Tokens are long and random: a plain digest of one
tells nothing of it, and nobody can try them all.
"""

import hashlib
import hmac
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import yaml
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator

from codebase_mcp.identity.authenticator import AuthenticationUnavailable, Authenticator, Unauthenticated
from codebase_mcp.identity.principal import OWNER, Method, Principal
from codebase_mcp.identity.rights import Grant, Right, Role

log = logging.getLogger(__name__)

LOOK_SECONDS: Final = 1.0
"""How often it is looked whether the file has changed, at most."""

MAX_FILE_BYTES: Final = 1024 * 1024
"""A Secret has no room for more."""

_ADVICE: Final = "those who run this server give one out"


class GrantSpec(BaseModel):
    """What a role is given for, as people write it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    role: Role
    namespaces: tuple[str, ...] | None = None
    repositories: tuple[str, ...] | None = None
    """Names of indexes, as list_repositories shows them."""

    @model_validator(mode="after")
    def _names_go_with_reading(self) -> "GrantSpec":
        if self.repositories is not None and self.role is not Role.READER:
            raise ValueError("repositories goes with role reader: jobs have rights by namespace alone")
        return self

    def grant(self) -> Grant:
        """Return it as the gate reads it."""
        return Grant(
            frozenset([Right.READ]) if self.repositories is not None else self.role.rights,
            None if self.namespaces is None else frozenset(self.namespaces),
            None if self.repositories is None else frozenset(self.repositories),
        )


class TokenSpec(GrantSpec):
    """One token."""

    name: Annotated[str, Field(min_length=1, max_length=100)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    expires: AwareDatetime | None = None


class TokensFile(BaseModel):
    """The file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tokens: Annotated[tuple[TokenSpec, ...], Field(max_length=1000)]

    @model_validator(mode="after")
    def _each_once(self) -> "TokensFile":
        for what in ("name", "sha256"):
            values = [getattr(token, what) for token in self.tokens]
            if len(set(values)) < len(values):
                raise ValueError(f"two tokens have the same {what}")
        return self


@dataclass(frozen=True)
class StaticToken:
    """The digest of a token, and whose it is."""

    digest: bytes
    principal: Principal
    expires: datetime | None = None


class TokensInvalid(ValueError):
    """The file of the tokens cannot be used; the message says why, and holds no digest."""


class StaticTokens(Authenticator):
    """Knows some tokens by their digests."""

    def __init__(
        self,
        load: Callable[[], tuple[StaticToken, ...] | None],
        advice: str = _ADVICE,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`load` returns all tokens, and None while they are those of the time before. Raises TokensInvalid."""
        self.advice = advice
        self._load = load
        self._now = now
        self._tokens = load() or ()

    @classmethod
    def of_file(cls, path: Path) -> "StaticTokens":
        """Return those of a file. Raises TokensInvalid."""
        return cls(_WatchedFile(path).changed)

    @classmethod
    def of_owner(cls, token: str) -> "StaticTokens":
        """Return the one token of a server that is one user's."""
        known = (StaticToken(_digest(token), OWNER),)
        return cls(
            lambda: known,
            "it is in the file that `codebase-mcp status` names, which the owner of this server alone can read",
        )

    async def authenticate(self, token: str) -> Principal:
        """Return whose it is. Raises Unauthenticated and AuthenticationUnavailable."""
        try:
            changed = self._load()
        except TokensInvalid as error:
            raise AuthenticationUnavailable(f"the list of tokens cannot be used ({error})") from error
        if changed is not None:
            self._tokens = changed
        given, found = _digest(token), None
        for known in self._tokens:  # all of them, whichever it is
            if hmac.compare_digest(known.digest, given):
                found = known
        if found is None:
            raise Unauthenticated("the token is not known")
        if found.expires is not None and found.expires <= self._now():
            raise Unauthenticated(f"the token has expired at {found.expires.isoformat(timespec='seconds')}")
        return found.principal


class _WatchedFile:
    """A file of tokens, read when it has changed."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._clock = clock
        self._looked_at = float("-inf")
        self._mark: tuple[int, int, int] | None = None
        self._problem: TokensInvalid | None = None

    def changed(self) -> tuple[StaticToken, ...] | None:
        """Return the tokens if the file has changed. Raises TokensInvalid as long as it cannot be used."""
        now = self._clock()
        if now - self._looked_at >= LOOK_SECONDS:
            self._looked_at = now
            # One that could not be read may be readable now, and look the same: chmod changes no mark.
            if (mark := self._marked()) != self._mark or self._problem:
                before, self._mark, self._problem = self._problem, mark, None
                try:
                    return read_tokens(self._path)
                except TokensInvalid as error:
                    self._problem = error
                    if str(error) != str(before):
                        log.error("nobody is let in: %s", error)
        if self._problem:
            raise self._problem
        return None

    def _marked(self) -> tuple[int, int, int]:
        try:
            found = self._path.stat()
        except OSError:
            return (0, 0, 0)
        return (found.st_ino, found.st_mtime_ns, found.st_size)


def read_tokens(path: Path) -> tuple[StaticToken, ...]:
    """Read a file of tokens, YAML or JSON. Raises TokensInvalid."""
    try:
        with path.open("rb") as file:
            text = file.read(MAX_FILE_BYTES + 1)
        if len(text) > MAX_FILE_BYTES:
            raise TokensInvalid(f"{path} is larger than {MAX_FILE_BYTES} bytes")
        read = TokensFile.model_validate(yaml.safe_load(text) or {})
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise TokensInvalid(f"{path}: {where}: {first['msg']}") from None
    except yaml.YAMLError as error:
        at = getattr(error, "problem_mark", None)
        raise TokensInvalid(f"{path} is no YAML{f' (line {at.line + 1})' if at else ''}") from None
    except (OSError, UnicodeError) as error:
        raise TokensInvalid(f"{path} cannot be read ({type(error).__name__})") from error
    return tuple(
        StaticToken(
            bytes.fromhex(token.sha256),
            Principal(token.name, Method.TOKEN, grants=(token.grant(),)),
            token.expires,
        )
        for token in read.tokens
    )


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
