from pathlib import Path

import pytest

from hack.deployment.chart import deploy, volume_name
from hack.deployment.commands import CommandFailed


def test_a_folder_that_is_not_there_never_becomes_a_volume() -> None:
    with pytest.raises(CommandFailed, match="/nope/nothing is not a directory"):
        deploy([Path("/nope/nothing")])


def test_two_roots_never_share_a_volume() -> None:
    assert volume_name("/code") != volume_name("/code2")
