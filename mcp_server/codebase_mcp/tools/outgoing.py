"""Middleware that escapes every outgoing message of the protocol, those of the SDK included.

The fields of answers are escaped before (`models.Answer.escape`). This is for everything else, such as errors that
repeat the name of an unknown tool, and a second line of defence.
"""

from typing import Any

from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.shared.exceptions import MCPError
from pydantic import BaseModel

from codebase_index import untrusted_text


async def escape_outgoing(ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
    """Escape invisible characters in the answer to a message."""
    try:
        result = await call_next(ctx)
    except MCPError as error:
        raise MCPError(error.code, untrusted_text.line(error.message), _visible(error.data)) from error
    answer: dict[str, Any] | None = _visible(result)
    return answer


def _visible(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return _visible(value.model_dump(by_alias=True, mode="json", exclude_none=True))
    if isinstance(value, dict):
        one_line = value.get("isError") is True
        return {_visible(name): _in_one_line(part) if one_line else _visible(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_visible(item) for item in value]
    return untrusted_text.code(value) if isinstance(value, str) else value


def _in_one_line(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _in_one_line(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_in_one_line(item) for item in value]
    return untrusted_text.line(value) if isinstance(value, str) else value
