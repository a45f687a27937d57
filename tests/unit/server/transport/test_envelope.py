"""What is no message is answered with what is wrong, and what is one is left to the SDK."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codebase_mcp.transport.envelope import refusal_of

CALL = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}


@pytest.mark.parametrize(
    "message",
    [CALL, {**CALL, "id": "a"}, {**CALL, "id": 0}, {**CALL, "id": -1}, {**CALL, "params": None},
     {"jsonrpc": "2.0", "method": "notifications/initialized"}, {"jsonrpc": "2.0", "id": 1, "result": {}}],
    ids=str,
)  # fmt: skip
def test_messages_pass(message: object) -> None:
    assert refusal_of(json.dumps(message)) is None


@pytest.mark.parametrize(
    ("message", "code", "says", "request_id"),
    [
        ({**CALL, "id": None}, -32600, "id must be a whole number or a string, not 'null'", None),
        ({**CALL, "id": 1.5}, -32600, "not '1.5'", None), ({**CALL, "id": True}, -32600, "not 'true'", None),
        ({**CALL, "id": [1]}, -32600, "id must be", None),
        ({**CALL, "jsonrpc": "1.0"}, -32600, 'must be "2.0"', 1),
        ({"id": 7, "method": "x"}, -32600, "jsonrpc", 7), ({**CALL, "method": 5}, -32600, "method must be", 1),
        ({"jsonrpc": "2.0", "id": 3}, -32600, "method must be", 3),
        ({**CALL, "params": [1]}, -32600, "params must be an object", 1), ([CALL, CALL], -32600, "batches", None),
        ([], -32600, "batches", None), ("text", -32600, "not an object", None),
        (None, -32600, "not an object", None),
    ],
    ids=str,
)  # fmt: skip
def test_what_is_no_message_is_answered(message: object, code: int, says: str, request_id: object) -> None:
    refusal = refusal_of(json.dumps(message))
    assert refusal is not None and says in refusal["error"]["message"]
    assert (refusal["error"]["code"], refusal["id"], refusal["jsonrpc"]) == (code, request_id, "2.0")


@pytest.mark.parametrize("garbled", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b'{"a":1}x', b"9" * 5000], ids=len)
def test_what_is_no_json_is_answered(garbled: bytes) -> None:
    refusal = refusal_of(garbled)
    assert refusal is not None and refusal["error"]["code"] in (-32700, -32600)
    assert len(json.dumps(refusal)) < 300


@given(st.binary(max_size=60) | st.text(max_size=60))
def test_whatever_comes_is_read_or_answered_in_short(message: bytes | str) -> None:
    assert len(json.dumps(refusal_of(message))) < 500
