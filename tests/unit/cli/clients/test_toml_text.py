"""Tables of TOML: put in and taken out, and comments stay."""

import tomllib

import pytest

from codebase_cli.clients.toml_text import TomlTextInvalid, read, with_member, without_member

PATH = ("mcp_servers", "codebase")
ENTRY = {"command": "/usr/bin/codebase-mcp", "args": ["serve"], "env": {"CODEBASE_DATA": "/d"}}

CODEX = """\
# my settings
model = "large"  # the good one

[mcp_servers.other]
command = "x"

[tools]
web_search = true
"""

TEXTS = {
    "empty": "",
    "other servers and tables": CODEX,
    "servers in one line": 'mcp_servers = {other = {command = "x"}}\n',
    "a table of servers": '[mcp_servers]\n[mcp_servers.other]\ncommand = "x"\n',
    "no line end": 'model = "x"',
}
every_text = pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)


@every_text
def test_what_is_put_in_is_there_and_all_else_as_before(text: str) -> None:
    expected = tomllib.loads(text)
    expected.setdefault("mcp_servers", {})["codebase"] = ENTRY
    assert tomllib.loads(with_member(text, PATH, ENTRY)) == expected


@every_text
def test_taking_out_gives_the_text_back_up_to_blank_lines(text: str) -> None:
    back = without_member(with_member(text, PATH, ENTRY), PATH)
    assert [line for line in back.splitlines() if line] == [line for line in text.splitlines() if line]


def test_comments_stay_and_an_entry_is_replaced_whole() -> None:
    after = with_member(with_member(CODEX, PATH, ENTRY), PATH, {"command": "new"})
    assert "# my settings" in after and "# the good one" in after
    assert read(after)["mcp_servers"] == {"other": {"command": "x"}, "codebase": {"command": "new"}}


@pytest.mark.parametrize("text", ["a = ", "mcp_servers = 3"])
def test_what_cannot_hold_the_entry_is_refused(text: str) -> None:
    with pytest.raises(TomlTextInvalid):
        with_member(text, PATH, ENTRY)
