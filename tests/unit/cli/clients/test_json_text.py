"""Members of JSON with comments: put in and taken out, and nothing else changes."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codebase_cli.clients.json_text import JsonTextInvalid, read, with_member, without_member

PATH = ("mcpServers", "codebase")
ENTRY = {"command": "/usr/bin/codebase-mcp", "args": ["serve"]}

COMMENTED = """\
// Zed settings
{
\t"theme": "One Dark", // dark
\t"mcpServers": {
\t\t/* the first */
\t\t"other": {"command": "x"}, // stays
\t},
\t"last": [1, 2,],
}
"""

TEXTS = {
    "empty object": "{}",
    "one line": '{"a": 1}',
    "indented by four": '{\n    "a": 1\n}\n',
    "comments, tabs and commas at ends": COMMENTED,
    "comment after the last": '{\n  "a": 1 // one\n}\n',
    "comment before the end": '{\n  "a": 1 /* one */\n  // end\n}\n',
    "comment alone in the object": '{\n  "mcpServers": {\n    // none yet\n  }\n}',
    "another server": '{\n  "mcpServers": {\n    "other": {\n      "command": "x"\n    }\n  }\n}\n',
    "objects in one line": '{ "mcpServers": {"other": {}}, "z": [1] }',
    "lines of Windows": '{\r\n  "mcpServers": {\r\n    "other": {}\r\n  }\r\n}\r\n',
    "a string like a comment": '{"url": "https://example.org/*x*/", "q": "\\"//"}',
    "a byte order mark": '\ufeff{\n  "a": 1\n}\n',
}
every_text = pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)


@every_text
def test_what_is_put_in_is_there_and_all_else_as_before(text: str) -> None:
    after = with_member(text, PATH, ENTRY)
    expected = read(text)
    expected.setdefault("mcpServers", {})["codebase"] = ENTRY
    assert read(after) == expected


@every_text
def test_taking_out_gives_every_byte_back(text: str) -> None:
    assert without_member(with_member(text, PATH, ENTRY), PATH) == text


@every_text
def test_an_entry_that_is_there_is_replaced_where_it_stands(text: str) -> None:
    first = with_member(text, PATH, ENTRY)
    assert with_member(first, PATH, ENTRY) == first
    assert read(with_member(first, PATH, {"command": "new"}))["mcpServers"]["codebase"] == {"command": "new"}


def test_every_comment_stays() -> None:
    after = with_member(COMMENTED, PATH, ENTRY)
    for comment in ("// Zed settings", "// dark", "/* the first */", "// stays"):
        assert comment in after
    assert '\t\t"codebase": {\n\t\t\t"command": "/usr/bin/codebase-mcp",' in after


def test_a_file_that_is_not_there_yet_becomes_an_object() -> None:
    assert json.loads(with_member("", PATH, ENTRY)) == {"mcpServers": {"codebase": ENTRY}}


def test_taking_out_what_is_not_there_changes_nothing() -> None:
    assert without_member(COMMENTED, PATH) == COMMENTED
    assert without_member("{}", PATH) == "{}"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[1]", "it is no object"),
        ('{"mcpServers": 3}', '"mcpServers" in line 1, column 16 is no object'),
        ('{"a" 1}', "no name with a colon in line 1, column 2"),
        ('{\n"a": 1\n"b": 2}', "neither a comma nor } in line 3, column 1"),
        ('{"a": }', "no value in line 1, column 7"),
        ('{"a": 1} x', "there is more in line 1, column 10"),
        ('{"a": 1', "neither a comma nor }"),
        ('{"a": [1, 2', "neither a comma nor ]"),
    ],
)
def test_what_is_no_json_is_refused_with_the_place(text: str, said: str) -> None:
    with pytest.raises(JsonTextInvalid) as refused:
        with_member(text, PATH, ENTRY)
    assert said in str(refused.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


@given(
    held=st.dictionaries(st.text(max_size=5), JSON, max_size=4),
    servers=st.none() | st.dictionaries(st.text(max_size=5), JSON, min_size=1, max_size=3),
    indent=st.sampled_from([None, 2, 4, "\t"]),
)
def test_any_object_keeps_its_other_members(held: dict[str, object], servers: object, indent: int | None) -> None:
    held.pop("mcpServers", None)
    before = held | ({"mcpServers": servers} if servers is not None else {})
    text = json.dumps(before, indent=indent)
    after = with_member(text, PATH, ENTRY)
    inner = {**(servers if isinstance(servers, dict) else {}), "codebase": ENTRY}
    assert json.loads(after) == {**held, "mcpServers": inner}
    left = without_member(after, PATH)
    if not (isinstance(servers, dict) and "codebase" in servers):
        assert json.loads(left) == before
