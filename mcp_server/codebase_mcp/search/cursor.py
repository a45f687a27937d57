"""The cursor of the next page: the client keeps it, so that servers have no state.

It holds nothing secret, and is validated rather than signed: a forged one can ask only for what its request could
ask for anyway. Pure.
"""

import base64
import binascii
import hashlib
import json
from dataclasses import dataclass
from typing import Any, Final

from codebase_index.store.query.text_search import TextPosition
from codebase_mcp.errors import UserError

_VERSION: Final = 1
_MAX_OFFSET: Final = 100_000
_MAX_PATH_LENGTH: Final = 4096
MAX_CURSOR_LENGTH: Final = 16_384
"""Characters of a cursor: a path of 4,096 characters, escaped and encoded, fits."""


@dataclass(frozen=True)
class Cursor:
    """A position in the answer to a request.

    `request` and `state` are digests: of what was asked, and of the indexes as they were then. The position is an
    offset into a ranked list, or a place after which text is still to be searched.
    """

    request: str
    state: str
    offset: int = 0
    position: TextPosition | None = None

    def encode(self) -> str:
        """Encode it with letters, digits, - and _."""
        position = [self.position.index_id, self.position.path, self.position.line] if self.position else None
        values = [_VERSION, self.request, self.state, self.offset, position]
        packed = json.dumps(values, separators=(",", ":"), ensure_ascii=False).encode()
        return base64.urlsafe_b64encode(packed).decode().rstrip("=")


def decode(text: str, request: str) -> Cursor:
    """Read a cursor that belongs to a request with this digest. Raises UserError."""
    try:
        # urlsafe_b64decode drops what it does not know; the validating form has the other alphabet.
        standard = text.translate(str.maketrans("-_", "+/")) + "=" * (-len(text) % 4)
        cursor = _cursor(json.loads(base64.b64decode(standard, validate=True)))
        if cursor.encode() != text:
            raise ValueError("not as this server writes it")
    except (binascii.Error, ValueError, TypeError, RecursionError) as error:
        raise UserError(
            "validation: cursor is invalid; repeat the call with the unchanged next_cursor of the previous page, "
            "or leave cursor out to start with the first page"
        ) from error
    if cursor.request != request:
        raise UserError(
            "validation: cursor belongs to another search; query, mode, repo, path and language must be those of "
            "the previous page (limit and detail may change); repeat them, or leave cursor out to start again"
        )
    return cursor


def _cursor(values: Any) -> Cursor:
    version, request, state, offset, position = values
    well_formed = (
        version == _VERSION
        and isinstance(request, str)
        and isinstance(state, str)
        and type(offset) is int
        and 0 <= offset <= _MAX_OFFSET
    )
    if not well_formed:
        raise ValueError("not a cursor")
    return Cursor(request, state, offset, None if position is None else _place(position))


def _place(values: Any) -> TextPosition:
    index_id, path, line = values
    well_formed = (
        type(index_id) is int
        and 0 <= index_id < 2**63
        and isinstance(path, str)
        and len(path) <= _MAX_PATH_LENGTH
        and "\0" not in path
        and type(line) is int
        and 0 <= line < 2**31
    )
    if not well_formed:
        raise ValueError("not a place")
    path.encode()  # raises for half a surrogate pair, which no path in the database holds
    return TextPosition(index_id, path, line)


def digest(*values: object) -> str:
    """Return a digest of values: equal for equal values."""
    text = json.dumps(values, separators=(",", ":"), default=str)
    return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()
