r"""What a text search looks for: literal text, or a regular expression in the syntax that ripgrep and RE2 share.

Expressions come from anybody, so they may not cost more than they look like. Postgres matches one without groups
and back references by an automaton, in time linear in the text; what would need backtracking (back references,
look-around) is refused here, every group is made one that captures nothing, and what other engines spell otherwise
(`\b`, `\z`) is translated. A pattern is matched within single lines, as grep does. Nothing here does I/O.
"""

import re
from dataclasses import dataclass
from typing import Final, TypeAlias

_SPECIAL: Final = frozenset(r"\^$.|?*+()[]{}")
_CLASSES: Final = {"d": r"\d", "D": r"\D", "w": r"\w", "W": r"\W", "s": r"\s", "S": r"\S"}
_ANCHORS: Final = {"b": r"\y", "B": r"\Y", "<": r"\m", ">": r"\M", "A": "^", "z": r"\r?$", "Z": r"\r?$"}
_CONTROLS: Final = {"t": "\t", "f": "\f", "v": "\v", "r": "\r", "e": "\x1b", "a": "\a"}
_CODE: Final = re.compile(r"x([0-9A-Fa-f]{2})|x\{([0-9A-Fa-f]{1,6})\}|u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})")
_BOUND: Final = re.compile(r"\{(\d+)(,(\d*))?\}", re.ASCII)
_GROUP: Final = re.compile(r"\?(?::|P?<[A-Za-z_]\w*>)")
_FLAGS: Final = re.compile(r"^\(\?([imsu]+)\)")

_SINGLE_LINES: Final = "lines are matched one at a time; look for what one line holds"

_NUL: Final = "the pattern holds a NUL character, which no indexed file does; leave it out"

MAX_REPEAT: Final = 255
"""Most repetitions in `{n,m}`: Postgres' own limit."""

MAX_OPTIONAL: Final = 200
"""Most parts that may be missing (`?`, `*`, `{0,m}`): to read 200 takes Postgres 0.06 s, 900 take it 3 s, in which
it can't be interrupted."""


Clause: TypeAlias = tuple[str, ...]
"""Texts of which one is required."""


class PatternRefused(ValueError):
    """The pattern cannot be searched for. The message says why, where, and what to do."""


@dataclass(frozen=True)
class Pattern:
    """What to look for in lines of text.

    `expression` is a Postgres regular expression. `literal` is set where the whole pattern is literal text,
    matched with its case. Each matching line holds one text of every clause in `required` (in any case if
    `ignores_case`): what an index may use to leave out chunks.
    """

    expression: str
    literal: str | None
    required: tuple["Clause", ...]
    ignores_case: bool

    @property
    def needle(self) -> str:
        """The longest text that each matching line is known to hold; empty if none is."""
        return max((clause[0] for clause in self.required if len(clause) == 1), key=len, default="")

    def in_any_case(self) -> "Pattern":
        """Return the same pattern, matched without regard to case."""
        return Pattern(_with_flags(_without_flags(self.expression), True), None, self.required, True)


def literal(text: str, *, whole_word: bool = False) -> Pattern:
    """Return the pattern of a text as it is. Raises PatternRefused for one that no line can hold."""
    _check(text)
    if "\n" in text:
        raise PatternRefused(
            "the text has several lines, and text is searched for in single lines; give its most telling line"
        )
    escaped = "".join(map(_escaped, text))
    if whole_word:
        return Pattern(_with_flags(rf"\m{escaped}\M", False), None, ((text,),), False)
    return Pattern(_with_flags(escaped, False), text, ((text,),), False)


def regex(text: str) -> Pattern:
    """Return the pattern of a regular expression. Raises PatternRefused for one that is not understood."""
    _check(text)
    flags = _FLAGS.match(text)
    ignores_case = bool(flags and "i" in flags[1])
    reader = _Reader(text, flags.end() if flags else 0)
    expression = reader.read()
    return Pattern(_with_flags(expression, ignores_case), None, reader.required(), ignores_case)


def _check(text: str) -> None:
    if not text.strip("\r\n"):
        raise PatternRefused("the pattern is empty")
    if "\0" in text:
        raise PatternRefused(_NUL)


def _with_flags(expression: str, ignores_case: bool) -> str:
    # n: `.` and [^...] stop at line ends, ^ and $ match there, so that a chunk can be tested before its lines.
    return ("(?ni)" if ignores_case else "(?n)") + expression


