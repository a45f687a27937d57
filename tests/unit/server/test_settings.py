import json
from pathlib import Path

import pytest

from codebase_index.listening import EVERYWHERE
from codebase_mcp.identity.rights import Grant, Role
from codebase_mcp.settings import Settings, SettingsError

VALID = {
    "CODEBASE_DATABASE_URL": "postgresql://u:hunter2@db/codebase",
    "CODEBASE_ROOTS": json.dumps([{"path": "/srv/repositories", "mount": "/mnt/0"}]),
}

OIDC = {
    "CODEBASE_AUTH": "oidc", "CODEBASE_OIDC_ISSUER": "https://login.example.org",
    "CODEBASE_PUBLIC_URL": "https://code.example.org/mcp",
}  # fmt: skip


def test_the_defaults_are_those_of_a_laptop() -> None:
    settings = Settings.from_env(VALID)
    assert (settings.bind, settings.port, settings.namespace, settings.log_level) == (
        "127.0.0.1", 8080, "default", "INFO",
    )  # fmt: skip


def test_deleting_is_allowed_by_the_setting_alone() -> None:
    assert not Settings.from_env(VALID).allow_deletion
    assert Settings.from_env({**VALID, "CODEBASE_ALLOW_DELETION": "True"}).allow_deletion


def test_in_a_pod_the_server_listens_to_the_pod_network() -> None:
    assert Settings.from_env({**VALID, "KUBERNETES_SERVICE_HOST": "10.96.0.1"}).bind == EVERYWHERE


