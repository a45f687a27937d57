"""Files that are there to hold secrets: told by their name, a few by what is in them as well. Pure.

Examples that are meant to be copied and filled in (`.env.example`) are none. docs/what-is-indexed.md has the list.
"""

import re
from dataclasses import dataclass

RULES_VERSION = 2
"""Part of a file's fingerprint: raise it with every change of what redaction.py takes out."""


@dataclass(frozen=True)
class SecretPolicy:
    """What becomes of secrets: whether files that hold them are left out, and tokens in others are redacted."""

    leave_out: bool = True
    redact: bool = True

    @property
    def version(self) -> str:
        """What an index is made with: part of a file's fingerprint, so that another policy makes it anew."""
        return f"secrets-{RULES_VERSION}{'' if self.leave_out else '+files'}{'' if self.redact else '+tokens'}"


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
"""Names that say it together with their folder."""

_ENVIRONMENT = re.compile(r"[\w-]*\.env(?:rc)?(?:[._-][\w-]+)*")
_CODE = (".ts", ".js", ".mjs", ".cjs", ".py", ".rb", ".go", ".php", ".md", ".sh")
_SSH_KEY = re.compile(r"id_(?:rsa|dsa|ecdsa|ed25519)(?:[_-][\w-]+|\.(?:bak|old|orig))?|ssh_host_\w+_key")

MAX_LOOK_BYTES = 256 * 1024
"""Of a file whose content is looked at: above that a file of this kind is data, which is not indexed anyway."""

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
    """Say whether a file's name is that of one that holds secrets.

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
    """Say whether a file holds the secrets that its kind may: a service account's, a cluster's, a registry's."""
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
