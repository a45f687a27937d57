"""Tokens of known forms and private keys are not in what is indexed; what only looks like one is."""

import base64
import hashlib
import json
import re
import uuid

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codebase_indexer.chunking import notebook as cells
from codebase_indexer.content import extraction, redaction
from codebase_indexer.content.extraction import ExtractedText
from codebase_indexer.content.redaction import redact
from codebase_indexer.content.secret_files import SecretPolicy
from tests.fixtures import secrets

TOKENS = secrets.tokens()
KEY_KINDS = ["PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", "OPENSSH PRIVATE KEY", "ENCRYPTED PRIVATE KEY",
             "PGP PRIVATE KEY BLOCK"]  # fmt: skip


def test_every_rule_has_an_example_here() -> None:
    assert {name.replace("_", "-") for name in redaction.TOKENS} == {*TOKENS, "private-key", "putty-private-key"}


@pytest.mark.parametrize("kind", TOKENS)
@pytest.mark.parametrize(
    "around",
    [
        "{}",
        "{}\n",
        "# {} and more",
        "  - {}\n  - b: 1\n",
        "export A={}; run",
        "größe {} 距離",
        "<a>{}</a>",
        '["{}"]',
    ],
)
def test_a_token_of_a_known_form_is_redacted_wherever_it_stands(kind: str, around: str) -> None:
    line, token = TOKENS[kind]
    text = around.format(line)
    found, count = redact(text.encode())
    assert (found.decode(), count) == (text.replace(token, f"[redacted: {kind}]"), 1)


@pytest.mark.parametrize(
    "kind", [kind for kind in TOKENS if redaction.TOKENS[kind.replace("-", "_")][:2] == r"\b"]
)
@pytest.mark.parametrize(
    "before",
    [r"\n", r"\t", r"\r", r"\\n", r"\u0022", r"\x3d", r"\075", "%3D", "%22", "%20", "=3D", "_", "\x1b[31m"],
)  # fmt: skip
@pytest.mark.parametrize("after", ["", r"\n", "%20", "_old"])
def test_a_token_is_redacted_behind_an_escape_a_percent_code_or_a_low_line(
    kind: str, before: str, after: str
) -> None:
    _, token = TOKENS[kind]
    found, count = redact(f'x = "v{before}{token}{after}"\n'.encode())
    assert count == 1 and token not in found.decode()
    assert found.decode().startswith(f'x = "v{before}[redacted: {kind}]')


def test_what_ends_one_token_begins_the_next() -> None:
    first, second = (TOKENS[kind][1] for kind in ("google-api-key", "github-token"))
    for between in (r"\n", "_", "%0A", ","):
        text = between.join([first, second, first])
        expected = between.join(
            f"[redacted: {kind}]" for kind in ("google-api-key", "github-token", "google-api-key")
        )
        assert redact(text.encode()) == (expected.encode(), 3)


def test_a_token_between_two_lines_that_only_look_like_those_of_a_key_is_redacted() -> None:
    line, token = TOKENS["github-token"]
    code = "def load(path): ...\n" * 9
    text = f'A = "-----BEGIN PRIVATE KEY-----"\n{line}\n{code}B = "-----END PRIVATE KEY-----"\n'
    assert redact(text.encode()) == (text.replace(token, "[redacted: github-token]").encode(), 1)


@pytest.mark.parametrize(
    "escape",
    [
        pytest.param(lambda text: text.replace("/", "\\/"), id="PHP"),
        pytest.param(lambda text: re.sub("[=+/&]", lambda m: f"\\u{ord(m[0]):04x}", text), id="Go"),
    ],
)
@pytest.mark.parametrize(
    "kind",
    [
        "azure-storage-key",
        "azure-shared-access-key",
        "slack-webhook",
        "discord-webhook",
        "teams-webhook",
        "url-password",
    ],
)
def test_a_token_in_json_is_redacted_with_its_signs_escaped(kind: str, escape: object) -> None:
    line, token = (escape(text) for text in TOKENS[kind])  # type: ignore[operator]
    found, count = redact(f'{{"x": "{line}"}}'.encode())
    assert count == 1 and token not in found.decode()


AWS_SECRET = TOKENS["aws-secret-access-key"][1][:-2] + "/+"


