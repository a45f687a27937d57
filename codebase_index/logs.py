"""Structured logs: one JSON object a line on standard error, the same in all programs."""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from codebase_index import tracing

_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}

# Libraries attach whole objects to their records, which would be printed on every line.
_PLAIN = (str, int, float, list, tuple, dict, UUID, datetime)


class JsonFormatter(logging.Formatter):
    """Writes time, level, logger, message, the id of the trace, and every plain `extra` field."""

    def __init__(self, program: str) -> None:
        super().__init__()
        self._program = program

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line of JSON."""
        entry: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "program": self._program,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if trace := tracing.current():
            entry["trace_id"] = trace.trace_id
        entry.update((k, v) for k, v in record.__dict__.items() if k not in _STANDARD and isinstance(v, _PLAIN))
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        # In ASCII: no letter of others that is invisible, turns the line around, or cannot be encoded at all.
        return json.dumps(entry, default=str).replace("\x7f", "\\u007f")


# Libraries that tell at INFO of every event, probe or request that they handle.
_CHATTY = ("kopf.objects", "kopf.activities", "aiohttp.access", "httpx", "uvicorn.access")


def configure(program: str, level: str = "INFO") -> None:
    """Send every log record of this process to standard error as JSON; chatty libraries from WARNING on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(program))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)
