"""Files whose purpose is to hold secrets, recognised by name, a few also by content. Pure.

Templates that are meant to be copied and filled in (`.env.example`) do not count. docs/what-is-indexed.md has the
list.
"""

import re
from dataclasses import dataclass
from typing import Final

RULES_VERSION = 3
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


DEFAULT_POLICY: Final = SecretPolicy()
"""The policy unless a site says otherwise."""

_EXAMPLE = re.compile(
    r"(?:^|[._-])(?:examples?|samples?|templates?|tmpl|tpl)(?:[._-]|$)|[._-](?:dist|defaults?|schema)$"
)
"""Told by its name. `.env.dist` is to be copied, `dist.env` is in use."""

_BACKUPS = ("bak", "backup", "old", "orig", "save", "saved", "swp", "swo", "tmp")
_COPY = re.compile(
    r"\A(?:\.?#|copy of )"
    r"|(?: -)? copy(?: ?\(?\d{1,3}\)?)?(?=\.|\Z)| ?\(\d{1,3}\)(?=\.|\Z)| \d{1,3}(?=\.|\Z)"
    rf"|(?:~|#|\.~\d{{1,4}}~|\.(?:{'|'.join(_BACKUPS)})\d{{0,3}}|\.\d{{1,14}})+\Z"
)
"""What editors, desktops and people add to the name of a file when they copy it."""

_MAY_BE_COPY = re.compile(r"[~# (]")

_NAMES = frozenset(
    [
        ".netrc", "_netrc", ".pgpass", "pgpass.conf", ".my.cnf", ".mylogin.cnf", ".htpasswd", ".htdigest",
        ".git-credentials", ".dockercfg", ".pypirc", ".s3cfg", ".boto", ".vault-token", ".vault_pass",
        ".vault_pass.txt", ".vault-password", "credentials", ".credentials", "credentials.json",
        "application_default_credentials.json", "credentials.tfrc.json", ".terraformrc", "client_secret.json",
        "client_secrets.json", "accesstokens.json", "msal_token_cache.json",
        "kubeconfig", ".kubeconfig", ".dockerconfigjson", ".flaskenv", "rootkey.csv", "credentials.csv",
        "terraform.tfvars", "terraform.tfvars.json",
    ]
)  # fmt: skip
_ENDINGS = (".ovpn", ".kubeconfig", ".auto.tfvars", ".auto.tfvars.json")
_KEY_ENDINGS = (
    ".pem", ".key", ".p8", ".p12", ".pfx", ".jks", ".keystore", ".bcfks", ".ppk", ".kdbx", ".kdb", ".pkcs12",
    ".agekey", ".keytab", ".tfstate",
)  # fmt: skip
"""Of files that nobody fills in: there are no examples of them, so that `default.key` is a key."""

_PATHS = {
    "config": (".kube", ".aws"), "config.json": (".docker",), "credentials.toml": (".cargo",),
    "hosts.yml": ("gh",), "rclone.conf": ("rclone",), "secrets.toml": (".streamlit",),
}  # fmt: skip
"""Names that mean a secret file only in these folders."""

_ENVIRONMENT = re.compile(
    r"[\w-]*\.env(?:rc)?(?:[._-][\w-]+)*"
    r"|env\.(?:local|dev(?:elopment)?|tests?|testing|ci|qa|uat|stag(?:e|ing)|prod(?:uction)?|live|secrets?|private)"
    r"(?:\.local)?"
)
"""Without the dot in front only before the name of a place: `env.py` and `env.d.ts` are code."""

_CODE = (".ts", ".js", ".mjs", ".cjs", ".py", ".rb", ".go", ".php", ".md", ".sh")
_SSH_KEY = re.compile(r"id_(?:rsa|dsa|ecdsa|ed25519)(?:[_-][\w-]+)?|ssh_host_\w+_key")

MAX_LOOK_BYTES = 256 * 1024
"""Size up to which content is checked: a larger file of these kinds is data, which is skipped anyway."""

