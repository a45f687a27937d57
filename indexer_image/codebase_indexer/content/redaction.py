"""Redacts secrets from a text before anything is made of it: tokens, passwords in URLs, and private keys. Pure.

Only formats that their issuers publish, so that hashes, UUIDs and ordinary names stay. All of them form one
regular expression for RE2, which reads each byte once, whatever the file contains. docs/what-is-indexed.md has the
list.

Nearly every text has none, which a coarser expression (`COARSE_PATTERN`) finds out: counting to 251 takes a state
for each number, and a table of states that does not fit into the processor's cache beside the parser's is slow.
"""

import functools
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import re2

_BEFORE = r"(?:\b|_|\\(?:[abefnrtv]|[0-7]{2,3}|x[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4})|[%=][0-9A-Fa-f]{2}|\[[0-9;]{0,8}m)"
"""Where a token begins: at a word, or after `_`, an escape (`\\n`), a percent code (`%3D`, in mail `=3D`) or a
terminal's colour. These end in a letter or a digit, so that no word begins behind them."""

_AFTER = r"(?:[^A-Za-z0-9]|$)"

_SLASH = r"(?:/|\\/|\\u002[fF]|%2[fF])"
_EQUALS = r"(?:=|\\u003[dD]|%3[dD])"
_SIGN = r"(?:[A-Za-z0-9+/]|\\/|\\u002[bBfF]|%2[bBfF])"
"""Of Base64. JSON may escape its signs (`\\/` PHP's, `\\u002b` Go's and .NET's), a query's are percent codes."""

_QUOTES = r"[\\\"'\])]{0,4}"
"""Around a name or a value, escaped maybe: a string within a string."""

