"""What of a user's own credentials an indexer may find: nothing, unless the user says so."""

from pathlib import Path

import pytest

from codebase_embedded.operator_process import pod_template
from codebase_embedded.settings import Settings, SettingsInvalid
from codebase_index.store.address import FILE_VARIABLE

ENVIRONMENT = {FILE_VARIABLE: "/data/database-url", "SSH_AUTH_SOCK": "/run/agent", "AWS_SECRET_ACCESS_KEY": "x"}


def variables(settings: Settings) -> dict[str, str]:
    return {entry["name"]: entry["value"] for entry in pod_template(settings, ENVIRONMENT).env}


def settings(tmp_path: Path, **env: str) -> Settings:
    return Settings.from_env({"CODEBASE_DATA": str(tmp_path), "CODEBASE_EMBEDDED_ROOTS": str(tmp_path), **env})


def test_an_indexer_finds_the_user_s_agent_only_where_that_is_allowed(tmp_path: Path) -> None:
    assert not {"CODEBASE_USER_CREDENTIALS", "SSH_AUTH_SOCK"} & set(variables(settings(tmp_path)))
    allowed = variables(Settings.of_json(settings(tmp_path, CODEBASE_USER_CREDENTIALS="true").to_json()))
    assert (allowed["CODEBASE_USER_CREDENTIALS"], allowed["SSH_AUTH_SOCK"]) == ("true", "/run/agent")
    assert "AWS_SECRET_ACCESS_KEY" not in allowed


def test_a_setting_that_is_neither_true_nor_false_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsInvalid, match="CODEBASE_USER_CREDENTIALS is 'yes'; set it to true or false"):
        settings(tmp_path, CODEBASE_USER_CREDENTIALS="yes")
