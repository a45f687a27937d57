"""A tool's arguments from its signature: the schema that clients get, and the reading of a call. Pure."""

import inspect
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Final, get_type_hints

from codebase_index.untrusted_text import quoted
from codebase_mcp.arguments.kinds import Kind, Notes, TooLong, is_blank, is_empty
from codebase_mcp.errors import UserError

_MAX_NAMED: Final = 5
_HUMP: Final = re.compile(r"(?<=[a-z0-9])([A-Z])")

_OTHER_NAMES: Final[Mapping[str, Sequence[str]]] = {
    "query": ("q", "search_query", "text", "pattern", "question", "keyword", "keywords", "symbol"),
    "repo": ("repository", "repositories", "repos", "repo_path", "repo_url", "repo_name", "codebase"),
    "repo_path": ("repo", "repository", "path", "url", "repo_url", "git_url"),
    "path": ("paths", "file", "file_path", "filepath", "filename", "path_filter", "path_prefix", "glob", "globs"),
    "language": ("languages", "lang", "langs", "file_type", "file_types"),
    "limit": ("max_results", "top_k", "k", "num_results", "page_size"),
    "start_line": ("line_start", "from_line", "first_line", "line"),
    "end_line": ("line_end", "to_line", "last_line"),
    "symbol": ("symbol_name",),
    "force_reindex": ("force", "reindex"),
    "ref": ("branch", "tag", "revision"),
    "job_id": ("id", "job"),
    "status": ("state",),
    "created_after": ("since",),
    "cursor": ("next_cursor", "page_token"),
    "offset": ("skip",),
}
"""What agents that know other tools call an argument. It counts where a tool has none of that name."""


@dataclass(frozen=True)
class Signature:
    """The arguments of a tool by name, those without a default being required."""

    kinds: Mapping[str, Kind]
    required: tuple[str, ...]

    @classmethod
    def of(cls, function: Callable[..., Awaitable[Any]]) -> "Signature":
        """Read it from the annotations of a function: each parameter is `Annotated[type, kind]`."""
        hints = get_type_hints(function, include_extras=True)
        parameters = inspect.signature(function).parameters
        kinds = {name: hints[name].__metadata__[0] for name in parameters}
        return cls(kinds, tuple(name for name, p in parameters.items() if p.default is p.empty))

    def schema(self) -> dict[str, Any]:
        """Return the JSON schema of the arguments."""
        properties = {name: kind.schema() for name, kind in self.kinds.items()}
        return {
            "type": "object",
            "properties": properties,
            **({"required": [*self.required]} if self.required else {}),
        }

    def read(self, arguments: Mapping[str, Any], notes: Notes) -> dict[str, Any]:
        """Return the values of those that are given; notes are added to `notes`. Raises UserError."""
        given, others = self._by_name(arguments)
        for key in list(others):
            name = self._meant_by(key, others[key])
            if name and is_blank(given.get(name)):
                given[name] = others.pop(key)
                notes.append(f"{quoted(key, 40)} was taken as {name}")
        if others:
            notes.append(self._ignored(list(others)))
        for name in self.required:
            if is_empty(given.get(name)):
                example = getattr(self.kinds[name], "example", "") or f"<{name}>"
                raise UserError(f"validation: {name} is missing", **{name: example})
        values = {
            name: self.kinds[name].read(name, value, notes)
            for name, value in given.items()
            if name in self.required or not is_blank(value)
        }
        return {name: value for name, value in values.items() if value is not None}

    def _by_name(self, arguments: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Divide a call's arguments into ours and others; ours also in camel case, and as they are told first."""
        ours, others = {}, {}
        for key, value in arguments.items():
            name = key if key in self.kinds else _snake_case(key)
            if name not in self.kinds:
                others[key] = value
            elif key in self.kinds or name not in arguments:
                ours[name] = value
        return ours, others

    def _meant_by(self, key: str, value: Any) -> str | None:
        """Return the argument that another tool would call so, if it can have such a value, be it too long."""
        for name, kind in self.kinds.items():
            if _snake_case(key) in _OTHER_NAMES.get(name, ()):
                with suppress(UserError):
                    with suppress(TooLong):
                        kind.read(name, value, [])
                    return name
        return None

    def _ignored(self, names: list[str]) -> str:
        shown = ", ".join(quoted(name, 40) for name in names[:_MAX_NAMED])
        more = f" and {len(names) - _MAX_NAMED} more" if len(names) > _MAX_NAMED else ""
        near = [match for name in names for match in get_close_matches(name.lower(), self.kinds, 1, 0.7)]
        meant = f"; {near[0]} may have been meant" if near else ""
        return f"ignored unknown arguments {shown}{more}{meant}; there are {', '.join(self.kinds)}"


def _snake_case(name: str) -> str:
    return _HUMP.sub(r"_\1", name).replace("-", "_").lower()
