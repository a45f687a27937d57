"""The address of a git repository, taken apart once and put together again from checked parts.

What is checked and what git connects to must be the same text, read in the same way. git decodes percent signs in
the host, curl takes a backslash for a slash, and ssh takes options for user names: so nothing of the kind is
accepted, and git is handed the address that `str()` makes of the parts, never the one that somebody wrote.
"""

import re
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import unquote_to_bytes

DEFAULT_PORTS: Final = {"https": 443, "ssh": 22}
MAX_URL_LENGTH: Final = 2048

_PARTS: Final = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?:(?P<user>[^@/?#\\]*)@)?(?P<host>[^@/:?#\\%\[\]]*)"
    r"(?::(?P<port>[^@/?#\\]*))?(?P<path>/[^?#\\]*)?(?P<rest>[?#].*)?"
)
_SCP: Final = re.compile(
    r"(?P<user>[A-Za-z0-9_][\w.-]*)@(?P<host>[A-Za-z0-9.-]+):(?P<path>[\w.~][\w./~-]*)", re.ASCII
)
_USER: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}")
_HOST: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*")
_PATH: Final = re.compile(r"(?:/(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})+)+")
_ESCAPED: Final = re.compile(r"%[0-9A-Fa-f]{2}")
_UNRESERVED: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")

# Names under which GitHub, GitLab and Bitbucket take a token, and the beginnings of their tokens.
_TOKEN: Final = re.compile(
    r"token|oauth2|x-access-token|x-token-auth|gitlab-ci-token|(?:gh[a-z]_|github_pat_|glpat-).*|ATC?[BT]\w{16,}|\w{30,}"
)
_AZURE: Final = re.compile(r"dev\.azure\.com|ssh\.dev\.azure\.com|.*\.visualstudio\.com")


class GitUrlInvalid(ValueError):
    """The text is not an address that git may be given. The message says why, and never repeats a credential."""


@dataclass(frozen=True)
class GitUrl:
    """A repository's address, in its canonical form: lower-case host, no default port, no user name for https,
    every character of the path that need not be escaped as itself (RFC 3986, section 6.2.2).
    """

    scheme: str
    user: str | None
    host: str
    port: int | None
    """None: the default of the scheme."""
    path: str

    @classmethod
    def parse(cls, text: str) -> "GitUrl":
        """Take an address apart. Raises GitUrlInvalid."""
        if len(text) > MAX_URL_LENGTH:
            raise GitUrlInvalid(f"the git URL is longer than {MAX_URL_LENGTH} characters")
        if not text.isascii() or not text.isprintable():
            raise GitUrlInvalid(
                "the git URL holds control characters, or letters that are not ASCII; write those of the path "
                "as percent escapes, and a host name in its xn-- form"
            )
        _require_scheme(text)
        parts = _PARTS.fullmatch(text)
        if parts is None:
            raise GitUrlInvalid(
                "the git URL is malformed: before the path there may be a plain user name, a host name and a "
                "port, and nowhere a backslash; write https://HOST/PATH or ssh://USER@HOST/PATH"
            )
        scheme = parts["scheme"].lower()
        if scheme not in DEFAULT_PORTS:
            raise GitUrlInvalid(f"a git URL must be https:// or ssh://, not {scheme}://")
        if parts["rest"]:
            raise GitUrlInvalid("the git URL has a query or a fragment (? or #); give the address without it")
        host = parts["host"].lower()
        if "_" in host:
            raise GitUrlInvalid(
                "the git URL has an underscore in its host, which no host name may have (RFC 1123); write another "
                "name of that host, such as an alias in DNS without underscore, or its IPv4 address"
            )
        if not _HOST.fullmatch(host) or len(host) > 253:
            raise GitUrlInvalid("the git URL names no valid host; write https://HOST/PATH or ssh://USER@HOST/PATH")
        return cls(
            scheme, _user(scheme, parts["user"]), host, _port(scheme, parts["port"]), _path(host, parts["path"])
        )

    def __str__(self) -> str:
        """Return the canonical address, which git is given."""
        user = f"{self.user}@" if self.user else ""
        port = f":{self.port}" if self.port else ""
        return f"{self.scheme}://{user}{self.host}{port}{self.path}"

    @property
    def identity(self) -> str:
        """What tells this repository from others: hosts answer with and without `.git`, so that is left out."""
        return str(replace(self, path=self.path.removesuffix(".git")))

    @property
    def effective_port(self) -> int:
        """The port that git connects to."""
        return self.port or DEFAULT_PORTS[self.scheme]


