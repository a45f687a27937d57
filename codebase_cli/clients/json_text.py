"""Members of a JSON text with comments (JSONC): put in and taken out, with every other byte as it was. Pure.

VS Code, Zed and others allow comments and commas before a closing brace in their files, and people have both. Who
reads such a file and writes it anew loses them.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

_BLANK: Final = re.compile(r"(?:\s|//[^\n]*|/\*.*?\*/)*", re.S)
_STRING: Final = re.compile(r'"(?:[^"\\]|\\.)*"')
_LITERAL: Final = re.compile(r"[^\s,\]}/\"]+")
_REST_OF_LINE: Final = re.compile(r"[ \t]*(?://[^\n]*|/\*[^\n]*?\*/[ \t]*(?=\r?\n))?")
_INDENT: Final = re.compile(r"^([ \t]+)\S", re.M)


class JsonTextInvalid(ValueError):
    """The text is no JSON, or holds something else where an object has to be. The message says where."""


@dataclass(frozen=True)
class Value:
    """A value, and where it stands."""

    start: int
    end: int
    data: Any
    members: "tuple[Member, ...] | None" = None
    """Those of an object, in their order; None for all else."""

    def member(self, key: str) -> "Member | None":
        """Return the last member of this name, which is the one that readers take."""
        return next((m for m in reversed(self.members or ()) if m.key == key), None)


@dataclass(frozen=True)
class Member:
    """A name with its value."""

    key: str
    start: int
    value: Value


def read(text: str) -> Any:
    """Return what the text means; a blank one, an object without members. Raises JsonTextInvalid."""
    return _parse(text).data if text.strip() else {}


def with_member(text: str, path: Sequence[str], data: Any) -> str:
    """Return the text with this value at a path of names; objects on the way are made. Raises JsonTextInvalid."""
    if text.count("\n") == text.count("\r\n") > 0:
        return with_member(text.replace("\r\n", "\n"), path, data).replace("\n", "\r\n")
    if not text.strip():
        text = "{}\n"
    holder, missing = _parse(text), list(path)
    while found := holder.member(missing[0]):
        if len(missing) == 1:
            if found.value.data == data:
                return text
            indent = _indent_of_line(text, found.start)
            return text[: found.value.start] + _written(text, data, indent) + text[found.value.end :]
        holder = found.value
        if holder.members is None:
            raise JsonTextInvalid(f"{json.dumps(missing[0])} {_at(text, holder.start)} is no object")
        del missing[0]
    for key in reversed(missing[1:]):
        data = {key: data}
    return _inserted(text, holder, missing[0], data)


def without_member(text: str, path: Sequence[str]) -> str:
    """Return the text without the value at a path, and without the objects that are empty then.

    The text itself where there is none. Raises JsonTextInvalid.
    """
    holders = [_parse(text)]
    for key in path[:-1]:
        found = holders[-1].member(key)
        if found is None or found.value.members is None:
            return text
        holders.append(found.value)
    if holders[-1].member(path[-1]) is None:
        return text
    for depth in range(len(path) - 1, -1, -1):
        member = holders[depth].member(path[depth])
        assert member is not None
        if not _holds_nothing_else(text, holders[depth], member):
            return _removed(text, holders[depth], member)
    return f"{text[: holders[0].start]}{{}}{text[holders[0].end :]}"


def _inserted(text: str, holder: Value, key: str, data: Any) -> str:
    members = holder.members or ()
    outer = _indent_of_line(text, holder.start)
    if not members:
        inner = outer + _unit(text)
        before = text[: holder.end - 1].rstrip(" \t")
        line = "" if before.endswith("\n") else "\n"
        return f"{before}{line}{inner}{_member(text, key, data, inner)}\n{outer}" + text[holder.end - 1 :]
    last = members[-1]
    if "\n" not in text[holder.start : last.start]:
        compact = f"{json.dumps(key)}: {json.dumps(data, ensure_ascii=False)}"
        return f"{text[: last.value.end]}, {compact}{text[last.value.end :]}"
    inner = _indent_of_line(text, last.start)
    comma = _skipped(text, last.value.end)
    trailing = text[comma] == ","
    end = comma + 1 if trailing else last.value.end
    line_end = _line_end(text, end)
    added = f"\n{inner}{_member(text, key, data, inner)}" + ("," if trailing else "")
    return text[:end] + ("" if trailing else ",") + text[end:line_end] + added + text[line_end:]


def _removed(text: str, holder: Value, member: Member) -> str:
    members = holder.members or ()
    place = members.index(member)
    comma = _skipped(text, member.value.end)
    end = comma + 1 if text[comma] == "," else member.value.end
    start = member.start
    if text[comma] != "," and place:
        # The last one: the comma that stood before it goes, too.
        previous = members[place - 1].value.end
        before = _skipped(text, previous)
        text = text[:before] + text[before + 1 :]
        start, end = start - 1, end - 1
    line_start = text.rfind("\n", 0, start) + 1
    line_end = _line_end(text, end)
    if not text[line_start:start].strip() and text[line_end : line_end + 1] in ("\n", "\r"):
        # It has its lines for itself.
        start, end = line_start, text.index("\n", line_end) + 1
    elif not text[start - 1 :].startswith(("{", ",")):
        start = len(text[:start].rstrip(" \t"))
    return text[:start] + text[end:]


def _holds_nothing_else(text: str, holder: Value, member: Member) -> bool:
    """Whether an object would be empty without this member, comments counted."""
    around = text[holder.start + 1 : member.start] + text[member.value.end : holder.end - 1]
    return not around.replace(",", "").strip()


def _member(text: str, key: str, data: Any, indent: str) -> str:
    return f"{json.dumps(key)}: {_written(text, data, indent)}"


def _written(text: str, data: Any, indent: str) -> str:
    lines = json.dumps(data, indent=_unit(text), ensure_ascii=False).splitlines()
    return ("\n" + indent).join(lines)


def _unit(text: str) -> str:
    """Return what the text indents by."""
    found = _INDENT.search(text)
    return found[1] if found else "  "


def _indent_of_line(text: str, position: int) -> str:
    line = text[text.rfind("\n", 0, position) + 1 : position]
    return line[: len(line) - len(line.lstrip(" \t"))]


def _parse(text: str) -> Value:
    value = _value(text, _skipped(text, int(text.startswith("\ufeff"))))
    end = _skipped(text, value.end)
    if value.members is None or end != len(text):
        raise JsonTextInvalid(f"not one object: there is more {_at(text, end)}" if value.members is not None
                              else "it is no object")  # fmt: skip
    return value


def _skipped(text: str, position: int) -> int:
    """Return where something stands after blanks and comments."""
    found = _BLANK.match(text, position)
    assert found is not None, "it matches nothing, too"
    return found.end()


def _line_end(text: str, position: int) -> int:
    """Return the end of the line after `position` if a comment alone is left of it, else the position."""
    found = _REST_OF_LINE.match(text, position)
    assert found is not None, "it matches nothing, too"
    return found.end()


def _value(text: str, start: int) -> Value:
    if text.startswith("{", start):
        return _object(text, start)
    if text.startswith("[", start):
        return _array(text, start)
    found = (_STRING if text.startswith('"', start) else _LITERAL).match(text, start)
    try:
        return Value(start, found.end(), json.loads(found[0], strict=False))  # type: ignore[union-attr,index]
    except (ValueError, TypeError, AttributeError):
        raise JsonTextInvalid(f"no value {_at(text, start)}") from None


def _object(text: str, start: int) -> Value:
    members: list[Member] = []
    position = _skipped(text, start + 1)
    while not text.startswith("}", position):
        name = _STRING.match(text, position)
        colon = _skipped(text, name.end()) if name else position
        if name is None or not text.startswith(":", colon):
            raise JsonTextInvalid(f"no name with a colon {_at(text, position)}")
        value = _value(text, _skipped(text, colon + 1))
        members.append(Member(json.loads(name[0]), position, value))
        position = _after_comma(text, value.end, "}")
    return Value(start, position + 1, {m.key: m.value.data for m in members}, tuple(members))


def _array(text: str, start: int) -> Value:
    items: list[Any] = []
    position = _skipped(text, start + 1)
    while not text.startswith("]", position):
        value = _value(text, position)
        items.append(value.data)
        position = _after_comma(text, value.end, "]")
    return Value(start, position + 1, items)


def _after_comma(text: str, position: int, closing: str) -> int:
    """Return where the next element begins, or the closing character stands."""
    position = _skipped(text, position)
    if text.startswith(",", position):
        return _skipped(text, position + 1)
    if not text.startswith(closing, position):
        raise JsonTextInvalid(f"neither a comma nor {closing} {_at(text, position)}")
    return position


def _at(text: str, position: int) -> str:
    line = text.count("\n", 0, position) + 1
    return f"in line {line}, column {position - text.rfind(chr(10), 0, position)}"
