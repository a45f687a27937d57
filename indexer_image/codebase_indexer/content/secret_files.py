"""Files whose purpose is to hold secrets, recognised by name, a few also by content. Pure.

Templates that are meant to be copied and filled in (`.env.example`) do not count. docs/what-is-indexed.md has the
list.
"""

import re
from dataclasses import dataclass

RULES_VERSION = 2
"""Part of a file's fingerprint: raise it with every change of what redaction.py redacts."""


@dataclass(frozen=True)
class SecretPolicy:
    """How secrets are treated: whether secret files are skipped, and tokens in other files redacted."""

    skip_files: bool = True
    redact: bool = True

    @property
    def version(self) -> str:
        """Part of a file's fingerprint, so that a change of policy indexes it again."""
        return f"secrets-{RULES_VERSION}{'' if self.skip_files else '+files'}{'' if self.redact else '+tokens'}"


_EXAMPLE = re.compile(r"(?:^|[._-])(?:examples?|samples?|templates?|tmpl|tpl|dist|defaults?|schema)(?:[._-]|$)")
_NAMES = frozenset(
    [
        ".netrc", "_netrc", ".pgpass", "pgpass.conf", ".my.cnf", ".mylogin.cnf", ".htpasswd", ".htdigest",
        ".git-credentials", ".dockercfg", ".pypirc", ".s3cfg", ".boto", ".vault-token", ".vault_pass",
        ".vault_pass.txt", ".vault-password", "credentials", ".credentials", "credentials.json",
        "application_default_credentials.json", "credentials.tfrc.json", ".terraformrc", "client_secret.json",
        "client_secrets.json", "accesstokens.json", "msal_token_cache.json",
        "kubeconfig", ".kubeconfig", ".dockerconfigjson",
    ]
)  # fmt: skip
_ENDINGS = (
    ".pem", ".key", ".p8", ".p12", ".pfx", ".jks", ".keystore", ".bcfks", ".ppk", ".kdbx", ".kdb", ".pkcs12",
    ".agekey", ".keytab", ".ovpn", ".tfstate", ".tfstate.backup", ".kubeconfig",
)  # fmt: skip
_PATHS = {
    "config": (".kube", ".aws"), "config.json": (".docker",), "credentials.toml": (".cargo",),
    "hosts.yml": ("gh",), "rclone.conf": ("rclone",),
}  # fmt: skip
"""Names that mean a secret file only in these folders."""

_ENVIRONMENT = re.compile(r"[\w-]*\.env(?:rc)?(?:[._-][\w-]+)*")
_CODE = (".ts", ".js", ".mjs", ".cjs", ".py", ".rb", ".go", ".php", ".md", ".sh")
_SSH_KEY = re.compile(r"id_(?:rsa|dsa|ecdsa|ed25519)(?:[_-][\w-]+|\.(?:bak|old|orig))?|ssh_host_\w+_key")

MAX_LOOK_BYTES = 256 * 1024
"""Size up to which content is checked: a larger file of these kinds is data, which is skipped anyway."""

_SERVICE_ACCOUNT = re.compile(rb"\"type\"\s{0,9}:\s{0,9}\"(?:service_account|authorized_user|external_account)\"")
_CREDENTIAL = re.compile(rb"\"(?:private_key|refresh_token|client_secret)\"\s{0,9}:\s{0,9}\"[^\"\s]{8}")
_KUBECONFIG = re.compile(rb"\bkind\"?:\s{0,9}\"?Config(?:[\s\",]|$)")
_KUBE_CREDENTIAL = re.compile(
    rb"^[ \t\"-]{0,40}(?:client-key-data|token|id-token|refresh-token|password)\"?:[ \t]{0,9}[^\s{<$][^\s]{7}",
    re.MULTILINE,
)
_NPM_CREDENTIAL = re.compile(
    rb"^[^#;\n]{0,300}_(?:authToken|auth|password)[ \t]{0,9}=[ \t]{0,9}\"?[^\s\"$]{8}", re.MULTILINE
)
_DOCKER_CREDENTIAL = re.compile(rb"\"(?:auth|identitytoken|password)\"\s{0,9}:\s{0,9}\"[^\"\s]{8}")
_STATE = re.compile(rb"\A\s{0,9}\{.{0,2000}\"terraform_version\"\s{0,9}:", re.DOTALL)


def is_secret_by_name(path: str) -> bool:
    """Say whether a file's name is that of a secret file.

    >>> is_secret_by_name("deploy/.env.production"), is_secret_by_name(".env.example")
    (True, False)
    """
    folder, _, name = path.lower().rpartition("/")
    found = (
        name in _NAMES
        or name.endswith(_ENDINGS)
        or (".env" in name and _ENVIRONMENT.fullmatch(name) is not None and not name.endswith(_CODE))
        or (name.startswith(("id_", "ssh_")) and _SSH_KEY.fullmatch(name) is not None)
        or (name in _PATHS and folder.rpartition("/")[2] in _PATHS[name])
    )
    return found and not _EXAMPLE.search(name)


def is_secret_by_content(path: str, data: bytes) -> bool:
    """Say whether a file contains credentials: of a service account, a cluster or a registry."""
    name = path.lower().rpartition("/")[2]
    if _EXAMPLE.search(name) or len(data) > MAX_LOOK_BYTES:
        return False
    if name.endswith((".npmrc", ".yarnrc")):
        return bool(_NPM_CREDENTIAL.search(data))
    if name.endswith(".json"):
        return _is_secret_json(data)
    if name.endswith((".yaml", ".yml", ".conf", ".config")) or "." not in name:
        return _is_kubeconfig(data)
    return False


def _is_kubeconfig(data: bytes) -> bool:
    return b"Config" in data and bool(_KUBECONFIG.search(data) and _KUBE_CREDENTIAL.search(data))


def _is_secret_json(data: bytes) -> bool:
    if _SERVICE_ACCOUNT.search(data) and _CREDENTIAL.search(data):
        return True
    if b'"auths"' in data and _DOCKER_CREDENTIAL.search(data):
        return True
    if _is_kubeconfig(data):
        return True
    return bool(b'"terraform_version"' in data and _STATE.search(data))
