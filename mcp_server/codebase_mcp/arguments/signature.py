"""A tool's arguments from its signature: the schema that clients get, and the reading of a call. Pure."""

import inspect
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Final, get_type_hints

from codebase_index.untrusted_text import quoted
from codebase_mcp.arguments.kinds import Kind, Notes, is_blank, is_empty
from codebase_mcp.errors import UserError

_MAX_NAMED: Final = 5
_HUMP: Final = re.compile(r"(?<=[a-z0-9])([A-Z])")


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
        given: dict[str, Any] = {}
        ignored = []
        for key, value in arguments.items():
            name = key if key in self.kinds else _HUMP.sub(r"_\1", key).replace("-", "_").lower()
            if name not in self.kinds:
                ignored.append(key)
            elif key in self.kinds or name not in arguments:
                given[name] = value
        if ignored:
            notes.append(self._ignored(ignored))
        for name in self.required:
            if is_empty(given.get(name)):
                example = getattr(self.kinds[name], "example", "") or f"<{name}>"
                raise UserError(f"validation: {name} is missing", **{name: example})
        return {
            name: self.kinds[name].read(name, value, notes)
            for name, value in given.items()
            if name in self.required or not is_blank(value)
        }

    def _ignored(self, names: list[str]) -> str:
        shown = ", ".join(quoted(name, 40) for name in names[:_MAX_NAMED])
        more = f" and {len(names) - _MAX_NAMED} more" if len(names) > _MAX_NAMED else ""
        near = [match for name in names for match in get_close_matches(name.lower(), self.kinds, 1, 0.7)]
        meant = f"; {near[0]} may have been meant" if near else ""
        return f"ignored unknown arguments {shown}{more}{meant}; there are {', '.join(self.kinds)}"
