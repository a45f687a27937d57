"""A tool with strict arguments, plain error texts, two complete output channels and an audit log line."""

import hashlib
import json
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError, UnexpectedToolError
from mcp.server.mcpserver.tools.base import Tool
from mcp_types import CallToolResult, TextContent, ToolAnnotations
from pydantic import ValidationError

from codebase_index import untrusted_text
from codebase_index.store.errors import InsufficientStorage, StoreMisconfigured, StoreUnavailable
from codebase_mcp import metrics
from codebase_mcp.errors import UserError
from codebase_mcp.jobs.cluster import ClusterUnavailable
from codebase_mcp.limits import caller
from codebase_mcp.models import Answer, job_uuid

audit = logging.getLogger("codebase_mcp.audit")

_MAX_PROBLEMS = 5


class CheckedTool(Tool):
    """The SDK's tool with a `run` of our own.

    The SDK drops unknown arguments without a word, puts "Error executing tool" before every error, and prints
    JSON with white space that costs tokens.
    """

    @classmethod
    def of(
        cls, function: Callable[..., Awaitable[Answer]], *, title: str, annotations: ToolAnnotations
    ) -> "CheckedTool":
        """Make a tool of an async function: its docstring is the description, its signature the schema."""
        tool = cls.from_function(function, title=title, annotations=annotations)
        arguments = tool.fn_metadata.arg_model
        arguments.model_config["extra"] = "forbid"
        arguments.model_rebuild(force=True)
        tool.parameters = arguments.model_json_schema(by_alias=True)
        assert isinstance(tool, cls)
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

    async def _answer(self, arguments: dict[str, Any]) -> Answer:
        try:
            checked = self.fn_metadata.arg_model.model_validate(arguments)
        except ValidationError as error:
            raise ToolError(self._explain(error)) from None
        try:
            answer: Answer = await self.fn(**checked.model_dump_one_level())
            return answer
        except UserError as error:
            raise ToolError(str(error)) from error
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

    def _explain(self, error: ValidationError) -> str:
        """Return which arguments are wrong and which are accepted, without pydantic's values, links and types."""
        problems = []
        for problem in error.errors(include_url=False, include_input=False)[:_MAX_PROBLEMS]:
            name = ".".join(str(part) for part in problem["loc"])[:80]
            unknown = problem["type"] == "extra_forbidden"
            problems.append(
                f"unknown argument {name!r}" if unknown else f"{name}: {_without_preamble(problem['msg'])}"
            )
        accepted = ", ".join(self.fn_metadata.arg_model.model_fields)
        return f"validation: {'; '.join(problems)}; {self.name} takes {accepted}; correct the call and repeat it"


def _reason(error: Exception) -> str:
    """Return the reason without the store's advice for its other users: here the caller acts."""
    return str(error).removesuffix("; it is tried again")


def _without_preamble(message: str) -> str:
    """Return the message of our validator without pydantic's preamble."""
    return message.removeprefix("Value error, ")


def _digest(arguments: dict[str, Any]) -> str:
    """Return a digest of a call's arguments, for the log: queries and paths may be confidential."""
    return hashlib.sha256(json.dumps(arguments, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _ids(values: dict[str, Any]) -> dict[str, str]:
    job_id = values.get("job_id")
    return {"job_id": job_id} if isinstance(job_id, str) and job_uuid(job_id) else {}