_SERVICE_ACCOUNT = re.compile(rb"\"type\"\s{0,9}:\s{0,9}\"(?:service_account|authorized_user|external_account)\"")
_CREDENTIAL = re.compile(rb"\"(?:private_key|refresh_token|client_secret)\"\s{0,9}:\s{0,9}\"[^\"\s]{8}")
_KUBECONFIG = re.compile(rb"\bkind[\"']?:\s{0,9}[\"']?Config(?:[\s\"',}]|$)")
_KUBE_CREDENTIAL = re.compile(
    rb"(?:^|[{,])[ \t\"'-]{0,40}(?:client-key-data|token|id-token|refresh-token|password)[\"']?:[ \t]{0,9}"
    rb"[\"']?[^\s\"'{<$][^\s]{7}",
    re.MULTILINE,
)
_NPM_CREDENTIAL = re.compile(
    rb"^[^#;\n]{0,300}(?:_(?:authToken|auth|password)[ \t]{0,9}=|npmAuth(?:Token|Ident)[\"']?:)[ \t]{0,9}"
    rb"[\"']?[^\s\"'$]{8}",
    re.MULTILINE,
)
_DOCKER_CREDENTIAL = re.compile(rb"\"(?:auth|identitytoken|password)\"\s{0,9}:\s{0,9}\"[^\"\s]{8}")
_STATE = (
    re.compile(rb"\"terraform_version\"\s{0,9}:"),
    re.compile(rb"\"(?:resources|modules|outputs|values)\"\s{0,9}:\s{0,9}[\[{]"),
)
_VALUES = re.compile(r"(?:^|[._-])secrets?(?:[._-][\w-]+)*\.(?:ya?ml|toml)|.*\.tfvars(?:\.json)?")
"""Names of files with values for a program, of which some may be secret."""

_VALUE = re.compile(
    rb"(?:^|[{,])[ \t\"'-]{0,40}[\w.-]{0,60}"
    rb"(?:password|passwd|secret|token|api_?key|access_?key|private_?key|secret_key_base)[\"']?"
    rb"[ \t]{0,20}[=:][ \t]{0,20}[\"']?(?!ENC\[)[^\s\"'{<$#|>&*!][^\s]{7}",
    re.MULTILINE | re.IGNORECASE,
)
"""One that stands there: no variable, no reference, not encrypted by SOPS or Ansible."""

_RENDERED = (".j2", ".jinja", ".jinja2", ".erb", ".gotmpl", ".txt")
"""Behind the ending that says what a file is."""


def is_secret_by_name(path: str) -> bool:
    """Say whether a file's name is that of a secret file.

    >>> is_secret_by_name("deploy/.env.production"), is_secret_by_name(".env.example")
    (True, False)
    """
    folder, _, name = path.lower().rpartition("/")
    name = _original(name)
    if name.endswith(_KEY_ENDINGS) or (name.startswith(("id_", "ssh_")) and _SSH_KEY.fullmatch(name) is not None):
        return True
    found = (
        name in _NAMES
        or name.endswith(_ENDINGS)
        or ("env" in name and _ENVIRONMENT.fullmatch(name) is not None and not name.endswith(_CODE))
        or (name in _PATHS and folder.rpartition("/")[2] in _PATHS[name])
    )
    return found and not _EXAMPLE.search(name)


def _original(name: str) -> str:
    """Return the name of what a file is a copy of, by its name: such a file is judged as that one.

    >>> _original(".env~"), _original("key copy 2.pem"), _original("keys.py")
    ('.env', 'key.pem', 'keys.py')
    """
    if name.rpartition(".")[2].rstrip("0123456789") in ("", *_BACKUPS) or _MAY_BE_COPY.search(name):
        return _COPY.sub("", name)
    return name


def is_secret_by_content(path: str, data: bytes) -> bool:
    """Say whether a file holds the secrets that its kind may: a service account's, a cluster's, a registry's."""
    name = _original(path.lower().rpartition("/")[2])
    if _EXAMPLE.search(name) or len(data) > MAX_LOOK_BYTES:
        return False
    while name.endswith(_RENDERED):
        name = name.rpartition(".")[0]
    if name.endswith((".npmrc", ".yarnrc", ".yarnrc.yml")):
        return bool(_NPM_CREDENTIAL.search(data))
    if _VALUES.fullmatch(name) and _VALUE.search(data):
        return True
    if name.endswith(".json") or data[:64].lstrip().startswith(b"{"):
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
    return all(form.search(data) for form in _STATE)