@pytest.mark.parametrize(
    "text",
    [
        "- name: AWS_SECRET_ACCESS_KEY\n  value: {}\n",
        '- name: "AWS_SECRET_ACCESS_KEY"\n  value: "{}"\n',
        'AWS_SECRET_ACCESS_KEY:\n      value: "{}"\n',
        '[{{"name": "AWS_SECRET_ACCESS_KEY", "value": "{}"}}]',
        "aws configure set aws_secret_access_key {}\n",
        '<add key="AWSSecretKey" value="{}"/>',
        r'"{{\"aws_secret_access_key\": \"{}\"}}"',
        "const c = {{ secretAccessKey: '{}' }};",
        ":secret_access_key => '{}'",
    ],
)
def test_the_secret_of_an_aws_key_is_redacted_however_it_is_given(text: str) -> None:
    for secret in (AWS_SECRET, AWS_SECRET.replace("/", "\\/"), AWS_SECRET.replace("+", "\\u002b")):
        assert redact(text.format(secret).encode()) == (
            text.format("[redacted: aws-secret-access-key]").encode(),
            1,
        )


def test_all_tokens_of_a_file_are_redacted_and_its_lines_keep_their_numbers() -> None:
    text = "".join(f"first_{n} = 1\r\n{line}\nlast_{n} = 2\n" for n, (line, _) in enumerate(TOKENS.values()))
    found, count = redact(text.encode())
    assert count == len(TOKENS)
    lines, before = found.decode().splitlines(), text.splitlines()
    assert len(lines) == len(before)
    changed = [n for n, pair in enumerate(zip(before, lines, strict=True)) if pair[0] != pair[1]]
    assert changed == list(range(1, len(before), 3))
    assert not any(token in found.decode() for _, token in TOKENS.values())


def example(*parts: str) -> str:
    """What documents show, put together here so that no scanner takes it for a leak."""
    return "".join(parts)


@pytest.mark.parametrize(
    "text",
    [
        example("AKIA", "IOSFODNN7EXAMPLE"),
        "aws_secret_access_key = " + example("wJalrXUtnFEMI/K7MDENG/", "bPxRfiCYEXAMPLEKEY"),
        "ghp_" + "x" * 36,
        "ghp_" + "a" * 36,
        "xoxb-your-token-here",
        "xoxb-000000000000-0000000000000-" + "X" * 24,
        "https://hooks.slack.com/services/T00000000/B00000000/" + "X" * 24,
        example("sk_test_", "4eC39HqLyjWDarjtT1zdp7dc"),
        example("eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9", ".eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkpvaG4gRG9lIn0.",
                "SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c"),
        "AccountKey=" + example("Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq",
                                "/K1SZFPTOtr/KBHBeksoGMGw=="),
        hashlib.md5(b"x").hexdigest(),
        hashlib.sha1(b"x").hexdigest(),
        "sha256:" + hashlib.sha256(b"x").hexdigest(),
        '"integrity": "sha512-' + base64.b64encode(hashlib.sha512(b"x").digest()).decode() + '"',
        str(uuid.UUID(int=0x1234_5678_9ABC_DEF0_1234_5678_9ABC_DEF0)),
        "github.com/x/y v1.2.3 h1:9fHAtK0uDfpveeqqo1hkEZJcFvYXAiCN3UutL8F9xHw=",
        "sk-navigation-bar-item-with-a-long-class-name-of-fifty-signs",
        "npm_config_registry and hf_transfer and key-value-store and SKIPPED0123456789",
        "def gh_pages_deployment_from_a_branch_that_exists(): pass",
        "-----BEGIN CERTIFICATE-----\nMIIBszCCAVmgAwIBAgIUQ\n-----END CERTIFICATE-----",
        "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE\n-----END PUBLIC KEY-----",
        'BEGIN = "-----BEGIN PRIVATE KEY-----"\n\n\ndef load(path):\n    return open(path, "rb").read()\n'
        '\n\nEND = "-----END PRIVATE KEY-----"\n',
        "-----BEGIN RSA PRIVATE KEY-----\n...\n-----END RSA PRIVATE KEY-----",
        "postgres://user:password@localhost:5432/db and http://joe:password1@p and https://u:P%40SSWORD@l",
        "postgres://postgres:postgres@localhost/postgres amqp://guest:guest@mq redis://:CHANGE_ME_NOW@r",
        "postgres://$USER:${DB_PASSWORD_1}@db f'mysql://{user}:{settings.pw1}@{host}' http://%s:%s@%s",
        "https://10.0.0.1:8443/users/@me?x=1:2 and file:///a:b/c1d2e3f4g5@h and git+ssh://git@host:2222/x1.git",
        "postgres://$USER:$DB_PASSWORD_1@db mysql://a:$(DB_PASS_1)@db http://u:%(db_pass1)s@db x://u:getenv(PASS1)@db",
        "postgres://app:mySecretPassword1@db and https://me:Passw0rdSecret@h and redis://:**********@h",
        "Authorization: Bearer YOUR_ACCESS_TOKEN_HERE and Authorization: Bearer someTokenOfTheCaller",
        "Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ== and Authorization: Basic dXNlcjpwYXNzd29yZA==",
        "Authorization: Basic czZCaGRSa3F0MzpnWDFmQmF0M2JW",
        "Private-Lines: 14\n(Base64)\nPrivate-MAC: (HMAC, in digits) PuTTY-User-Key-File-3",
        'if line.startswith("-----BEGIN OPENSSH PRIVATE KEY-----"):\n    raise ValueError("not a public one")\n',
    ],
)  # fmt: skip
def test_what_is_no_secret_stays_readable(text: str) -> None:
    assert redact(text.encode()) == (text.encode(), 0)