def test_the_server_answers_under_the_configured_names_and_loopback() -> None:
    settings = Settings.from_env({**VALID, "CODEBASE_ALLOWED_HOSTS": "mcp.example.org, other:8443,*.x.org"})
    assert settings.host_names == ("localhost", "127.0.0.1", "[::1]", "mcp.example.org", "other:8443", "*.x.org")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"CODEBASE_DATABASE_URL": ""}, "CODEBASE_DATABASE_URL is not set"),
        ({"CODEBASE_DATABASE_URL": "mysql://u:hunter2@db"}, "CODEBASE_DATABASE_URL is not a Postgres address"),
        ({"CODEBASE_ROOTS": "/srv"}, "CODEBASE_ROOTS is malformed"),
        ({"CODEBASE_ROOTS": '{"path": "/srv"}'}, "CODEBASE_ROOTS is malformed"),
        ({"CODEBASE_ROOTS": '[{"mount": "/srv"}]'}, "CODEBASE_ROOTS is malformed"),
        ({"CODEBASE_ROOTS": '[{"path": "srv"}]'}, "relative path"),
        ({"CODEBASE_ROOTS": "[]"}, "nothing may be indexed"),
        ({"CODEBASE_PORT": "0"}, "CODEBASE_PORT is '0'"),
        ({"CODEBASE_PORT": "http"}, "CODEBASE_PORT is 'http'"),
        ({"CODEBASE_PROBE_PORT": "65536"}, "CODEBASE_PROBE_PORT is '65536'"),
        ({"CODEBASE_MAX_CONNECTIONS": "0"}, "CODEBASE_MAX_CONNECTIONS is '0'"),
        ({"CODEBASE_MAX_CONNECTIONS_OF_CLIENT": "all"}, "CODEBASE_MAX_CONNECTIONS_OF_CLIENT is 'all'"),
        ({"CODEBASE_NAMESPACE": "My_Space"}, "CODEBASE_NAMESPACE is 'My_Space'"),
        ({"CODEBASE_ALLOWED_HOSTS": "https://x"}, "CODEBASE_ALLOWED_HOSTS holds 'https://x'"),
        ({"CODEBASE_ALLOWED_HOSTS": "a.*.org"}, "CODEBASE_ALLOWED_HOSTS holds 'a.*.org'"),
        ({"CODEBASE_ALLOWED_HOSTS": "*"}, "CODEBASE_ALLOWED_HOSTS holds '*'"),
        ({"CODEBASE_TRUSTED_PROXIES": "10.0.0.1/8"}, "CODEBASE_TRUSTED_PROXIES is wrong: 10.0.0.1/8"),
        ({"CODEBASE_TRUSTED_PROXIES": "proxy.example.org"}, "CODEBASE_TRUSTED_PROXIES is wrong"),
        ({"CODEBASE_ALLOW_DELETION": "1"}, "CODEBASE_ALLOW_DELETION is '1'; set it to true or false"),
        ({"CODEBASE_DRAIN_SECONDS": "-1"}, "CODEBASE_DRAIN_SECONDS is '-1'; set it to whole seconds, 0 to 600"),
        ({"CODEBASE_LOG_LEVEL": "LOUD"}, "CODEBASE_LOG_LEVEL is 'LOUD'"),
        ({"CODEBASE_AUTH": "ldap"}, "CODEBASE_AUTH is 'ldap'; set it to one of kubernetes, oidc, tokens, none"),
        ({"CODEBASE_AUTH": "tokens"}, "set CODEBASE_TOKENS_FILE"),
        ({"CODEBASE_TOKEN_FILE": "/not/there"}, "CODEBASE_TOKEN_FILE cannot be read"),
        ({"CODEBASE_AUTH": "kubernetes", "CODEBASE_AUTH_AUDIENCES": "a b"}, "CODEBASE_AUTH_AUDIENCES holds 'a b'"),
        ({"CODEBASE_AUTH": "oidc"}, "CODEBASE_OIDC_ISSUER is ''"),
        ({**OIDC, "CODEBASE_OIDC_ISSUER": "http://issuer.example.org"}, "set it to an https URL"),
        ({**OIDC, "CODEBASE_OIDC_GRANTS": "developers"}, "CODEBASE_OIDC_GRANTS is no JSON"),
        (
            {**OIDC, "CODEBASE_OIDC_GRANTS": '[{"group": "a", "role": "king"}]'},
            "CODEBASE_OIDC_GRANTS is malformed",
        ),
        (
            {"CODEBASE_AUTH": "kubernetes", "CODEBASE_REFRESH": "true"},
            "CODEBASE_REFRESH is for a server of one user",
        ),
        ({"CODEBASE_READ_ONLY": "true", "CODEBASE_REFRESH": "true"}, "leave one of them out"),
        (
            {"CODEBASE_AUTH": "none", "CODEBASE_READ_ONLY": "true", "CODEBASE_REFRESH": "true"},
            "CODEBASE_READ_ONLY is true, so nothing is started here, and so is CODEBASE_REFRESH",
        ),
    ],
)
def test_a_wrong_setting_is_named_and_no_secret_is_told(change: dict[str, str], says: str) -> None:
    with pytest.raises(SettingsError) as error:
        Settings.from_env({**VALID, **change})
    assert says in str(error.value)
    assert "hunter2" not in str(error.value)


def test_nothing_is_said_of_identity_unless_it_is_set() -> None:
    assert Settings.from_env(VALID).auth is None
    assert not Settings.from_env(VALID).read_only


def test_groups_have_the_grants_of_the_settings() -> None:
    grants = [{"group": "a", "role": "reader"}, {"group": "a", "role": "writer", "namespaces": ["team"]}]
    auth = Settings.from_env({**VALID, **OIDC, "CODEBASE_OIDC_GRANTS": json.dumps(grants)}).auth
    assert auth is not None and auth.oidc is not None
    assert auth.oidc.grants == {
        "a": (Grant(Role.READER.rights), Grant(Role.WRITER.rights, frozenset(["team"]))),
    }


def test_the_token_of_an_owner_is_not_shown(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("hunter2\n")
    auth = Settings.from_env({**VALID, "CODEBASE_TOKEN_FILE": str(file)}).auth
    assert auth is not None and auth.owner_token == "hunter2" and not auth.tells_callers_apart
    assert "hunter2" not in repr(auth)