def _without_flags(expression: str) -> str:
    return expression.partition(")")[2]


def _escaped(char: str) -> str:
    return f"\\{char}" if char in _SPECIAL else char


class _Required:
    """Collects what each match of an expression, or of a group in it, holds."""

    def __init__(self) -> None:
        self._alternatives: list[list[Clause]] = []  # those before the current one
        self._clauses: list[Clause] = []
        self._run = ""  # literal characters next to each other
        self._group = 0  # how many of the clauses are those of the group just closed

    def add(self, char: str) -> None:
        """Add a literal character."""
        self._run += char
        self._group = 0

    def end_run(self) -> None:
        """Note that something else follows the literal characters."""
        if self._run:
            self._clauses.append((self._run,))
        self._run, self._group = "", 0

    def add_group(self, group: "_Required") -> None:
        """Add what a group requires."""
        clauses = group.clauses()
        self.end_run()
        self._clauses += clauses
        self._group = len(clauses)

    def drop_last(self) -> None:
        """Note that the character or group before may be missing."""
        if self._group:
            del self._clauses[-self._group :]
        self._run, self._group = self._run[:-1], 0

    def end_alternative(self) -> None:
        """Note that an alternative to all of this follows."""
        self.end_run()
        self._alternatives.append(self._clauses)
        self._clauses = []

    def clauses(self) -> list[Clause]:
        """Return the clauses: of several alternatives, one that has the most telling clause of each."""
        self.end_run()
        if not self._alternatives:
            return self._clauses
        best = [max(found, key=_telling, default=()) for found in (*self._alternatives, self._clauses)]
        return [tuple(dict.fromkeys(text for clause in best for text in clause))] if all(best) else []


def _telling(clause: Clause) -> tuple[int, int]:
    return min(map(len, clause)), -len(clause)