@pytest.mark.parametrize(
    "url",
    ["postgres://app:{}@db/shop", "mongodb+srv://app:{}@c0.shop.net,c1.shop.net/x", "redis://:{}@[::1]:6379/0",
     "https://robot:{}@git.shop.net/a.git", "amqps://a.b-c:{}@mq", "postgresql+asyncpg://o%40x:{}@db",
     "https://" + "u" * 80 + ":{}@h/x"],
)  # fmt: skip
@pytest.mark.parametrize(
    "password",
    [
        "x7Kq2mPw",
        "Tr0ub4dor%263",
        "aB-cD_eF.gH~iJ",
        "n0t,so;simple=1&2!",
        "Tr0ub4$dor",
        "a1b2*(c3d4)",
        "q7#w8e9r0t",
        "mysecret7Kq2mPw9",
        "7Kq2passwordmPw9x",
        "x7Kq2mPw" * 40,
    ],
)
def test_a_password_in_a_url_is_redacted_and_the_rest_of_it_stays(url: str, password: str) -> None:
    found, count = redact(f'engine = connect("{url.format(password)}")'.encode())
    assert (found.decode(), count) == (f'engine = connect("{url.format("[redacted: url-password]")}")', 1)


@pytest.mark.parametrize("kind", KEY_KINDS)
def test_a_private_key_is_redacted_between_its_two_lines(kind: str) -> None:
    text = f"before = 1\n{secrets.private_key(kind)}after = 2\n"
    found, count = redact(text.encode())
    lines = found.decode().splitlines()
    assert (count, len(lines)) == (1, len(text.splitlines()))
    assert lines[:3] == ["before = 1", f"-----BEGIN {kind}-----", "[redacted: private-key]"]
    assert lines[-2:] == [f"-----END {kind}-----", "after = 2"]
    assert not any(lines[3:-2])


@pytest.mark.parametrize(
    "write",
    [
        pytest.param(lambda key: f'key = "{key}"'.replace("\n", "\\n"), id="a string with escapes"),
        pytest.param(lambda key: "key: |\n" + re.sub("(?m)^(?=.)", "    ", key), id="YAML"),
        pytest.param(lambda key: "\n".join(f'  "{line}\\n" +' for line in key.splitlines()), id="concatenated"),
        pytest.param(lambda key: re.sub("(?m)^", "# ", key), id="a comment"),
        pytest.param(lambda key: re.sub("(?m)^", "/// ", key), id="a comment of Rust"),
        pytest.param(lambda key: re.sub("(?m)^(?=.)", "2026-01-01T00:00:00Z app[1]: ", key), id="a log"),
        pytest.param(lambda key: re.sub("----(-.+-)----", lambda line: line[0].lower(), key), id="in lower case"),
        pytest.param(
            lambda key: re.sub("-----(.+) RSA (.+)-----", r"---- \1 SSH2 ENCRYPTED \2 ----", key), id="SSH2"
        ),
        pytest.param(lambda key: key.replace("\n", "\r\n"), id="CRLF"),
        pytest.param(lambda key: key[: key.index("-----END")], id="cut off"),
        pytest.param(
            lambda key: key[: key.index("-----END")] + "def load(path):\n    return open(path).read()\n" * 50,
            id="cut off, before code",
        ),
        pytest.param(
            lambda key: key.replace("Y-----\n", "Y-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,0A\n\n", 1),
            id="with headers",
        ),
    ],
)  # fmt: skip
def test_a_private_key_is_redacted_however_it_is_written(write: object) -> None:
    key = secrets.private_key()
    text = f"first\n{write(key)}\nlast\n"  # type: ignore[operator]
    found, count = redact(text.encode())
    assert count == 1
    assert found.count(b"\n") == text.count("\n")
    assert not any(line in found.decode() for line in key.splitlines()[1:-1])