TOKENS: dict[str, str] = {
    # Clouds
    "aws_access_key_id": r"\b(A(?:KIA|SIA|BIA|CCA)[A-Z0-9]{16})\b",
    "aws_secret_access_key": (  # also as `name: ..., value: ...`, and as an argument
        rf"(?i:(?:aws[_-]?secret[_-]?(?:access[_-]?)?|secret[_-]?access[_-]?)key){_QUOTES}"
        rf"(?:\s{{0,5}}[=:,>]{{1,2}}\s{{0,40}}|\s{{1,40}})(?:{_QUOTES}(?i:value){_QUOTES}\s{{0,5}}[=:]\s{{0,5}})?{_QUOTES}"
        rf"({_SIGN}{{40}})(?:[^A-Za-z0-9/+=]|$)"
    ),
    "azure_storage_key": rf"AccountKey{_EQUALS}({_SIGN}{{86}}{_EQUALS}{_EQUALS})",
    "azure_shared_access_key": rf"SharedAccessKey{_EQUALS}({_SIGN}{{43}}{_EQUALS})",
    "google_api_key": r"\b(AIza[A-Za-z0-9_-]{35})\b",
    "google_oauth_secret": r"\b(GOCSPX-[A-Za-z0-9_-]{28})",
    "google_oauth_token": r"\b(ya29\.[A-Za-z0-9_-]{40,})",
    "alibaba_access_key_id": r"\b(LTAI[A-Za-z0-9]{20})\b",
    "digitalocean_token": r"\b(do[opr]_v1_[a-f0-9]{64})\b",
    "databricks_token": r"\b(dapi[a-f0-9]{32}(?:-\d)?)\b",
    "heroku_api_key": r"\b(HRKU-[A-Za-z0-9_-]{36,80})",
    "flyio_token": r"\b(fo1_[A-Za-z0-9_-]{43})",
    "planetscale_token": r"\b(pscale_(?:tkn|oauth|pw)_[A-Za-z0-9_.=-]{32,64})",
    "supabase_key": r"\b(sb(?:p_[a-f0-9]{40}|_secret_[A-Za-z0-9_-]{20,}))",
    "netlify_token": r"\b(nfp_[A-Za-z0-9]{36})\b",
    # Source hosting, packages, builds
    "github_token": r"\b(gh[pousr]_[A-Za-z0-9]{36,251}|github_pat_[A-Za-z0-9_]{36,100})\b",
    "gitlab_token": (
        r"\b(gl(?:pat|ptt|dt|rt|rtr|cbt|ft|ffct|imt|agent|oas|soat)-[A-Za-z0-9_-]{20,}"
        r"(?:\.[a-z0-9]{2}\.[a-z0-9]{9})?)"
    ),
    "bitbucket_token": r"\b(ATBB[A-Za-z0-9]{32})\b",
    "atlassian_token": r"\b(AT(?:ATT|CTT)3[A-Za-z0-9_=-]{50,})",
    "npm_token": r"\b(npm_[A-Za-z0-9]{36})\b",
    "npm_auth_token": r":_(?:authToken|auth|password)\s{0,3}=\s{0,3}\"?([A-Za-z0-9+/=_-]{16,})",
    "pypi_token": r"\b(pypi-AgE[A-Za-z0-9_-]{50,})",
    "rubygems_api_key": r"\b(rubygems_[a-f0-9]{48})\b",
    "docker_token": r"\b(dckr_(?:pat|oat)_[A-Za-z0-9_-]{20,})",
    "circleci_token": r"\b(CCI(?:PAT|PRJ)_[A-Za-z0-9]{15,30}_[a-f0-9]{40})\b",
    "buildkite_token": r"\b(bk(?:ua|aj|ct)_[a-f0-9]{40})\b",
    "pulumi_token": r"\b(pul-[a-f0-9]{40})\b",
    "terraform_cloud_token": r"\b([A-Za-z0-9]{14}\.atlasv1\.[A-Za-z0-9_-]{60,})",
    "vault_token": r"\b(hv[sbr]\.[A-Za-z0-9_-]{24,})",
    "doppler_token": r"\b(dp\.(?:ct|pt|st|sa|scim|audit)\.[A-Za-z0-9._-]{40,})",
    "tailscale_key": r"\b(tskey-[a-z]{3,12}-[A-Za-z0-9]{6,24}-[A-Za-z0-9]{20,})",
    # Models
    "openai_api_key": (
        r"\b(sk-(?:(?:proj|svcacct|admin)-[A-Za-z0-9_-]{20,}|[A-Za-z0-9]{20}T3BlbkFJ[A-Za-z0-9]{20}"
        r"|[A-Za-z0-9]{48}))\b"
    ),
    "anthropic_api_key": r"\b(sk-ant-[a-z]{3,5}\d\d-[A-Za-z0-9_-]{20,})",
    "openrouter_api_key": r"\b(sk-or-v1-[a-f0-9]{64})\b",
    "huggingface_token": r"\b((?:hf|api_org)_[A-Za-z0-9]{30,40})\b",
    "groq_api_key": r"\b(gsk_[A-Za-z0-9]{52})\b",
    "xai_api_key": r"\b(xai-[A-Za-z0-9]{80})\b",
    "perplexity_api_key": r"\b(pplx-[A-Za-z0-9]{48})\b",
    "replicate_token": r"\b(r8_[A-Za-z0-9]{37})\b",
    "nvidia_api_key": r"\b(nvapi-[A-Za-z0-9_-]{64})",
    # Messages
    "slack_token": (
        r"\b(xox(?:[abposr]-(?:\d{1,20}-)+[A-Za-z0-9-]{8,}|e\.xox[bp]-\d-[A-Za-z0-9]{40,}|e-\d-[A-Za-z0-9]{40,})"
        r"|xapp-\d-[A-Z0-9]{8,14}-\d{8,16}-[a-z0-9]{40,})"
    ),
    "slack_webhook": (
        rf"hooks\.slack\.com{_SLASH}(?:services|workflows|triggers){_SLASH}"
        rf"(T[A-Z0-9]{{7,14}}{_SLASH}[A-Z0-9]{{8,24}}{_SLASH}(?:\d{{10,20}}{_SLASH})?[A-Za-z0-9]{{20,40}})"
    ),
    "discord_token": (  # its first part is the Base64 of 17 to 20 digits
        r"\b((?:[MNO][DTjz][AEIMQUYcgk][w-z0-5]){5,6}[A-Za-z0-9]{0,3}\.[A-Za-z0-9_-]{6}\.[A-Za-z0-9_-]{27,38})"
    ),
    "discord_webhook": (
        rf"discord(?:app)?\.com{_SLASH}api{_SLASH}(?:v\d{{1,2}}{_SLASH})?webhooks{_SLASH}\d{{17,20}}{_SLASH}"
        r"([A-Za-z0-9_-]{60,80})"
    ),
    "teams_webhook": (
        rf"webhook\.office\.com{_SLASH}webhookb2{_SLASH}"
        rf"([a-f0-9@-]{{60,80}}{_SLASH}IncomingWebhook{_SLASH}[a-f0-9]{{32}}{_SLASH}[a-f0-9-]{{36}})"
    ),
    "telegram_bot_token": r"\b(\d{8,10}:AA[A-Za-z0-9_-]{33})\b",
    "sendgrid_api_key": r"\b(SG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43})",
    "mailgun_api_key": r"\b(key-[a-f0-9]{32})\b",
    "mailchimp_api_key": r"\b([a-f0-9]{32}-us\d{1,2})\b",
    "twilio_api_key": r"\b(SK[a-f0-9]{32})\b",
    # Payments and shops
    "stripe_api_key": r"\b([sr]k_(?:live|test|prod)_[A-Za-z0-9]{16,247})\b",
    "stripe_webhook_secret": r"\b(whsec_[A-Za-z0-9+/]{32,}=?)",
    "shopify_token": r"\b(shp(?:at|ca|pa|ss|tka)_[A-Fa-f0-9]{32})\b",
    "square_token": r"\b(sq0(?:atp|csp|idp)-[A-Za-z0-9_-]{22,43})",
    # Tools
    "airtable_token": r"\b(pat[A-Za-z0-9]{14}\.[a-f0-9]{64})\b",
    "figma_token": r"\b(fig[dour]_[A-Za-z0-9_-]{40,})",
    "grafana_token": r"\b(glsa_[A-Za-z0-9]{32}_[A-Fa-f0-9]{8}|glc_[A-Za-z0-9+/]{32,}={0,2})",
    "linear_token": r"\b(lin_(?:api|oauth)_[A-Za-z0-9]{32,64})\b",
    "newrelic_key": r"\b(NR(?:AK|II|RA)-[A-Za-z0-9_-]{27,40})",
    "notion_token": r"\b(ntn_[A-Za-z0-9]{40,})\b",
    "postman_api_key": r"\b(PMAK-[a-f0-9]{24}-[a-f0-9]{34})\b",
    "sentry_token": r"\b(sntry[su]_[A-Za-z0-9_+/=-]{40,})",
    "age_secret_key": r"\b(AGE-SECRET-KEY-1[AC-HJ-NP-Z02-9]{58})\b",
    "jwt": r"\b(eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{20,})",
    "authorization_header": (
        rf"(?i:authorization){_QUOTES}\s{{0,5}}[:=,>]{{1,2}}\s{{0,5}}{_QUOTES}(?i:bearer|basic|token)\s{{1,3}}"
        r"([A-Za-z0-9+/_.=~-]{16,})"
    ),
    "url_password": (  # postgres://user:password@host
        rf":{_SLASH}{_SLASH}[^\s:/?#@\[\]\"'`<>{{}}$()*\\]*"
        r":((?:[^\s:/?@\[\]\"'`<>{}\\]|\\u00(?:2[146bB]|3[dD])){8,})@[A-Za-z0-9\[]"
    ),
    "private_key": r"-{4,5} ?(?i:BEGIN ([A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?)) ?-{4,5}",
    "putty_private_key": r"Private-Lines: (\d{1,4})",
}
"""What is redacted and called so, and its form: the group is the secret, the rest what it is known by. At its two
ends ``\\b`` stands for `_BEFORE` and `_AFTER`."""

