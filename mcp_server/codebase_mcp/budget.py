"""How long an answer may be. Pure.

Tokens cannot be counted without knowing the model, so they are estimated, on the safe side: dense code takes a
token for every three bytes of UTF-8, other scripts take about one for each character of three bytes.
"""

from collections.abc import Sequence
from typing import Final

from codebase_mcp.models import SearchResult

MAX_ANSWER_TOKENS: Final = 10_000
_BYTES_OF_A_TOKEN: Final = 2.5
_OVERHEAD_TOKENS: Final = 1_000
"""For what stands beside the results: the message, the cursor, up to 20 indexes."""


def fitting(results: Sequence[SearchResult]) -> int:
    """Return how many of the first results fit an answer, at least one."""
    room = (MAX_ANSWER_TOKENS - _OVERHEAD_TOKENS) * _BYTES_OF_A_TOKEN
    for kept, result in enumerate(results):
        room -= len(result.model_dump_json().encode())
        if room < 0:
            return max(kept, 1)
    return len(results)
