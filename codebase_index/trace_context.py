"""A place in a trace, as the W3C's trace context writes it in a traceparent. Pure."""

import re
from dataclasses import dataclass
from typing import Final

ANNOTATION: Final = "indexing.codebase-mcp.io/traceparent"
"""Where a job's resource carries it."""

VARIABLE: Final = "TRACEPARENT"
"""Where a pod's environment does, as OpenTelemetry names it."""

_FORMAT: Final = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")


@dataclass(frozen=True)
class TraceContext:
    """A place in a trace."""

    trace_id: str
    span_id: str
    flags: str = "01"

    @classmethod
    def parse(cls, text: object) -> "TraceContext | None":
        """Read a traceparent, which anybody may have written; None for what is none."""
        found = _FORMAT.fullmatch(text) if isinstance(text, str) else None
        if found is None or not int(found[1], 16) or not int(found[2], 16):
            return None
        return cls(*found.groups())

    def __str__(self) -> str:
        return f"00-{self.trace_id}-{self.span_id}-{self.flags}"
