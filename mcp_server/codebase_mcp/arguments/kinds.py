"""The kinds of arguments: each describes itself to clients, and reads the forms in which agents send it. Pure.

A tool's signature names them: `limit: Annotated[int, Number(1, 50, "Most results")] = 10`. What may be meant is
taken, with a note where the answer would surprise without one; what may not is refused with the call that would be
right. No schema says "or null": a blank argument is the default, and models pay for every word of a schema.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Any, Final, Protocol

from codebase_index.untrusted_text import quoted
from codebase_mcp.errors import UserError

Notes = list[str]
"""What an answer says of its call: sentences, without the full stop."""

_UNPAIRED: Final = re.compile("[\ud800-\udfff]")
_NOTHING: Final = frozenset(["null", "none", "undefined", "[]", "{}"])
_UNIX_TIME: Final = re.compile(r"\d{9,10}(?:\.\d+)?", re.ASCII)
_YES: Final = frozenset(["true", "yes", "y", "1", "on"])
_NO: Final = frozenset(["false", "no", "n", "0", "off"])


class TooLong(UserError):
    """A value is what the argument takes, and more of it than is taken."""


class Kind(Protocol):
    """A kind of argument."""

    def schema(self) -> dict[str, Any]:
        """Return its JSON schema."""

    def read(self, name: str, value: Any, notes: Notes) -> Any:
        """Return what is meant by a value that is not blank. Raises UserError."""


def is_empty(value: object) -> bool:
    """Say whether a value says nothing: null, white space, an empty list."""
    if isinstance(value, str):
        return not value.strip()
    return value is None or (isinstance(value, Sequence | Mapping) and not value)


def is_blank(value: object) -> bool:
    """Say whether a value stands for "the default", as clients send it that fill in every optional argument."""
    return is_empty(value) or (isinstance(value, str) and value.strip().lower() in _NOTHING)


@dataclass(frozen=True)
class Text:
    """A string, without the white space around it unless `verbatim`; of at most so many characters."""

    max_length: int
    description: str = ""
    example: str = ""
    """A value for the repaired call where it is missing."""
    one_line: bool = False
    verbatim: bool = False

    def schema(self) -> dict[str, Any]:
        """Return its JSON schema."""
        return _described({"type": "string", "maxLength": self.max_length}, self.description)

    def read(self, name: str, value: Any, notes: Notes) -> str:
        """Return the text. Raises UserError."""
        if isinstance(value, list) and len(value) == 1:
            value = value[0]
        if isinstance(value, bool | list | dict):
            texts = [item for item in value if isinstance(item, str)] if isinstance(value, list) else []
            first = texts[0] if texts else self.example
            raise UserError(f"validation: {name} must be one text, not {_shown(value)}", **{name: first})
        text = str(value) if self.verbatim else str(value).strip()
        if len(text) > self.max_length:
            raise TooLong(
                f"validation: {name} has {len(text)} characters; at most {self.max_length} are taken: shorten it"
            )
        if "\0" in text or _UNPAIRED.search(text):
            raise UserError(
                f"validation: {name} holds a character that no text has (NUL, or half of a pair); leave it out",
                **{name: _UNPAIRED.sub("", text.replace("\0", ""))},
            )
        if self.one_line and not text.isprintable():
            clean = "".join(c if c.isprintable() else " " for c in text).strip()
            raise UserError(f"validation: {name} holds line ends or invisible characters", **{name: clean})
        return text


@dataclass(frozen=True)
class Texts:
    """Several strings: as a list, as the JSON text of one, or divided by commas. Clients are told of a string."""

    max_items: int
    max_length: int
    description: str = ""

    def schema(self) -> dict[str, Any]:
        """Return its JSON schema."""
        return _described({"type": "string", "maxLength": self.max_length}, self.description)

    def read(self, name: str, value: Any, notes: Notes) -> tuple[str, ...]:
        """Return the texts, each once. Raises UserError."""
        one = Text(self.max_length)
        texts = [one.read(name, item, notes) for item in _items(name, value) if not is_blank(item)]
        if len(texts) > self.max_items:
            raise TooLong(
                f"validation: {name} has {len(texts)} values, and at most {self.max_items} are taken; "
                "divide it into several calls",
                **{name: texts[: self.max_items]},
            )
        return tuple(dict.fromkeys(texts))


@dataclass(frozen=True)
class Number:
    """A whole number within bounds; one beyond is taken as the bound, with a note.

    With `is_end`, 0 and less mean the end, as people count backwards from it: the default.
    """

    least: int
    most: int
    description: str = ""
    is_end: bool = False

    def schema(self) -> dict[str, Any]:
        """Return its JSON schema."""
        return _described({"type": "integer", "minimum": self.least, "maximum": self.most}, self.description)

    def read(self, name: str, value: Any, notes: Notes) -> int | None:
        """Return the number; None: to the end. Raises UserError."""
        number = _whole_number(value)
        if number is None:
            raise UserError(
                f"validation: {name} must be a whole number from {self.least} to {self.most}, not {_shown(value)}",
                **{name: max(self.least, min(self.most, 10))},
            )
        if self.is_end and number < self.least:
            return None
        taken = max(self.least, min(self.most, number))
        if taken != number:
            notes.append(f"{name} was taken as {taken}: it may be {self.least} to {self.most}")
        return taken


@dataclass(frozen=True)
class Flag:
    """True or false."""

    description: str = ""

    def schema(self) -> dict[str, Any]:
        """Return its JSON schema."""
        return _described({"type": "boolean"}, self.description)

    def read(self, name: str, value: Any, notes: Notes) -> bool:
        """Return it. Raises UserError."""
        word = str(value).strip().lower()
        if word not in _YES | _NO:
            raise UserError(f"validation: {name} must be true or false, not {_shown(value)}", **{name: True})
        return word in _YES


@dataclass(frozen=True)
class Choice:
    """One of some words, in any letter case, or another name of one; of these, "" stands for the default."""

    words: tuple[str, ...]
    description: str = ""
    others: Mapping[str, str] = field(default_factory=dict)

    def schema(self) -> dict[str, Any]:
        """Return its JSON schema."""
        return _described({"type": "string", "enum": list(self.words)}, self.description)

    def read(self, name: str, value: Any, notes: Notes) -> str | None:
        """Return the word; None: the default. Raises UserError."""
        if isinstance(value, list) and len(value) == 1:
            value = value[0]
        word = " ".join(re.split(r"[\s_-]+", str(value).strip().strip("\"'").lower())).removesuffix(" search")
        known = {**self.others, **{word.lower(): word for word in self.words}}
        if word not in known:
            (nearest,) = get_close_matches(word, known, 1) or [self.words[0]]
            raise UserError(
                f"validation: {name} must be one of {', '.join(self.words)}, not {_shown(value)}",
                **{name: known[nearest] or None},
            )
        return known[word] or None


@dataclass(frozen=True)
class Time:
    """A time in RFC 3339, or in seconds since 1970; a date is its beginning, and without a zone it is in UTC."""

    description: str = ""

    def schema(self) -> dict[str, Any]:
        """Return its JSON schema."""
        return _described({"type": "string", "format": "date-time"}, self.description)

    def read(self, name: str, value: Any, notes: Notes) -> datetime:
        """Return the time in UTC. Raises UserError."""
        text = str(value).strip()
        try:
            is_unix = _UNIX_TIME.fullmatch(text)
            time = datetime.fromtimestamp(float(text), UTC) if is_unix else datetime.fromisoformat(text)
        except ValueError:
            raise UserError(
                f"validation: {name} must be a time such as 2026-11-29T18:00:00Z, not {_shown(value)}",
                **{name: "2026-11-29T18:00:00Z"},
            ) from None
        if time.tzinfo is None:
            time = time.replace(tzinfo=UTC)
            notes.append(f"{name} has no time zone and was taken as UTC")
        try:
            return time.astimezone(UTC)
        except OverflowError:
            raise UserError(
                f"validation: {name} is outside of the years 1 to 9999 of UTC; give a time within",
                **{name: "2026-11-29T18:00:00Z"},
            ) from None


def _items(name: str, value: Any) -> Sequence[Any]:
    if isinstance(value, dict | bool):
        raise UserError(
            f"validation: {name} must be a text or a list of texts, not {_shown(value)}", **{name: None}
        )
    if not isinstance(value, str):
        return value if isinstance(value, list | tuple) else [value]
    text = value.strip()
    if text.startswith("[") and text.endswith("]"):
        try:
            listed = json.loads(text)
        except ValueError:
            return split(text[1:-1]) if "," in text or '"' in text or "'" in text else [text]
        return listed if isinstance(listed, list) else [text]
    return split(text)


def split(text: str) -> list[str]:
    """Divide a text at its commas and line ends, but for those in braces; quotation marks are left out."""
    parts, depth = [""], 0
    for char in text:
        depth += (char == "{") - (char == "}" and depth > 0)
        if char in ",\n" and not depth:
            parts.append("")
        else:
            parts[-1] += char
    return [stripped for part in parts if (stripped := part.strip().strip("\"'").strip())]


def _whole_number(value: Any) -> int | None:
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    try:
        number = float(value.replace(",", "") if isinstance(value, str) else value)
        return int(number) if number == int(number) else None
    except (TypeError, ValueError, OverflowError):
        return None


def _described(schema: dict[str, Any], description: str) -> dict[str, Any]:
    return {**schema, "description": description} if description else schema


def _shown(value: Any) -> str:
    return quoted(value, 60) if isinstance(value, str) else quoted(json.dumps(value, default=str), 60)