def test_a_key_of_putty_is_redacted_to_its_last_line() -> None:
    key = secrets.putty_key()
    found, count = redact(f"first\n{key}last\n".encode())
    lines = found.decode().splitlines()
    assert (count, len(lines)) == (1, len(key.splitlines()) + 2)
    assert lines[4:6] == ["Private-Lines: 7", "[redacted: putty-private-key]"]
    assert not any(lines[6:-2]) and lines[-2].startswith("Private-MAC: ")


def notebook(*strings: str, raw: bool = False) -> bytes:
    """A notebook with an image and a cell, a line of the file for each of its strings."""
    source = ",\n".join(strings if raw else map(json.dumps, strings))
    return (
        '{"cells": [{"cell_type": "code", "outputs": [{"data": {"image/png": "IMAGE"}}], "source": [\n'
        f'{source}\n]}}, {{"cell_type": "code", "source": ["last = 1"]}}], "metadata": {{}}}}'
    ).encode()


def pieces(data: bytes) -> tuple[str, list[tuple[int, int]], int]:
    """What is indexed of a notebook, the lines that it has in the file, and how many secrets it had."""
    found = extraction.extract("a.ipynb", data, SecretPolicy())
    assert isinstance(found, ExtractedText) and found.text.count(b"\n") == data.count(b"\n")
    cut = cells.read(found.text)
    assert cut is not None, "no notebook any more"
    chunks = cut.chunks
    return "".join(p.text for p in chunks), [(p.start_line, p.end_line) for p in chunks], found.redacted


@pytest.mark.parametrize("kind", TOKENS)
def test_a_token_is_redacted_in_a_notebook_wherever_its_line_stands(kind: str) -> None:
    line, token = TOKENS[kind]
    everything = "".join(f"\\u{ord(sign):04x}" for sign in line)
    for data in (notebook("a = 1\n", f"{line}\n", "b = 2\n"), notebook(f"a = 1\n{line}\nb = 2"),
                 notebook(f'"a = 1\\n{everything}\\n"', raw=True)):  # fmt: skip
        text, lines, count = pieces(data)
        assert token not in text and f"[redacted: {kind}]" in text and count
        assert lines == pieces(notebook(*json_strings(data)))[1]


def json_strings(data: bytes) -> list[str]:
    """The strings of a notebook's first cell, with each sign but line ends replaced."""
    return [re.sub(".", "x", part) for part in json.loads(data)["cells"][0]["source"]]


@pytest.mark.parametrize("split", ["lines", "one string", "anywhere"])
def test_a_key_in_a_notebook_is_redacted_and_the_notebook_stays_one(split: str) -> None:
    key = secrets.private_key()
    source = f"key = '''{key}'''\nuse(key)\n"
    strings = {
        "lines": source.splitlines(keepends=True),
        "one string": [source],
        "anywhere": [source[i : i + 50] for i in range(0, len(source), 50)],
    }[split]
    data = notebook(*strings)
    text, lines, count = pieces(data)
    assert count == 1 and "IMAGE" not in text and "use(key)" in text and "last = 1" in text
    assert not any(line in text for line in key.splitlines()[1:-1])
    assert text.count("\n") == source.count("\n")
    assert lines[-1][1] == 1 + data.count(b"\n")


