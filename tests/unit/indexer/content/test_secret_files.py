"""Files that hold secrets are left out, whatever patterns say; the examples beside them are not."""

import json
from pathlib import Path

import pytest

from codebase_indexer.content.secret_files import SecretPolicy, is_secret_by_content, is_secret_by_name
from codebase_indexer.content.skipping import Skip
from codebase_indexer.settings import Settings
from codebase_indexer.source.scan import scan
from tests.fixtures import secrets

PASSWORD = secrets.of(secrets.ALL, 20)


@pytest.mark.parametrize(
    "path",
    [
        ".env", "a/.env", ".env.local", ".env.production", "deploy/prod.env", ".env_prod", ".ENV", ".netrc",
        "_netrc", ".pgpass", ".htpasswd", ".git-credentials", ".pypirc", "id_rsa", "keys/id_ed25519", "id_rsa.bak",
        "id_rsa_deploy", "ssh_host_ed25519_key", "server.pem", "tls.key", "store.p12", "store.pfx", "release.jks",
        "a.keystore", "a.p8", "terraform.tfstate", "env/terraform.tfstate.backup", ".docker/config.json",
        "home/.kube/config", ".aws/config", ".aws/credentials", "credentials.json", ".cargo/credentials.toml",
        "client_secret.json", "kubeconfig", "prod.kubeconfig", "vpn.ovpn", "a.kdbx", ".dockercfg", ".s3cfg",
        ".envrc", "app/.envrc.local", ".dockerconfigjson", "deploy/.dockerconfigjson", "certificate.pem",
        "default.tfstate", "default.key", "default-ssl.key", "default.pem", "sample.p12", "schema.p8", "dist.env",
        "id_rsa_default", "terraform.tfvars", "prod.auto.tfvars", "terraform.tfstate.1700000000.backup",
        ".flaskenv", ".streamlit/secrets.toml", "credentials.csv", "rootkey.csv",
        "env.local", "env.production", "deploy/env.prod.local",
    ],
)  # fmt: skip
def test_a_file_that_holds_secrets_is_told_by_its_name(path: str) -> None:
    assert is_secret_by_name(path)


@pytest.mark.parametrize(
    "path",
    [
        ".env.example", ".envrc.example", ".env.sample", ".env.template", ".env.dist", "example.env",
        ".env.local.example",
        ".env.defaults", "env.py", "src/env.ts", ".env.d.ts", "environment.yml", ".environment", "id_rsa.pub",
        "id_rsa.py", "keys.py", "key.go", "pem.c", "config.json", "config", "src/config.json", "credentials.py",
        "src/credentials.go", "credentials.example.json", "secrets.yaml", "templates/secrets.yaml", "token.rs",
        "monkey", "public.key.md", "docs/.env.md", "tfstate.go", "hosts.yml", ".npmrc", "id_card.svg",
        "server.key.example", "id_rsa.example", "terraform.tfvars.example", "credentials.sample.json",
        "sample.ovpn", ".env.schema", "variables.tf", "secrets.toml", "users.csv",
        ".env.example~", "env.py.bak", "copy.py", "~",
        "env.local.ts", "env.go", "env.example", "env.md",
    ],
)  # fmt: skip
def test_a_file_that_only_sounds_like_it_is_none(path: str) -> None:
    assert not is_secret_by_name(path)


@pytest.mark.parametrize(
    "name",
    [".env", ".env.local", "prod.env", "id_rsa", "key.pem", "server.key", ".netrc", ".pgpass", ".npmrc.key",
     ".git-credentials", "credentials.json", ".docker/config.json", ".kube/config", "terraform.tfstate"],
)  # fmt: skip
@pytest.mark.parametrize(
    "copy",
    ["{}~", "#{}#", ".#{}", "{}.bak", "{}.bak2", "{}.old", "{}.orig", "{}.save", "{}.swp", "{}.~1~", "{}.1",
     "{} copy", "{} copy 2", "{} 2", "{} (1)", "Copy of {}", "{}.1700000000.backup", "{}.old~"],
)  # fmt: skip
def test_a_copy_is_judged_by_the_name_of_what_was_copied(name: str, copy: str) -> None:
    folder, separator, name = name.rpartition("/")
    assert is_secret_by_name(folder + separator + copy.format(name))
    assert not is_secret_by_name(folder + separator + copy.format("app.py"))
    assert not is_secret_by_name(folder + separator + copy.format(".env.dist"))


