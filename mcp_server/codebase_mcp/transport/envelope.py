"""The envelope of a message, JSON-RPC 2.0, checked before the SDK reads it. Pure.

The SDK takes a request with `"id": null` for a notification and answers nothing, so that its client waits for
ever; on standard input it drops what it cannot read without a word; over HTTP it answers with a text of pydantic.
"""

import json
from typing import Any

from mcp_types import INVALID_REQUEST, PARSE_ERROR

from codebase_index.untrusted_text import quoted


def refusal_of(message: bytes | str) -> dict[str, Any] | None:
    """Return the error that answers a message which is none; None for one that may be read."""
    try:
        value = json.loads(message)
    except (ValueError, RecursionError) as error:
        where = f" at character {error.pos}" if isinstance(error, json.JSONDecodeError) else ""
        return _error(
            None, PARSE_ERROR, f"the message is not JSON{where}; send one JSON-RPC message as JSON in UTF-8"
        )
    if isinstance(value, list):
        return _error(
            None, INVALID_REQUEST, "batches are not part of the protocol any more; send each message by itself"
        )
    if not isinstance(value, dict):
        return _error(None, INVALID_REQUEST, "the message is not an object; send one JSON-RPC request")
    return _refusal_of_fields(value)


def _refusal_of_fields(message: dict[str, Any]) -> dict[str, Any] | None:
    request_id = message.get("id")
    if "id" in message and not _is_id(request_id):
        return _error(
            None,
            INVALID_REQUEST,
            f"id must be a whole number or a string, not {quoted(json.dumps(request_id), 40)}",
        )
    if message.get("jsonrpc") != "2.0":
        return _error(request_id, INVALID_REQUEST, 'jsonrpc must be "2.0"')
    if "result" in message or "error" in message:
        return None  # an answer, which the transport takes and drops
    if not isinstance(message.get("method"), str):
        return _error(request_id, INVALID_REQUEST, "method must be a string such as tools/call")
    if not isinstance(message.get("params", {}), dict | None):
        return _error(request_id, INVALID_REQUEST, "params must be an object")
    return None


def _is_id(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool))


def _error(request_id: Any, code: int, message: str) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": request_id, "error": {"code": code, "message": message}}
