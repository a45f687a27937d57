"""How long an answer may be, and how it is shared among the results. Pure.

Tokens cannot be counted without knowing the model that reads them. They are estimated on the safe side: as many
as a small vocabulary gives, which splits longer words and joins no punctuation.
"""

import json
import re
from collections.abc import Sequence
from typing import Final

from codebase_index import untrusted_text
from codebase_mcp.models import SearchResult

RESULT_TOKENS: Final = 165
"""What a concise result may cost on average, with its path and names: ten are below 2,000, which an agent reads
without a second thought."""

MAX_ANSWER_TOKENS: Final = 10_000
"""Bound of any answer. What is beyond comes on the next page."""

_BESIDE_RESULTS_TOKENS: Final = 1_200
"""For the message, the cursor and up to 20 indexes."""

_LEAST_SHARE_TOKENS: Final = 30
"""Of code for each result: two or three lines, by which it is recognised."""

_TEXT_KEY_TOKENS: Final = 5
"""Of `"text":` and the comma after it."""

_READ_CHARACTERS: Final = 400
"""Of a text, to learn how many tokens its characters are: the rest is much like its beginning."""

_TOKEN: Final = re.compile(r"[A-Za-z]{1,5}|[0-9]{1,3}|[^\sA-Za-z0-9]")


def tokens(text: str) -> int:
    """Estimate how many tokens a text is: at least a fourth of its characters."""
    return max(len(_TOKEN.findall(text)), len(text) // 4)


def fitting(results: Sequence[SearchResult]) -> int:
    """Return how many of the first results fit an answer, at least one."""
    room = MAX_ANSWER_TOKENS - _BESIDE_RESULTS_TOKENS
    written = [result.shown().model_dump_json() for result in results]
    if sum(map(len, written)) <= room:  # no token is less than a character
        return len(results)
    for kept, text in enumerate(written):
        room -= tokens(text)
        if room < 0:
            return max(kept, 1)
    return len(results)


def shares(results: Sequence[SearchResult]) -> list[int]:
    """Return how many characters of its text each result may show, so that they cost RESULT_TOKENS on average.

    The first get the most: whoever reads an answer begins there, and the others only have to be recognised.
    """
    if not results:
        return []
    # As it will be sent: one invisible character is shown as six, which are as many tokens.
    beside = [tokens(result.shown().model_dump_json(exclude={"text"})) + _TEXT_KEY_TOKENS for result in results]
    left = len(results) * RESULT_TOKENS - sum(beside)
    weights = [1 / (rank + 3) for rank in range(len(results))]
    rooms = []
    for rank, result in enumerate(results):
        share = max(round(left * weights[rank] / sum(weights[rank:])), _LEAST_SHARE_TOKENS)
        read = result.text[:_READ_CHARACTERS]
        cost = max(tokens(json.dumps(untrusted_text.code(read), ensure_ascii=False)), 1)
        room = share * len(read) // cost
        # What a short text does not need is for those after it.
        left -= share if room < len(result.text) else cost * len(result.text) // max(len(read), 1)
        rooms.append(room)
    return rooms
