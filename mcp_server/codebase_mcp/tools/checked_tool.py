"""A tool: arguments read by their kinds, plain error texts, two complete output channels, an audit log line."""

import hashlib
import inspect
import json
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError, UnexpectedToolError
from mcp.server.mcpserver.tools.base import Tool
from mcp_types import CallToolResult, TextContent, ToolAnnotations
from pydantic import PrivateAttr

from codebase_index import untrusted_text
from codebase_index.store.errors import InsufficientStorage, StoreMisconfigured, StoreUnavailable
from codebase_mcp import metrics
from codebase_mcp.arguments.kinds import Notes
from codebase_mcp.arguments.signature import Signature
from codebase_mcp.errors import UserError
from codebase_mcp.jobs.cluster import ClusterUnavailable
from codebase_mcp.limits import caller
from codebase_mcp.models import Reply, job_uuid

audit = logging.getLogger("codebase_mcp.audit")

_MAX_REPAIRED_CHARACTERS = 600
"""A longer repaired call costs the reader more than it helps."""


class CheckedTool(Tool):
    """The SDK's tool with a `run` of our own.

    The SDK drops unknown arguments without a word, answers with the texts of pydantic, puts "Error executing tool"
    before every error, and prints JSON with white space that costs tokens.
    """

    _signature: Signature = PrivateAttr()

    @classmethod
    def of(
        cls, function: Callable[..., Awaitable[Reply]], *, title: str, annotations: ToolAnnotations
    ) -> "CheckedTool":
        """Make a tool of an async function: its docstring is the description, its signature the schema."""
        description = inspect.cleandoc(function.__doc__ or "")
        tool = cls.from_function(function, title=title, description=description, annotations=annotations)
        assert isinstance(tool, cls)
        tool._signature = Signature.of(function)
        tool.parameters = tool._signature.schema()
        tool.fn_metadata.output_schema = _without_titles(tool.fn_metadata.output_schema)
        return tool

    async def run(
        self, arguments: dict[str, Any], context: Context[Any, Any], convert_result: bool = False
    ) -> CallToolResult:
        """Run the tool, and log caller, digest of the arguments and outcome. Raises ToolError for the model."""
        started_at = time.perf_counter()
        outcome = "cancelled"  # unless it returns or raises an Exception: the client went away
        ids: dict[str, str] = {}
        try:
            answer = (await self._answer(arguments)).escape()
            ids = _ids(answer.model_dump(include={"job_id"}))
            outcome = "ok"
            return CallToolResult(
                content=[TextContent(type="text", text=answer.as_text())],
                structured_content=answer.model_dump(mode="json"),
            )
        except UnexpectedToolError:
            outcome = "crashed"
            raise
        except ToolError as error:
            text = untrusted_text.line(str(error))  # it may repeat arguments, and names of repositories
            outcome = "refused: " + text.split(":", 1)[0]
            raise ToolError(text) from error
        finally:
            seconds = time.perf_counter() - started_at
            metrics.CALLS.labels(self.name, outcome.split(":")[0]).inc()
            metrics.CALL_SECONDS.labels(self.name).observe(seconds)
            audit.info(
                "tool call",
                extra={
                    "tool": self.name, "caller": caller.current(), "arguments": _digest(arguments),
                    "outcome": outcome, "ms": round(1000 * seconds, 1),
                } | (ids or _ids(arguments)),
            )  # fmt: skip

    async def _answer(self, arguments: dict[str, Any]) -> Reply:
        notes: Notes = []
        try:
            answer: Reply = await self.fn(**self._signature.read(arguments, notes))
            return answer.with_notes(notes)
        except UserError as error:
            raise ToolError(f"{error}{self._repaired(arguments, error.repair)}") from error
        except StoreMisconfigured as error:
            raise ToolError(
                f"unavailable: {_reason(error)}; trying again will not help before that is done"
            ) from error
        except (StoreUnavailable, ClusterUnavailable) as error:
            raise ToolError(f"unavailable: {_reason(error)}; try again in 10 seconds") from error
        except InsufficientStorage as error:
            raise ToolError(f"unavailable: {error}") from error
        except Exception as error:
            raise UnexpectedToolError(
                f"internal error in {self.name}: nothing is known to have changed; try again, and if it stays, "
                "give the operators of this server the time of this call: its log has the details"
            ) from error

    def _repaired(self, arguments: dict[str, Any], repair: dict[str, Any]) -> str:
        """Return the call as it would be right, to be repeated as it stands."""
        if not repair:
            return ""
        known = {name: value for name, value in arguments.items() if name in self._signature.kinds}
        call = {name: value for name, value in {**known, **repair}.items() if value is not None}
        text = json.dumps(call, ensure_ascii=False, default=str)
        return f"; call {self.name} with {text}" if len(text) <= _MAX_REPAIRED_CHARACTERS else ""


def _without_titles(schema: Any) -> Any:
    """Return a schema without the titles that pydantic makes of the names of fields."""
    if isinstance(schema, list):
        return [_without_titles(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    return {key: _without_titles(part) for key, part in schema.items() if key != "title" or isinstance(part, dict)}


def _reason(error: Exception) -> str:
    """Return the reason without the store's advice for its other users: here the caller acts."""
    return str(error).removesuffix("; it is tried again")


def _digest(arguments: dict[str, Any]) -> str:
    """Return a digest of a call's arguments, for the log: queries and paths may be confidential."""
    return hashlib.sha256(json.dumps(arguments, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _ids(values: dict[str, Any]) -> dict[str, str]:
    job_id = values.get("job_id")
    return {"job_id": job_id} if isinstance(job_id, str) and job_uuid(job_id) else {}
