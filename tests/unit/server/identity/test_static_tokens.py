"""Static tokens: what the file says, as it stands now, and nobody where it cannot be read."""

import hashlib
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from codebase_mcp.identity import static_tokens
from codebase_mcp.identity.authenticator import AuthenticationUnavailable, Unauthenticated
from codebase_mcp.identity.principal import OWNER
from codebase_mcp.identity.rights import Question, Right, covered
from codebase_mcp.identity.static_tokens import StaticTokens, TokensInvalid, read_tokens


def entry(token: str, role: str = "reader", **more: object) -> dict[str, object]:
    return {"name": token, "sha256": hashlib.sha256(token.encode()).hexdigest(), "role": role, **more}


def write(file: Path, *entries: dict[str, object]) -> None:
    file.write_text(yaml.safe_dump({"tokens": list(entries)}))
    at = datetime.now(UTC).timestamp() + int(hashlib.sha256(file.read_bytes()).hexdigest()[:4], 16)
    os.utime(file, (at, at))  # another time than the one before, however fast this test is


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(static_tokens, "LOOK_SECONDS", 0.0)
    return tmp_path / "tokens.yaml"


async def test_a_token_is_its_owners_with_the_rights_of_the_role(file: Path) -> None:
    write(file, entry("ci", "writer", namespaces=["here"]), entry("agent", repositories=["shop-1"]))
    tokens = StaticTokens.of_file(file)
    writer, reader = await tokens.authenticate("ci"), await tokens.authenticate("agent")
    assert (writer.name, writer.key) == ("ci", "token:ci")
    assert covered(writer.grants, Question(Right.START, "here"))
    assert not covered(writer.grants, Question(Right.START, "there"))
    assert covered(reader.grants, Question(Right.READ, "here", "shop-1"))
    assert not covered(reader.grants, Question(Right.READ, "here"))
    assert not covered(reader.grants, Question(Right.LIST, "here"))


async def test_a_token_that_is_unknown_or_over_is_refused(file: Path) -> None:
    now = datetime.now(UTC)
    write(file, entry("old", expires=now - timedelta(seconds=1)), entry("new", expires=now + timedelta(hours=1)))
    tokens = StaticTokens.of_file(file)
    assert (await tokens.authenticate("new")).name == "new"
    for token, why in (("old", "has expired"), ("other", "not known"), ("", "not known")):
        with pytest.raises(Unauthenticated, match=why):
            await tokens.authenticate(token)


async def test_a_file_that_changes_counts_without_a_restart(file: Path) -> None:
    write(file, entry("one"))
    tokens = StaticTokens.of_file(file)
    write(file, entry("two"))
    assert (await tokens.authenticate("two")).name == "two"
    with pytest.raises(Unauthenticated):
        await tokens.authenticate("one")


@pytest.mark.parametrize("text", ["tokens: [", "tokens: 7", None])
async def test_a_file_that_breaks_lets_nobody_in_until_it_is_mended(file: Path, text: str | None) -> None:
    write(file, entry("one"))
    tokens = StaticTokens.of_file(file)
    file.unlink()
    if text is not None:
        file.write_text(text)
    for _ in range(2):
        with pytest.raises(AuthenticationUnavailable):
            await tokens.authenticate("one")
    write(file, entry("one"))
    assert (await tokens.authenticate("one")).name == "one"


async def test_a_file_that_could_not_be_read_counts_as_soon_as_it_can(
    file: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its rights are put right: neither its time nor its size says so."""
    write(file, entry("one"))
    tokens = StaticTokens.of_file(file)
    write(file, entry("two"))
    with monkeypatch.context() as refused:
        refused.setattr(static_tokens, "read_tokens", _refuse)
        for _ in range(3):
            with pytest.raises(AuthenticationUnavailable):
                await tokens.authenticate("two")
    assert [record.message for record in caplog.records] == ["nobody is let in: PermissionError"]
    assert (await tokens.authenticate("two")).name == "two"


def _refuse(_: Path) -> None:
    raise TokensInvalid("PermissionError")


@pytest.mark.parametrize(
    ("entries", "says"),
    [
        ([entry("a", "king")], "tokens.0.role"),
        ([{**entry("a"), "sha256": "hunter2"}], "tokens.0.sha256"),
        ([entry("a", "owner", repositories=["shop-1"])], "goes with role reader"),
        ([entry("a"), entry("a")], "two tokens have the same name"),
        ([entry("a", expires="2030-01-01T00:00:00")], "tokens.0.expires"),
        ([entry("a", rigths=[])], "tokens.0.rigths"),
    ],
)
def test_what_is_wrong_is_named_without_a_digest(file: Path, entries: list[dict[str, object]], says: str) -> None:
    write(file, *entries)
    with pytest.raises(TokensInvalid) as error:
        read_tokens(file)
    assert says in str(error.value)
    assert str(entries[0]["sha256"]) not in str(error.value)


async def test_the_token_of_an_owner_is_the_owner() -> None:
    tokens = StaticTokens.of_owner("mine")
    assert await tokens.authenticate("mine") is OWNER
    with pytest.raises(Unauthenticated):
        await tokens.authenticate("yours")
