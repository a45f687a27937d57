"""What the operator tells of a job: in kubectl's columns, conditions, events, and the row's message. Pure.

Much of it is others' text: a kubelet's, git's, a model service's, a spec's. Each is one line of visible characters
and of bounded length, wherever it is shown.
"""

from typing import Final

from codebase_index.untrusted_text import line

MESSAGE: Final = 4096
"""Bytes of a status message or a condition's: the CRD takes as many characters."""

EVENT: Final = 1024
"""Bytes of an event's message: what events.k8s.io/v1 takes."""

WORD: Final = 253
"""Bytes of a name, a reason or a hash."""

_CUT: Final = "…"


def told(text: str, most: int = MESSAGE) -> str:
    """Return a text as one visible line of at most so many bytes."""
    encoded = line(text).encode()
    if len(encoded) <= most:
        return encoded.decode()
    return encoded[: most - len(_CUT.encode())].decode(errors="ignore") + _CUT
