"""Where a request comes from, for the log: nothing here is proven, and nothing rests on it."""

import re
from contextlib import AbstractContextManager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final
from uuid import uuid4

from codebase_index import untrusted_text
from codebase_index.context_value import set_for_block
from codebase_mcp.limits.caller import STDIO

_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_MAX_USER_AGENT: Final = 200


@dataclass(frozen=True)
class Origin:
    """Where a request comes from."""

    address: str
    """As `caller.resolve_caller` finds it."""
    request_id: str
    user_agent: str | None = None

    @classmethod
    def of(cls, address: str, user_agent: str | None = None, request_id: str | None = None) -> "Origin":
        """Take what a client says, as far as it may stand in a log; a request without an id gets one."""
        if request_id is None or not _REQUEST_ID.fullmatch(request_id):
            request_id = uuid4().hex
        agent = untrusted_text.line(user_agent)[:_MAX_USER_AGENT] if user_agent else None
        return cls(address, request_id, agent)


_origin: ContextVar[Origin | None] = ContextVar("origin", default=None)


def current() -> Origin:
    """Return where the request that is being answered comes from."""
    return _origin.get() or Origin.of(STDIO)


def origin_context(origin: Origin) -> AbstractContextManager[None]:
    """Make `current` return this, in the block and in the tasks that it starts."""
    return set_for_block(_origin, origin)
