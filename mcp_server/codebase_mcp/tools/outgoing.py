"""The door through which every message of the protocol leaves, also those that the SDK writes by itself.

Answers of the tools come here with each field shown as it should be (`models.Answer.shown`). This is for all the
rest, such as errors that repeat the name of a tool that does not exist, and for what is forgotten there one day.
"""

from typing import Any

from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.shared.exceptions import MCPError
from pydantic import BaseModel

from codebase_index import untrusted_text


async def only_visible(ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
    """Answer a message with nothing invisible in the answer: a middleware of the MCP server."""
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
