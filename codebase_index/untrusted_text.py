"""Text of others, as it may be shown: nothing in it is invisible, moves the cursor or changes direction. Pure.

A file's name may hold a line end and what looks like an instruction after it; a line of code may hold marks that
let it be read in another order than it runs (Trojan Source), or letters that nobody sees and a model reads (tags,
variation selectors). Such characters are shown as Python and most languages write them: \\n, \\x1b, \\u202e,
\\U000e0041. What people write by hand stays as it is: accents, CJK, right-to-left letters, emoji with their
selectors and joiners, the joiners of Persian and Indic words.
"""

import re
from typing import Final

_INVISIBLE: Final = (
    # Default_Ignorable_Code_Point of Unicode: what is not drawn where it is not supported.
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
    # Annotations, a blank that is a letter, ends of lines and paragraphs, halves of pairs, no characters at all.
    "\ufff9-\ufffb\u2800\u2028\u2029\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff"
)
_CONTROLS: Final = "\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f"  # all but those that make lines and columns

_HIDDEN: Final = f"{_CONTROLS}{_INVISIBLE}"
_IN_CODE: Final = re.compile(rf"(?:[{_HIDDEN}]|\r(?!\n))+")
_IN_LINE: Final = re.compile(rf"[\t\n\r{_HIDDEN}]+")

_SELECTORS: Final = "\ufe0e\ufe0f"
_JOINER: Final = "\u200d"
_JOINERS: Final = "\u200c\u200d"
_EMOJI: Final = re.compile(
    "[\u00a9\u00ae\u203c\u2049\u20e3\u2122\u2139\u2190-\u21ff\u2300-\u23ff\u2460-\u24ff\u25a0-\u27bf\u2900-\u297f"
    "\u2b00-\u2bff\u3030\u303d\u3297\u3299\U0001f000-\U0001faff]"
)
_KEYS: Final = "0123456789#*"
_KEYCAP: Final = "\u20e3"
_JOINED_SCRIPTS: Final = re.compile("[\u0600-\u08ff\u0900-\u0dff\u1000-\u109f\u1780-\u17ff\u1800-\u18af]")

SHOWN_OF_A_RUN: Final = 8
"""Characters in a row that are shown one by one. Of more, it is the number that says something."""

_ESCAPE: Final = re.compile(r"\\(?:([tnr])|x([0-9a-f]{2})|u([0-9a-f]{4})|U([0-9a-f]{8}))")
_MORE: Final = re.compile(r"\\u…\(\d+ more\)")
_PLAIN_NAME: Final = re.compile(r"[A-Za-z0-9._/:@+~=-]{1,200}")
_SHORT: Final = {"\t": "\\t", "\n": "\\n", "\r": "\\r"}


def line(text: str) -> str:
    """Return a text as one line: line ends and tabs are shown, too."""
    return _IN_LINE.sub(_shown, text)


def code(text: str) -> str:
    """Return a text with its lines and tabs as they are."""
    return _IN_CODE.sub(_shown, text)


def quoted(text: str, most: int = 200) -> str:
    """Return a text in quotation marks, as one line of at most so many characters, which cannot end early."""
    cut = text if len(text) <= most else text[: most - 1] + "…"
    return "'" + line(cut.replace("\\", "\\\\").replace("'", "\\'")) + "'"


def named(text: str) -> str:
    """Return a name for use in a sentence: in quotation marks unless it could not be taken for anything else."""
    return text if _PLAIN_NAME.fullmatch(text) else quoted(text)


def unescaped(text: str) -> str:
    """Return what `line` has shown as this text, but for a long run, of which nobody can tell.

    Only characters that it escapes are taken back, so the folder `x64` of `src\\x64` stays what it is.
    """
    return _ESCAPE.sub(_meant, text)


def parts_of_shown(text: str) -> list[str]:
    """Return the texts between the long runs in what `line` has shown: one where it shows all."""
    return [unescaped(part) for part in _MORE.split(text)]


def _meant(found: re.Match[str]) -> str:
    short = {shown: char for char, shown in _SHORT.items()}
    if found[0] in short:
        return short[found[0]]
    number = int(found[2] or found[3] or found[4], 16)
    # No name of a file has a NUL, or half of a pair.
    if number == 0 or 0xD800 <= number < 0xE000 or number > 0x10FFFF:
        return found[0]
    return chr(number) if _escaped(chr(number)) == found[0] and _IN_LINE.fullmatch(chr(number)) else found[0]


def _shown(found: re.Match[str]) -> str:
    run, text = found[0], found.string
    before = text[found.start() - 1 : found.start()]
    after = text[found.end() : found.end() + 1]
    if _is_written_by_hand(run, before, after):
        return run
    # A selector that belongs to the emoji before it stays, whatever follows.
    kept = run[:1] if run[:1] in _SELECTORS and _EMOJI.fullmatch(before) else ""
    rest = run[len(kept) :]
    more = len(rest) - SHOWN_OF_A_RUN
    shown = kept + "".join(map(_escaped, rest if more <= 0 else rest[:SHOWN_OF_A_RUN]))
    return shown + (f"\\u…({more} more)" if more > 0 else "")


def _is_written_by_hand(run: str, before: str, after: str) -> bool:
    """Say whether these characters shape the visible ones around them, as keyboards write them."""
    if not before or len(run) > 2:
        return False
    if before in _KEYS:
        return run == "\ufe0f" and after == _KEYCAP
    if _EMOJI.fullmatch(before):
        joins = bool(_EMOJI.fullmatch(after))
        return run in _SELECTORS or (joins and run in (_JOINER, f"\ufe0f{_JOINER}"))
    return len(run) == 1 and run in _JOINERS and bool(
        _JOINED_SCRIPTS.fullmatch(before) and (not after or not after.strip() or _JOINED_SCRIPTS.fullmatch(after))
    )  # fmt: skip


def _escaped(character: str) -> str:
    number = ord(character)
    if character in _SHORT:
        return _SHORT[character]
    if number < 0x100:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
