"""Text that the operator reports about a job: kubectl columns, conditions, events, the row's message. Pure.

Much of it is untrusted: from a kubelet, git, a model service or a spec. Each text is one line of printable
characters of bounded length, wherever it is shown.
"""

from typing import Final

from codebase_index.untrusted_text import line

MAX_MESSAGE_BYTES: Final = 4096
"""Bytes of a status message or a condition's: the CRD takes as many characters."""

MAX_EVENT_BYTES: Final = 1024
"""Bytes of an event's message: what events.k8s.io/v1 takes."""

MAX_WORD_BYTES: Final = 253
"""Bytes of a name, a reason or a hash."""

_ELLIPSIS: Final = "…"


def single_line(text: str, max_bytes: int = MAX_MESSAGE_BYTES) -> str:
    """Return a text as one line of printable characters, truncated to at most `max_bytes`."""
    encoded = line(text).encode()
    if len(encoded) <= max_bytes:
        return encoded.decode()
    return encoded[: max_bytes - len(_ELLIPSIS.encode())].decode(errors="ignore") + _ELLIPSIS
