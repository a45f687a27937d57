"""The token budget of an answer, and each result's share of it. Pure.

Tokens cannot be counted without the reader's tokenizer. The estimate is on the safe side: that of a small
vocabulary, which splits long words and joins no punctuation.
"""

import json
import re
from collections.abc import Sequence
from typing import Final

from codebase_index import untrusted_text
from codebase_mcp.search.answers import SearchResult

RESULT_TOKENS: Final = 165
"""Budget of a concise result on average, with its path and names: ten of them are below 2,000."""

MAX_ANSWER_TOKENS: Final = 10_000
"""Budget of any answer. The rest comes on the next page."""

_OVERHEAD_TOKENS: Final = 1_200
"""The message, the cursor and up to 20 indexes."""

_MIN_SHARE_TOKENS: Final = 30
"""The least code of a result: two or three lines, enough to recognise it."""

_INDEX_TOKENS: Final = 50
"""The line that says how fresh an index is, for each repository that has results."""

_TEXT_KEY_TOKENS: Final = 5
"""`"text":` and the comma after it."""

_SAMPLE_CHARACTERS: Final = 400
"""The sample from which a text's tokens per character are estimated: its beginning."""

_TOKEN: Final = re.compile(r"[A-Za-z]{1,5}|[0-9]{1,3}|[^\sA-Za-z0-9]")


def estimate_tokens(text: str) -> int:
    """Estimate how many tokens a text is: at least a fourth of its characters."""
    return max(len(_TOKEN.findall(text)), len(text) // 4)


def count_fitting(results: Sequence[SearchResult]) -> int:
    """Return how many of the first results fit an answer, at least one."""
    room = MAX_ANSWER_TOKENS - _OVERHEAD_TOKENS
    written = [result.escape().model_dump_json() for result in results]
    if sum(map(len, written)) <= room:  # no token is less than a character
        return len(results)
    for count, text in enumerate(written):
        room -= estimate_tokens(text)
        if room < 0:
            return max(count, 1)
    return len(results)


def allot_characters(results: Sequence[SearchResult]) -> list[int]:
    """Return how many characters of text each result may show, at RESULT_TOKENS on average.

    The first get the most: readers begin there, and need only recognise the others.
    """
    if not results:
        return []
    # As it is sent: an invisible character is escaped as six characters, which are as many tokens.
    overhead = [
        estimate_tokens(result.escape().model_dump_json(exclude={"text"})) + _TEXT_KEY_TOKENS for result in results
    ]
    repositories = {result.repository for result in results} - {None}
    left = len(results) * RESULT_TOKENS - sum(overhead) - len(repositories) * _INDEX_TOKENS
    weights = [1 / (rank + 3) for rank in range(len(results))]
    rooms = []
    for rank, result in enumerate(results):
        share = max(round(left * weights[rank] / sum(weights[rank:])), _MIN_SHARE_TOKENS)
        sample = result.text[:_SAMPLE_CHARACTERS]
        cost = max(estimate_tokens(json.dumps(untrusted_text.code(sample), ensure_ascii=False)), 1)
        room = share * len(sample) // cost
        # What a short text does not need is for those after it.
        left -= share if room < len(result.text) else cost * len(result.text) // max(len(sample), 1)
        rooms.append(room)
    return rooms
