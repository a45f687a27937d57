"""A tool: arguments read by their kinds, plain error texts, two complete output channels, an audit log line."""

import hashlib
import inspect
import json
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, get_type_hints

import mcp_types as types

from codebase_index import untrusted_text
from codebase_index.store.errors import InsufficientStorage, StoreMisconfigured, StoreUnavailable
from codebase_mcp import metrics
from codebase_mcp.answer import Reply
from codebase_mcp.arguments.kinds import Notes
from codebase_mcp.arguments.signature import Signature
from codebase_mcp.errors import UserError
from codebase_mcp.identity import principal
from codebase_mcp.identity.access import access_context
from codebase_mcp.identity.authority import AuthorityUnavailable
from codebase_mcp.identity.gate import Gate
from codebase_mcp.identity.rights import Right
from codebase_mcp.jobs.cluster import ClusterUnavailable
from codebase_mcp.jobs.job_id import job_uuid
from codebase_mcp.limits import origin as origins

log = logging.getLogger(__name__)
audit = logging.getLogger("codebase_mcp.audit")

OnRefusal = Callable[[str, str], None]
"""Called with the name of a tool and the text of a refusal, while the refused call is the current one."""

_MAX_LOGGED_REPOSITORIES: Final = 20

_MAX_REPAIRED_CHARACTERS: Final = 600
"""A longer repaired call costs the reader more than it helps."""


class CheckedTool:
    """A tool over an async function. `description` is what clients are told of it, `right` what its callers need.

    One that `reads` indexes is given those that its caller may read, and refused where these are none.

    Not the SDK's class: that one drops unknown arguments without a word, answers with the texts of pydantic, puts
    "Error executing tool" before every error, and prints JSON with white space that costs tokens.
    """

    def __init__(
        self, function: Callable[..., Awaitable[Reply]], description: types.Tool, right: Right, *, reads: bool
    ) -> None:
        self.description = description
        self._right = right
        self._reads = reads
        self._function = function
        self._signature = Signature.of(function)
        metrics.announce(description.name)

    @classmethod
    def of(
        cls, function: Callable[..., Awaitable[Reply]], right: Right, title: str,
        annotations: types.ToolAnnotations, *, reads: bool = False,
    ) -> "CheckedTool":  # fmt: skip
        """Make a tool of a function: its docstring is the description, its signature the schema.

        A tool whose right is to read reads indexes; another one may do so, too.
        """
        reply: type[Reply] = get_type_hints(function)["return"]
        description = types.Tool(
            name=function.__name__,
            title=title,
            description=inspect.cleandoc(function.__doc__ or ""),
            input_schema=Signature.of(function).schema(),
            output_schema=_without_titles(reply.model_json_schema()),
            annotations=annotations,
        )
        return cls(function, description, right, reads=reads or right is Right.READ)

    async def call(
        self, arguments: Mapping[str, Any], gate: Gate, refused: OnRefusal = metrics.count_refusal
    ) -> types.CallToolResult:
        """Run the tool if the gate lets its caller. An error is for the model; `refused` is told of it.

        The log has who that is, a digest of the arguments, what was touched, and the outcome.
        """
        started_at = time.perf_counter()
        outcome = "cancelled"  # unless it returns: the client went away
        touched: dict[str, Any] = {}
        try:
            try:
                access = await gate.admit(self._right, reads=self._reads)
                with access_context(access):
                    answer = (await self._answer(arguments)).escape()
                touched = _ids(answer.model_dump(include={"job_id"})) | _repositories(answer)
                result = _result(answer)
                outcome = "ok"
            except Exception as error:
                # It may repeat arguments, and names of repositories.
                text = untrusted_text.line(self._explain(error, arguments))
                outcome = "refused: " + text.split(":", 1)[0] if text else "crashed"
                result = _error(text or self._crash_text())
                if text:
                    refused(self.description.name, text)
            return result
        finally:
            seconds = time.perf_counter() - started_at
            name = self.description.name
            metrics.CALLS.labels(name, outcome.split(":")[0]).inc()
            metrics.CALL_SECONDS.labels(name).observe(seconds)
            audit.info(
                "tool call",
                extra={
                    **_who(), "tool": name, "arguments": _digest(arguments), "outcome": outcome,
                    "ms": round(1000 * seconds, 1),
                } | (touched or _ids(arguments)),
            )  # fmt: skip

    async def _answer(self, arguments: Mapping[str, Any]) -> Reply:
        notes: Notes = []
        answer = await self._function(**self._signature.read(arguments, notes))
        return answer.with_notes(notes)

    def _explain(self, error: Exception, arguments: Mapping[str, Any]) -> str:
        """Return what the caller can do about an error; nothing if it is our fault."""
        if isinstance(error, UserError):
            return f"{error}{self._repaired(arguments, error.repair)}"
        if isinstance(error, StoreMisconfigured):
            return f"unavailable: {error.reason}; trying again will not help before that is done"
        if isinstance(error, StoreUnavailable):
            return f"unavailable: {error.reason}; try again in 10 seconds"
        if isinstance(error, ClusterUnavailable | AuthorityUnavailable):
            return f"unavailable: {error}; try again in 10 seconds"
        if isinstance(error, InsufficientStorage):
            return f"unavailable: {error}"
        log.exception("tool %s crashed", self.description.name, exc_info=error)
        return ""

    def _crash_text(self) -> str:
        return (
            f"internal error in {self.description.name}: nothing is known to have changed; try again, and if it "
            "stays, give the operators of this server the time of this call: its log has the details"
        )

    def _repaired(self, arguments: Mapping[str, Any], repair: Mapping[str, Any]) -> str:
        """Return the call as it would be right, to be repeated as it stands."""
        if not repair:
            return ""
        known = {name: value for name, value in arguments.items() if name in self._signature.kinds}
        call = {name: value for name, value in {**known, **repair}.items() if value is not None}
        text = json.dumps(call, ensure_ascii=False, default=str)
        return f"; call {self.description.name} with {text}" if len(text) <= _MAX_REPAIRED_CHARACTERS else ""


def _result(answer: Reply) -> types.CallToolResult:
    return types.CallToolResult(
        content=[types.TextContent(type="text", text=answer.as_text())],
        structured_content=answer.model_dump(mode="json"),
    )


def _error(text: str) -> types.CallToolResult:
    return types.CallToolResult(content=[types.TextContent(type="text", text=text)], is_error=True)


def _without_titles(schema: Any) -> Any:
    """Return a schema without the titles that pydantic makes of the names of fields."""
    if isinstance(schema, list):
        return [_without_titles(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    return {key: _without_titles(part) for key, part in schema.items() if key != "title" or isinstance(part, dict)}


def _who() -> dict[str, Any]:
    """Return who calls and from where, for the log."""
    who, origin = principal.current(), origins.current()
    return {
        "principal": who.key if who else None, "groups": who.groups_digest if who else None,
        "address": origin.address, "user_agent": origin.user_agent, "request_id": origin.request_id,
    }  # fmt: skip


def _repositories(answer: Reply) -> dict[str, Any]:
    names = list(dict.fromkeys(answer.touched))
    return {"repositories": names[:_MAX_LOGGED_REPOSITORIES]} if names else {}


def _digest(arguments: Mapping[str, Any]) -> str:
    """Return a digest of a call's arguments, for the log: queries and paths may be confidential."""
    return hashlib.sha256(json.dumps(arguments, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _ids(values: Mapping[str, Any]) -> dict[str, str]:
    job_id = values.get("job_id")
    return {"job_id": job_id} if isinstance(job_id, str) and job_uuid(job_id) else {}