_COUNT = re.compile(r"\{(\d+)(?:,\d*)?\}")
_COUNTED = 3
"""How far the coarse expression counts. Higher counts find no fewer texts that are worth a second
look; the exact expression costs more, most of all while the processor's caches are cold."""


def coarse_form(pattern: str) -> str:
    """Return a pattern that matches a superset: it stops counting early.

    >>> coarse_form("npm_[a-z]{36}-?[0-9]{0,2}")
    'npm_[a-z]{3,}-?[0-9]{0,}'
    """
    return _COUNT.sub(lambda count: f"{{{min(int(count[1]), _COUNTED)},}}", pattern)


def _compiled(patterns: Iterable[str]) -> Any:
    """Compile patterns to one expression, with a group for each: those that begin a word come first."""
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1  # bytes
    options.max_mem = 64 << 20
    ended = [pattern.removesuffix(r"\b") + _AFTER if pattern.endswith(r"\b") else pattern for pattern in patterns]
    words = [pattern.removeprefix(r"\b") for pattern in ended if pattern.startswith(r"\b")]
    others = [pattern for pattern in ended if not pattern.startswith(r"\b")]
    return re2.compile("|".join([f"{_BEFORE}(?:{'|'.join(words)})", *others]).encode(), options=options)


COARSE_PATTERN = _compiled(map(coarse_form, TOKENS.values()))
_NAMES = sorted(TOKENS, key=lambda name: not TOKENS[name].startswith(r"\b"))
"""Of the groups of an expression."""

_MIN_ENTROPY = 2.5
"""Bits per character below which a token is a placeholder such as `ghp_aaaa...`. Random digits have 3."""

_EXAMPLE = re.compile(
    rb"example|xxxx|placeholder|redacted|dummy|changeme|your[_-]"
    rb"|qwxhzgrpbjpvcgvuihnlc2ftzq|czzcagrsa3f0mzpnwdf|dxnlcjpwyxnz"  # of RFC 7617 and 6749, and user:pass
    rb"|4ec39hqlyjwdarjtt1zdp7dc|eby8vdm02xnocqflquwj|ixmjm0nty3odkw",  # of Stripe's, Azure's and jwt.io's pages
    re.IGNORECASE,
)

_WORD = re.compile(rb"[a-z_-]+|[A-Z_-]+|(?:\$\(?\w+\)?)+|%\(\w+\)s|\w{0,99}\(\w*\)")
"""What stands for a password, as documents and programs have it: letters of one case, a variable, a call."""