class _Reader:
    """Reads an expression once, left to right: translates it, and notes what each match holds."""

    def __init__(self, text: str, start: int) -> None:
        self._text, self._at = text, start
        self._required = [_Required()]  # the whole expression's, then those of the groups that are open
        self._can_repeat = False
        self._optional = 0  # parts that may be missing, counted as often as they are repeated
        self._optional_before: list[int] = []  # the same, before each group that is open
        self._optional_inside = 0  # and in the group that has just been closed

    def read(self) -> str:
        parts = []
        while self._at < len(self._text):
            parts.append(self._next())
        if self._is_in_group:
            raise self._refused("a group is not closed; write \\( for the character")
        return "".join(parts)

    def required(self) -> tuple[Clause, ...]:
        return tuple(dict.fromkeys(self._required[0].clauses()))

    @property
    def _is_in_group(self) -> bool:
        return len(self._required) > 1

    def _next(self) -> str:
        char = self._text[self._at]
        if char in "*+?" or (char == "{" and _BOUND.match(self._text, self._at)):
            return self._quantifier()
        if char == "\\":
            return self._escape()
        if char == "[":
            return self._bracket()
        self._at += 1
        if char == "(":
            return self._open()
        if char == ")":
            return self._close()
        if char == "|":
            self._required[-1].end_alternative()
            return self._other("|", can_repeat=False)
        if char == ".":
            return self._other(".")
        if char in "^$":
            return self._anchor("^" if char == "^" else r"\r?$")
        return self._literal(char)

    def _literal(self, char: str) -> str:
        if char == "\n":
            raise self._refused(_SINGLE_LINES)
        self._required[-1].add(char)
        self._can_repeat = True
        self._optional_inside = 0
        return _escaped(char)

    def _other(self, translated: str, *, can_repeat: bool = True) -> str:
        self._required[-1].end_run()
        self._can_repeat = can_repeat
        self._optional_inside = 0
        return translated

    def _anchor(self, translated: str) -> str:
        self._can_repeat = False  # what stands before and after it are neighbours all the same
        self._optional_inside = 0
        return translated

    def _open(self) -> str:
        if self._text.startswith("?", self._at):
            group = _GROUP.match(self._text, self._at)
            if not group:
                raise self._refused(
                    "look-around and flags inside are not supported; use (?:...), or (?i) in front of it all"
                )
            self._at = group.end()
        self._optional_before.append(self._optional)
        opened = self._other("(?:", can_repeat=False)
        self._required.append(_Required())
        return opened

    def _close(self) -> str:
        if not self._is_in_group:
            raise self._refused("a parenthesis closes no group; write \\) for the character")
        group = self._required.pop()
        closed = self._other(")")
        self._required[-1].add_group(group)
        self._optional_inside = self._optional - self._optional_before.pop()
        return closed

    def _quantifier(self) -> str:
        if not self._can_repeat:
            raise self._refused(
                "there is nothing to repeat; write a backslash before the character to mean itself"
            )
        most = 1
        bound = _BOUND.match(self._text, self._at)
        quantifier = bound[0] if bound else self._text[self._at]
        if bound:
            least, most = int(bound[1]), int(bound[3] or bound[1])
            if max(least, most) > MAX_REPEAT or most < least:
                raise self._refused(f"the bounds must rise and be at most {MAX_REPEAT}")
        self._at += len(quantifier)
        if self._text.startswith("?", self._at):  # lazy: whether a line matches does not depend on it
            self._at += 1
        optional = quantifier in "*?" or (bound is not None and int(bound[1]) == 0)
        self._optional += optional + self._optional_inside * max(most - 1, 0)
        if self._optional > MAX_OPTIONAL:
            raise self._refused(f"more than {MAX_OPTIONAL} of its parts may be missing; simplify it")
        if optional:
            self._required[-1].drop_last()
        return self._other(quantifier, can_repeat=False)

    def _escape(self) -> str:
        following = self._text[self._at + 1 : self._at + 2]
        code = _CODE.match(self._text, self._at + 1)
        if code:
            self._at = code.end()
            return self._literal(self._character(code))
        self._at += 2
        if following in _CLASSES and following:
            return self._other(_CLASSES[following])
        if following in _ANCHORS and following:
            return self._anchor(_ANCHORS[following])
        if following in _CONTROLS and following:
            return self._literal(_CONTROLS[following])
        if following == "n":
            raise self._refused(_SINGLE_LINES)
        if following.isdigit():
            raise self._refused("back references are not supported")
        if not following or following.isalnum():
            raise self._refused(f"the escape \\{following} is not known")
        return self._literal(following)

    def _character(self, code: re.Match[str]) -> str:
        number = int(next(group for group in code.groups() if group), 16)
        if number > 0x10FFFF or 0xD800 <= number < 0xE000:
            raise self._refused("there is no such character")
        if not number:
            raise self._refused(_NUL)
        return chr(number)

    def _first_of_range(self, code: re.Match[str]) -> str | None:
        """Return what stands for NUL where a range begins with it, as in [^\\x00-\\x7f]; else None."""
        begins = self._text[self._at : self._at + 1] == "-" and self._text[self._at + 1 : self._at + 2] != "]"
        is_nul = int(next(group for group in code.groups() if group), 16) == 0
        return "\x01" if begins and is_nul else None  # no text holds NUL, and Postgres takes none

    def _bracket(self) -> str:
        start = self._at
        self._at += 1
        parts = ["["]
        if self._text.startswith("^", self._at):
            parts.append("^")
            self._at += 1
        first = True
        while self._at < len(self._text):
            char = self._text[self._at]
            self._at += 1
            if char == "]" and not first:
                return self._other("".join([*parts, "]"]))
            parts.append(self._member(char))
            first = False
        self._at = start
        raise self._refused("a bracket is not closed; write \\[ for the character")

    def _member(self, char: str) -> str:
        """Translate a character or escape inside of brackets."""
        if char == "[":
            posix = re.compile(r":\^?[a-z]{1,10}:\]").match(self._text, self._at)
            if not posix:
                return "\\["
            self._at = posix.end()
            return "[" + posix[0]
        if char == "]":
            return "\\]"
        if char != "\\":
            return char
        code = _CODE.match(self._text, self._at)
        following = self._text[self._at : self._at + 1]
        self._at = code.end() if code else self._at + 1
        if code:
            following = self._first_of_range(code) or self._character(code)
        elif following in _CLASSES and following:
            return _CLASSES[following]
        elif following == "n":
            return "\n"  # harmless: no line holds one
        elif following in _CONTROLS and following:
            following = _CONTROLS[following]
        elif following == "b":
            following = "\b"
        elif not following or following.isalnum():
            raise self._refused(f"the escape \\{following} is not known in brackets")
        return f"\\{following}" if following in "\\]^-[" else following

    def _refused(self, why: str) -> PatternRefused:
        shown = self._text[max(0, self._at - 20) : self._at + 20]
        return PatternRefused(
            f"the regular expression is not understood near {shown!r}: {why}; or use mode=text for it as it is"
        )
