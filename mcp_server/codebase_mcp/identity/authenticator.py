"""What proves who calls: a bearer token, and the port that every way to check one has."""

from typing import Final, Protocol

from codebase_mcp.identity.principal import ANYBODY, Principal

MAX_TOKEN_LENGTH: Final = 16 * 1024
"""Characters. A token with the names of a thousand groups has half as many."""


class Unauthenticated(Exception):
    """A token is none that is accepted; the message says why, and repeats nothing of it."""


class AuthenticationUnavailable(Exception):
    """Nobody can say now whose token it is, so nobody is let in; the message says who should, and why not."""


class Authenticator(Protocol):
    """Tells whose token it is."""

    advice: str
    """Where a caller gets a token, for those who bring none that is accepted: the end of a sentence."""

    async def authenticate(self, token: str) -> Principal:
        """Return whose it is. Raises Unauthenticated and AuthenticationUnavailable."""
        ...


class Anybody(Authenticator):
    """Asks nobody who it is: `without_token` is everybody."""

    advice = "none is asked for"
    without_token: Final = ANYBODY

    async def authenticate(self, token: str) -> Principal:
        """Return the same for every token."""
        return ANYBODY
