import json

import pytest

from codebase_index.listening import EVERYWHERE
from codebase_mcp.settings import Settings, SettingsError

VALID = {
    "CODEBASE_DATABASE_URL": "postgresql://u:hunter2@db/codebase",
    "CODEBASE_ROOTS": json.dumps([{"path": "/srv/repositories", "mount": "/mnt/0"}]),
}


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
    ],
)
def test_a_wrong_setting_is_named_and_no_secret_is_told(change: dict[str, str], says: str) -> None:
    with pytest.raises(SettingsError) as error:
        Settings.from_env({**VALID, **change})
    assert says in str(error.value)
    assert "hunter2" not in str(error.value)
