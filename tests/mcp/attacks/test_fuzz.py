"""Whatever arguments come in: every tool answers in time, and no answer shows the inside.

Hypothesis makes up the calls, for some seconds for each tool. `CODEBASE_FUZZ_SECONDS=600` goes on for longer.
"""

import asyncio
import json
import os
import time
from collections.abc import Callable
from functools import partial
from itertools import count
from typing import Any, Final

import httpx
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from codebase_cli.servers import messages
from tests.mcp.attacks.conftest import Attacked, found_in
from tests.mcp.attacks.rows import HOST, ROOT, ROWS, TOKEN

SECONDS: Final = float(os.environ.get("CODEBASE_FUZZ_SECONDS", "2"))
"""For each tool."""

ANSWER_SECONDS: Final = 60
"""No answer takes longer: every tool gives up after 10 s, which a busy machine makes longer."""

ENVELOPE: Final = {
    messages.VERSION_KEY: messages.VERSION, messages.CAPABILITIES_KEY: {},
    messages.CLIENT_KEY: {"name": "fuzz", "version": "1"},
}  # fmt: skip

TEXTS: Final = st.one_of(
    st.text(max_size=200),
    st.sampled_from([row.value for row in ROWS if isinstance(row.value, str)]),
    st.sampled_from(
        [f"{ROOT}/good", f"https://{HOST}/a", "till", "till_1", "till.py", "/work/shop", "auto", "regex"]
    ),
    st.text(alphabet="\0\ud800\u202e\x1b\r\n%'\"\\{}[]()*?./", max_size=50),
    st.builds(lambda text, times: text * times, st.text(min_size=1, max_size=3), st.integers(1, 6000)),
)
NUMBERS: Final = (
    st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from([0, -1, 2**31, 2**63, 10**400])
)
VALUES: Final = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)


def search(check: Callable[[Any], None], inputs: st.SearchStrategy[Any], seconds: float = SECONDS) -> None:
    """Run a check on made-up inputs, fifty at a time, until the time is over. What fails is made smaller."""
    ends_at = time.monotonic() + seconds
    for number in count():
        if time.monotonic() >= ends_at:
            return

        @seed(number)
        @settings(max_examples=50, database=None, suppress_health_check=list(HealthCheck))
        @given(inputs)
        def fifty(value: Any) -> None:
            check(value)

        fifty()


def call_of(tool: str, arguments: Any) -> dict[str, Any]:
    params = {"name": tool, "arguments": arguments, "_meta": ENVELOPE}
    return {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}


def checked_call(http: httpx.Client, tool: str, arguments: dict[str, Any]) -> None:
    """Call a tool: an answer or a refusal of one line comes, and says nothing that it should not."""
    message = call_of(tool, arguments)
    body = json.dumps(message).encode()
    answer = http.post(
        "/mcp", content=body, headers={**messages.headers_of(message), "Content-Type": "application/json"}
    )
    assert answer.status_code in ((200,) if len(body) < 200_000 else (200, 413)), answer.text
    assert found_in(answer.text) == [], answer.text
    if answer.status_code == 200:
        result = answer.json()["result"]
        text = result["content"][0]["text"]
        assert not result.get("isError") or ("\n" not in text and not text.startswith("unavailable")), text


async def test_tools(attacked: Attacked) -> None:
    with httpx.Client(
        base_url=attacked.url, timeout=ANSWER_SECONDS, headers={"Authorization": f"Bearer {TOKEN}"}
    ) as http:
        listed = await asyncio.to_thread(http.post, "/mcp", json={**call_of("", {}), "method": "tools/list"})
        for tool in listed.json()["result"]["tools"]:
            names = st.sampled_from(sorted(tool["inputSchema"]["properties"])) | st.text(max_size=20)
            required = dict.fromkeys(tool["inputSchema"].get("required", ()), VALUES)
            some: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(required) | st.just({})
            arguments = st.builds(
                lambda one, more: {**more, **one}, some, st.dictionaries(names, VALUES, max_size=5)
            )
            name = tool["name"]
            await asyncio.to_thread(search, partial(checked_call, http, name), arguments)
    assert attacked.left_in_log() == []