FRAGMENTS = st.sampled_from(
    ["\n", "\r\n", "a = 1", "\u2028", "\x0b", "\\n", '"', "距離", "\ud800", TOKENS["github-token"][1],
     " " + TOKENS["url-password"][0] + " ", secrets.private_key(lines=3)]
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(strings=st.lists(st.lists(FRAGMENTS, max_size=5).map("".join), min_size=1, max_size=6))
def test_the_strings_of_a_notebook_say_what_is_left_of_its_source_on_their_lines(strings: list[str]) -> None:
    source = "".join(strings).encode(errors="replace")
    found = cells.redact(notebook(*strings), redact)
    assert found is not None
    after = json.loads(found[0])["cells"][0]["source"]
    assert ("".join(after).encode(errors="replace"), found[1]) == redact(source)
    assert [text.count("\n") for text in after] == [text.count("\n") for text in strings]


def test_a_notebook_without_a_secret_stays_as_it_is() -> None:
    data = notebook("a = 1\n", "b = 2")
    found = extraction.extract("a.ipynb", data, SecretPolicy())
    assert isinstance(found, ExtractedText) and found.text is data


def test_what_is_no_notebook_is_redacted_as_the_text_that_it_is() -> None:
    _, token = TOKENS["github-token"]
    found = extraction.extract(
        "a.ipynb", json.dumps({"cells": "none", "log": f"\n{token}"}).encode(), SecretPolicy()
    )
    assert isinstance(found, ExtractedText) and found.redacted == 1 and token not in found.text.decode()


@pytest.mark.parametrize(
    "unit",
    [b"-----BEGIN PRIVATE KEY-----", b"-----BEGIN PRIVATE KEY-----\n" + b"A1b2" * 8, b"eyJ", b"eyJaaaaaaaaaaa.",
     b"sk-proj-", b"AKIA", b"aws_secret_access_key=", b"xoxb-1-", b"a" * 14 + b".atlasv1.",
     b"://a:b", b"Private-Lines: 1\n", b"Private-Lines: 1" + b"A1b2" * 30, b"Authorization: Bearer "],
)  # fmt: skip
def test_a_file_made_against_the_rules_is_read_to_its_end(unit: bytes) -> None:
    data = unit * (2_000_000 // len(unit))
    found, _ = redact(data)
    assert found.count(b"\n") == data.count(b"\n")


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "gbk"])
def test_what_is_redacted_is_the_decoded_text(encoding: str) -> None:
    line, token = TOKENS["github-token"]
    text = f"# 初始化配置文件，读取用户输入的参数\n{line}\n{secrets.private_key()}"
    mark = "" if encoding == "gbk" else "\ufeff"
    found = extraction.extract("a.py", (mark + text).encode(encoding), SecretPolicy())
    assert isinstance(found, ExtractedText) and found.redacted == 2
    assert token not in found.text.decode() and found.text.count(b"\n") == text.count("\n")


def test_redacting_twice_changes_nothing() -> None:
    text = "\n".join(line for line, _ in TOKENS.values()) + "\n" + secrets.private_key()
    once, _ = redact(text.encode())
    assert redact(once) == (once, 0)


AROUND = st.binary(max_size=12) | st.sampled_from(
    [
        b"",
        b" ",
        b'"',
        b"=",
        b"\n",
        b"_",
        b"x",
        b"0",
        b"-",
        rb"\n",
        b"%3D",
        rb"\u0022",
        b"=3D",
        b"\x1b[0;31m",
        rb"\075",
    ]
)
FORMS = {name: st.from_regex(re.compile(form.encode())) for name, form in redaction.TOKENS.items()}


@pytest.mark.parametrize("name", FORMS)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_the_coarse_look_misses_nothing_that_the_exact_one_finds(name: str, data: st.DataObject) -> None:
    text = data.draw(AROUND) + data.draw(FORMS[name]) + data.draw(AROUND)
    cut = text[: data.draw(st.integers(0, len(text)))]
    for part in (text, cut):
        if redaction.exact_pattern().search(part):
            assert redaction.COARSE_PATTERN.search(part)


@pytest.mark.parametrize("name", FORMS)
def test_the_coarse_look_is_at_least_as_wide_in_each_form(name: str) -> None:
    """No alternative or class is lost on the way: only what stands in braces differs, and is never more."""
    form, coarse = redaction.TOKENS[name], redaction.coarse_form(redaction.TOKENS[name])
    braces = re.compile(r"\{(\d+)(?:,(\d*))?\}")
    assert braces.sub("{}", coarse) == braces.sub("{}", form)
    for exact, wider in zip(braces.finditer(form), braces.finditer(coarse), strict=True):
        assert int(wider[1]) <= int(exact[1]) and wider[2] == ""
