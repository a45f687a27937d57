"""Lines of a file from its stored chunks, as many as fit an answer. Pure."""

import io
import json
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from codebase_index import untrusted_text
from codebase_index.store.query.files import StoredText
from codebase_mcp.search.budget import MAX_ANSWER_TOKENS, estimate_tokens

_OVERHEAD_TOKENS: Final = 500
"""The message, the index and the names of the parts."""

MAX_TEXT_TOKENS: Final = MAX_ANSWER_TOKENS - _OVERHEAD_TOKENS

MAX_CHUNKS: Final = 64
"""Chunks read for one answer. All but the last of a file have 900 bytes, so that so many exceed its budget."""

_MAX_CHARACTERS_OF_TOKEN: Final = 4
"""`estimate_tokens` counts a token for so many characters at the least."""


@dataclass(frozen=True)
class Passage:
    """Consecutive lines of a file, from `start_line` to `end_line` (from 1, inclusive), with their line ends."""

    start_line: int
    end_line: int
    text: str

    @property
    def has_file_lines(self) -> bool:
        """Whether its lines are those of the file: a notebook may have all of a cell in one line."""
        ends, lines = self.text.count("\n"), self.end_line - self.start_line + 1
        return ends == lines - 1 or (ends == lines and self.text.endswith("\n"))


def lines_of(text: str) -> list[str]:
    """Return the lines with their ends, as they are counted: only a line feed ends one."""
    return io.StringIO(text, newline="\n").readlines()


def join(chunks: Sequence[StoredText], *, is_notebook: bool = False) -> list[Passage]:
    """Return the text of consecutive chunks of a file: one passage.

    Lines that no chunk has were blank, left out by an earlier release: they are put in as empty ones. What is
    between the cells of a notebook is not indexed: each begins a passage.
    """
    passages: list[Passage] = []
    for chunk in chunks:
        last = passages[-1] if passages else None
        lost = chunk.start_line - last.end_line - last.text.endswith("\n") if last else -1
        if last is None or lost < 0 or (lost > 0 and is_notebook):
            passages.append(Passage(chunk.start_line, chunk.end_line, chunk.text))
        else:
            text = last.text + "\n" * lost + chunk.text
            passages[-1] = Passage(last.start_line, chunk.end_line, text)
    return passages


def select(passages: Sequence[Passage], start_line: int, end_line: int) -> list[Passage]:
    """Return what lies between two lines, inclusive. A passage without the file's lines is returned whole."""
    selected = []
    for passage in passages:
        first, last = max(start_line, passage.start_line), min(end_line, passage.end_line)
        if first > last:
            continue
        if passage.has_file_lines:
            lines = lines_of(passage.text)[first - passage.start_line : last - passage.start_line + 1]
            selected.append(Passage(first, last, "".join(lines)))
        else:
            selected.append(passage)
    return selected


@dataclass(frozen=True)
class PassagePage:
    """The passages that fit. `next_line` is the first line that does not, None if all do; `is_cut`: the last line
    shown is longer than an answer, and only its beginning is there.
    """

    passages: list[Passage]
    next_line: int | None = None
    is_cut: bool = False

    @property
    def tokens(self) -> int:
        """About how many tokens they are."""
        return sum(_tokens(passage.text) for passage in self.passages)


def fit(passages: Sequence[Passage], room: int = MAX_TEXT_TOKENS) -> PassagePage:
    """Return the first whole lines that fit so many tokens; of a line that alone does not, its beginning."""
    shown: list[Passage] = []
    for passage in passages:
        pieces = lines_of(passage.text) if passage.has_file_lines else [passage.text]
        count = 0
        for piece in pieces:
            room -= _tokens(piece)
            if room < 0:
                break
            count += 1
        if count == len(pieces):
            shown.append(passage)
            continue
        if count:
            last = passage.start_line + count - 1
            shown.append(Passage(passage.start_line, last, "".join(pieces[:count])))
            return PassagePage(shown, last + 1)
        if shown:
            return PassagePage(shown, passage.start_line)
        room += _tokens(pieces[0])
        last = passage.start_line if passage.has_file_lines else passage.end_line
        more = last + 1 if last < passages[-1].end_line else None
        return PassagePage([replace(passage, end_line=last, text=_beginning(pieces[0], room))], more, is_cut=True)
    return PassagePage(shown)


def _tokens(text: str) -> int:
    """Estimate the tokens of a text as it is sent, where that is the most: as a string of JSON."""
    return estimate_tokens(json.dumps(untrusted_text.code(text), ensure_ascii=False)[1:-1])


def _beginning(text: str, room: int) -> str:
    """Return as many first characters as fit so many tokens."""
    head = text[: room * _MAX_CHARACTERS_OF_TOKEN]
    return head[: bisect_right(range(len(head) + 1), room, key=lambda size: _tokens(head[:size])) - 1]
