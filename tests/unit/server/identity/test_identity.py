"""Anybody is let in only where the settings say so."""

from typing import Any

import pytest

from codebase_mcp.identity.authenticator import Anybody
from codebase_mcp.identity.identity import open_identity
from codebase_mcp.identity.settings import AuthSettings, Mode


def no_cluster() -> Any:
    raise AssertionError("not asked")


@pytest.mark.parametrize("mode", [Mode.TOKENS, Mode.OIDC])
async def test_a_mode_that_lacks_what_it_needs_lets_nobody_in(mode: Mode) -> None:
    with pytest.raises(ValueError, match=f"mode {mode} lacks what identifies a token's owner"):
        async with open_identity(AuthSettings(mode), no_cluster):
            pass


async def test_anybody_is_let_in_where_the_settings_say_so() -> None:
    async with open_identity(AuthSettings(Mode.NONE), no_cluster) as identity:
        assert isinstance(identity.authenticator, Anybody)