_SAYS_SO = re.compile(rb"passw(?:or)?d?|p%40ssw(?:or)?d?|secret", re.IGNORECASE)
_MIN_PASSWORD_BYTES = 8

_MAX_KEY_BYTES = 32 * 1024
_MIN_KEY_CHARACTERS = 40
_KEY_SHARE = 0.95
"""Share of Base64 characters between the two marker lines of a private key. Between two constants in code it is
lower."""

_KEYS = frozenset(["private_key", "putty_private_key"])
_KEY_STOP = re.compile(rb"(-{4,5} ?END|Private-(?:MAC|Hash))|-----|---- |Private-", re.IGNORECASE)
"""Where a key's body ends (the group), or where it is cut off at the latest."""

_FILLER = re.compile(rb"\\[nrt]|[\s\"',;\\]")
_BASE64 = re.compile(rb"[A-Za-z0-9+/=]")
_BASE64_LINE = re.compile(rb"[A-Za-z0-9+/=]{40,}")


def redact(data: bytes) -> tuple[bytes, int]:
    """Return a text without its secrets, and how many there were. Lines keep their numbers.

    Each secret leaves ``[redacted: github-token]``, and as many line ends as it had. A text without any costs 2 ns
    a byte.
    """
    if COARSE_PATTERN.search(data) is None:
        return data, 0
    parts: list[bytes] = []
    at = count = 0
    for name, begin, end in _secrets(data):
        parts += [data[at:begin], _placeholder(name, data[begin:end])]
        at = end
        count += 1
    return (b"".join([*parts, data[at:]]), count) if count else (data, 0)


def _secrets(data: bytes) -> Iterator[tuple[str, int, int]]:
    """Yield what is secret in a text: its kind, where it begins, and where it ends."""
    exact = exact_pattern()
    at = 0
    # The sign behind a token may be what the next one is known by: each search begins where the token ends.
    while match := exact.search(data, at):
        name = _NAMES[match.lastindex - 1]
        begin, end = match.span(match.lastindex)
        at = end
        if name in _KEYS:
            at = begin = match.end()
            end = _end_of_key(data, begin)
            secret = _is_key(data[begin:end])
        else:
            secret = _is_secret(name, data[begin:end])
        if secret:
            yield name, begin, end
            at = end


@functools.cache
def exact_pattern() -> Any:
    """Return the expression of all patterns, a group for each. Compiled on first use."""
    return _compiled(TOKENS.values())


def _placeholder(name: str, secret: bytes) -> bytes:
    """Return the placeholder for a secret. That of a private key keeps the line end above it."""
    placeholder = f"[redacted: {name.replace('_', '-')}]".encode()
    newline = re.match(rb"\r?\n", secret)
    head = newline[0] if newline else b""
    return head + placeholder + b"\n" * secret.count(b"\n", len(head))


def _is_secret(name: str, token: bytes) -> bool:
    """Say whether a token may be someone's: not one of those that documents show."""
    if name == "url_password" and _is_word(token):
        return False
    if name == "authorization_header" and (_is_word(token) or not any(sign in b"0123456789" for sign in token)):
        return False
    return _entropy(token) >= _MIN_ENTROPY and not _EXAMPLE.search(token)


def _is_word(token: bytes) -> bool:
    """Say whether a password stands for one: what is left of it without "password" is short, or a word."""
    rest = _SAYS_SO.sub(b"", token)
    return len(rest) < _MIN_PASSWORD_BYTES or _WORD.fullmatch(rest) is not None


def _end_of_key(data: bytes, begin: int) -> int:
    """Return where the body of a private key ends: at the line that says so, or as far as it looks like one."""
    limit = min(len(data), begin + _MAX_KEY_BYTES)
    stop = _KEY_STOP.search(data, begin, limit)
    if stop and stop[1]:
        return stop.start()
    for line in data[begin : stop.start() if stop else limit].splitlines(keepends=True):
        characters = _FILLER.sub(b"", line)
        if characters and len(_BASE64.findall(characters)) < _MIN_KEY_CHARACTERS:
            break
        begin += len(line)
    return begin


def _is_key(body: bytes) -> bool:
    """Say whether a text is that of a private key, also as a string of a program, or in the lines of a log."""
    characters = _FILLER.sub(b"", body)
    if len(characters) < _MIN_KEY_CHARACTERS or _entropy(characters) < _MIN_ENTROPY:
        return False
    in_lines = sum(map(len, _BASE64_LINE.findall(body)))
    return len(_BASE64.findall(characters)) >= _KEY_SHARE * len(characters) or in_lines >= len(characters) / 2


def _entropy(text: bytes) -> float:
    """Return the entropy of a text in bits per character."""
    size = len(text)
    return -sum(n / size * math.log2(n / size) for n in Counter(text).values())