def identity_of(url: str) -> str:
    """Return the identity of an address; of one that is not valid, the text itself."""
    try:
        return GitUrl.parse(url).identity
    except GitUrlInvalid:
        return url.rstrip("/")


def _require_scheme(text: str) -> None:
    """Refuse what has no scheme, with the address that was probably meant."""
    if "://" in text:
        return
    scp = _SCP.fullmatch(text)
    if scp:
        meant = f"ssh://{scp['user']}@{scp['host'].lower()}/{scp['path']}"
        raise GitUrlInvalid(
            f"a git URL must be https:// or ssh://; for {text!r}, the short form of ssh, write {meant}"
        )
    raise GitUrlInvalid("the git URL has no scheme; it must be https:// or ssh://")


def _user(scheme: str, user: str | None) -> str | None:
    """Return the user name for ssh. For https it is dropped: Bitbucket and Azure put one into the addresses that
    they show, and git would only ask for its password. A password, or what looks like a token, is refused.
    """
    if user is None:
        return None
    if ":" in user or (scheme == "https" and _TOKEN.fullmatch(user)):
        raise GitUrlInvalid(
            "the git URL holds credentials; leave them out, and name a Secret that has them in git.secretRef"
        )
    if not _USER.fullmatch(user):
        instead = (
            "write https://HOST/PATH, without it; a name that the host asks for goes into the Secret of "
            "git.secretRef, as username"
            if scheme == "https"
            else "write the name by which the host knows git, as in ssh://git@HOST/PATH"
        )
        raise GitUrlInvalid(
            "the user name in the git URL may have letters, digits, '.', '_' and '-', and no percent escape, and "
            f"begins with a letter, a digit or '_'; {instead}"
        )
    return user if scheme == "ssh" else None


def _port(scheme: str, port: str | None) -> int | None:
    if port is None:
        return None
    if not re.fullmatch(r"[0-9]{1,5}", port) or not 0 < int(port) < 65536:
        raise GitUrlInvalid("the port in the git URL is not a number from 1 to 65535")
    return None if int(port) == DEFAULT_PORTS[scheme] else int(port)


def _path(host: str, path: str | None) -> str:
    """Return the path with one slash between its segments, none at the end, and no escape that is not needed."""
    if _AZURE.fullmatch(host):
        path = (path or "").replace(" ", "%20")  # names of projects have spaces, and browsers show them so
    segments = [segment for segment in (path or "").split("/") if segment]
    if not segments:
        raise GitUrlInvalid("the git URL has no path; give the repository's, as in https://HOST/OWNER/NAME")
    plain = "/" + "/".join(segments)
    if not _PATH.fullmatch(plain):
        raise GitUrlInvalid(
            "the path of the git URL holds a character that URLs do not have, such as a space; write it as a "
            "percent escape (a space is %20)"
        )
    clean = _ESCAPED.sub(_normalize_escape, plain)
    if any(segment in (".", "..") for segment in clean.split("/")):
        raise GitUrlInvalid("the path of the git URL holds '.' or '..'; give it without them")
    return clean


def _normalize_escape(escape: re.Match[str]) -> str:
    """Return an escaped character as itself where that is the same, else the escape in upper case."""
    code = unquote_to_bytes(escape[0])[0]
    if code < 0x20 or code == 0x7F or code in b"/\\":
        raise GitUrlInvalid("the path of the git URL holds an escaped slash, backslash or control character")
    return chr(code) if code in _UNRESERVED else escape[0].upper()