@pytest.mark.parametrize(
    "name", ["key copy.pem", "key - Copy.pem", "key (1).pem", "credentials (2).json", "key 2.pem"]
)
def test_a_copy_of_a_desktop_has_its_mark_before_the_ending(name: str) -> None:
    assert is_secret_by_name(name)


KUBECONFIG = f"""apiVersion: v1
kind: Config
clusters:
- cluster: {{server: https://10.0.0.1:6443}}
  name: prod
users:
- name: admin
  user:
    token: {PASSWORD}
"""
SERVICE_ACCOUNT = {
    "type": "service_account",
    "project_id": "shop",
    "private_key_id": "1f",
    "private_key": PASSWORD,
}


@pytest.mark.parametrize(
    ("path", "text", "secret"),
    [
        ("shop-1f2e.json", json.dumps(SERVICE_ACCOUNT, indent=2), True),
        ("shop.json", json.dumps(SERVICE_ACCOUNT), True),
        ("adc.json", json.dumps({"type": "authorized_user", "refresh_token": PASSWORD}), True),
        ("shop.example.json", json.dumps(SERVICE_ACCOUNT), False),
        ("schema.json", json.dumps({"type": "service_account", "private_key": {"type": "string"}}), False),
        ("docker.json", json.dumps({"auths": {"ghcr.io": {"auth": PASSWORD}}}), True),
        ("docker.json", json.dumps({"auths": {"ghcr.io": {}}, "credsStore": "desktop"}), False),
        ("state.json", json.dumps({"version": 4, "terraform_version": "1.9.0", "resources": []}), True),
        ("package.json", json.dumps({"name": "shop", "scripts": {"auth": "node auth.js"}}), False),
        ("prod.yaml", KUBECONFIG, True),
        ("admin.conf", KUBECONFIG.replace("token:", "client-key-data:"), True),
        ("cluster", KUBECONFIG, True),
        ("prod.yaml", KUBECONFIG.replace(PASSWORD, "<your-token-here>"), False),
        ("prod.yaml", KUBECONFIG.replace(PASSWORD, "{{ .Values.adminToken }}"), False),
        ("map.yaml", "kind: ConfigMap\ndata:\n  token: a-key-of-the-map\n", False),
        ("docs/prod.md", KUBECONFIG, False),
        ("prod.yaml", KUBECONFIG.replace("Config", "'Config'"), True),
        ("prod.yaml", KUBECONFIG.replace("\n    token", " {token") + "}", True),
        ("prod.yml.j2", KUBECONFIG, True),
        ("prod.yml.j2", KUBECONFIG.replace(PASSWORD, "'{{ admin_token }}'"), False),
        ("prod.json", json.dumps({"kind": "Config", "users": [{"user": {"token": PASSWORD}}]}), True),
        ("shop.txt", json.dumps(SERVICE_ACCOUNT), True),
        ("shop_default.json", json.dumps(SERVICE_ACCOUNT), True),
        ("shop.json~", json.dumps(SERVICE_ACCOUNT), True),
        ("state.json", json.dumps({"outputs": {"a": "x " * 1200}, "terraform_version": "1.9.0"}), True),
        ("versions.json", json.dumps({"terraform_version": "1.9.0", "helm_version": "3.14"}), False),
        (".yarnrc.yml", f"npmAuthToken: {PASSWORD}\n", True),
        (".yarnrc.yml", 'npmAuthToken: "${NPM_TOKEN}"\nnodeLinker: node-modules\n', False),
        ("secrets.yml", f"production:\n  db_password: {PASSWORD}\n", True),
        ("secrets.prod.yaml", f'data: {{"api-token": "x", "DB_PASSWORD": "{PASSWORD}"}}\n', True),
        ("templates/secrets.yaml", "stringData:\n  password: {{ .Values.password | quote }}\n", False),
        ("secrets.yml", "secret_key_base: <%= ENV['KEY'] %>\ntoken: !vault |\n  $ANSIBLE_VAULT;1.1\n", False),
        ("secrets.yaml", "password: ENC[AES256_GCM,data:x7Kq2mPw,type:str]\n", False),
        ("prod.tfvars", f'region = "eu-1"\ndb_password = "{PASSWORD}"\n', True),
        ("prod.tfvars", 'region = "eu-central-1"\ntoken_name = "deploy-of-the-shop"\n', False),
        (".npmrc", f"//registry.npmjs.org/:_authToken={PASSWORD}\n", True),
        (".npmrc", f"registry=https://npm.shop\n_auth = {PASSWORD}\n", True),
        (".npmrc", "//registry.npmjs.org/:_authToken=${NPM_TOKEN}\nsave-exact=true\n", False),
        (".npmrc", f"# //registry.npmjs.org/:_authToken={PASSWORD}\nengine-strict=true\n", False),
    ],
)
def test_some_files_are_told_by_what_is_in_them(path: str, text: str, secret: bool) -> None:
    assert is_secret_by_content(path, text.encode()) is secret


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    for path in (".env", "deploy/.env.prod", "id_rsa", "app.py", ".env.example"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text("A=1\n")
    return tmp_path


def test_secret_files_are_listed_as_skipped_with_the_reason(repository: Path) -> None:
    found = {e.path: e.skip_reason for e in scan(repository, boundary=repository)}
    assert found == {
        ".env": Skip.SENSITIVE_NAME, "deploy/.env.prod": Skip.SENSITIVE_NAME, "id_rsa": Skip.SENSITIVE_NAME,
        "app.py": None, ".env.example": None,
    }  # fmt: skip


def test_no_pattern_brings_a_secret_file_back(repository: Path) -> None:
    (repository / ".mcpignore").write_text("*\n!.env\n!id_rsa\n!deploy\n!deploy/.env.prod\n")
    found = {e.path: e.skip_reason for e in scan(repository, boundary=repository, include=[".env", "id_rsa"])}
    assert found and set(found.values()) == {Skip.SENSITIVE_NAME}


def test_the_setting_brings_them_back(repository: Path) -> None:
    found = [e.skip_reason for e in scan(repository, boundary=repository, secrets=SecretPolicy(skip_files=False))]
    assert found == [None] * 5


def test_a_file_with_a_token_in_its_path_is_left_out_and_listed_without_it(tmp_path: Path) -> None:
    token = "ghp_" + secrets.of(secrets.ALL, 36)
    for path in (f"a/dump-{token}.py", f"{token}/b.py", "c.py"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text("A = 1\n")
    found = {e.path: e.skip_reason for e in scan(tmp_path, boundary=tmp_path)}
    assert found == {
        "a/dump-[redacted: github-token].py": Skip.SENSITIVE_PATH,
        "[redacted: github-token]/b.py": Skip.SENSITIVE_PATH,
        "c.py": None,
    }
    kept = scan(tmp_path, boundary=tmp_path, secrets=SecretPolicy(redact=False))
    assert [e.skip_reason for e in kept] == [None] * 3


def environment(**more: str) -> dict[str, str]:
    return {
        "CODEBASE_JOB_ID": "00000000-0000-0000-0000-000000000001", "CODEBASE_ATTEMPT": "1", "CODEBASE_POD": "p",
        "CODEBASE_JOB_SPEC": "{}", "CODEBASE_DATABASE_URL": "postgresql://u@h/d", "CODEBASE_ROOTS": "[]", **more,
    }  # fmt: skip


def test_both_are_on_unless_a_site_switches_them_off() -> None:
    assert Settings.from_env(environment()).secrets == SecretPolicy(skip_files=True, redact=True)
    off = Settings.from_env(environment(CODEBASE_SKIP_SECRET_FILES="false", CODEBASE_REDACT_SECRETS="false"))
    assert off.secrets == SecretPolicy(skip_files=False, redact=False)
    for value in ("no", "0", "off"):
        with pytest.raises(ValueError, match="set it to true or false"):
            Settings.from_env(environment(CODEBASE_REDACT_SECRETS=value))


def test_each_policy_makes_an_index_of_its_own() -> None:
    policies = [SecretPolicy(skip_files, redact) for skip_files in (True, False) for redact in (True, False)]
    assert len({policy.version for policy in policies}) == 4
