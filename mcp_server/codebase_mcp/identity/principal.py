"""Who calls: a principal, and how that is known."""

import hashlib
from contextlib import AbstractContextManager
from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from codebase_index.context_value import set_for_block
from codebase_mcp.identity.rights import EVERYTHING, Grant


class Method(StrEnum):
    """How it is known who calls."""

    OWNER = (
        "owner"  # over standard streams, the instance's socket, or with the token that its owner alone can read
    )
    NONE = "none"  # nobody was asked
    KUBERNETES = "kubernetes"
    OIDC = "oidc"
    TOKEN = "token"  # noqa: S105 - a static one


@dataclass(frozen=True)
class Principal:
    """Somebody who calls. Two that are equal have the same rights.

    `grants` are rights that came with the proof of who it is; the Kubernetes API is asked for all others. `uid`
    and `extra` are what it has to be told for that.
    """

    name: str
    method: Method
    groups: tuple[str, ...] = ()
    grants: tuple[Grant, ...] = ()
    uid: str = ""
    extra: tuple[tuple[str, tuple[str, ...]], ...] = ()

    @property
    def is_known(self) -> bool:
        """Whether it is one of several that are told apart."""
        return self.method in (Method.KUBERNETES, Method.OIDC, Method.TOKEN)

    @property
    def key(self) -> str:
        """The key by which its shares are counted; names of different methods may be the same."""
        return f"{self.method}:{self.name}"

    @property
    def groups_digest(self) -> str | None:
        """A digest of the groups for the log: which there are may be confidential, and they are many."""
        if not self.groups:
            return None
        return hashlib.sha256("\0".join(sorted(self.groups)).encode()).hexdigest()[:16]


OWNER: Final = Principal("owner", Method.OWNER, grants=(EVERYTHING,))
ANYBODY: Final = Principal("anybody", Method.NONE, grants=(EVERYTHING,))

_principal: ContextVar[Principal | None] = ContextVar("principal", default=None)


def current() -> Principal | None:
    """Return who calls; None: no transport has said so, and nothing is allowed."""
    return _principal.get()


def principal_context(principal: Principal) -> AbstractContextManager[None]:
    """Make `current` return this principal, in the block and in the tasks that it starts."""
    return set_for_block(_principal, principal)
