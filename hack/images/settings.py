"""What this machine needs to reach packages: its pip, apt, proxy and certificate settings.

They reach a build as secret mounts only. A mount is there while one instruction runs and in no layer, so an
image never tells where it was built, and a Dockerfile works without them wherever none are needed.
"""

import configparser
import os
import re
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

_PIP_KEYS = ("index-url", "extra-index-url", "trusted-host", "proxy", "timeout", "retries")
_PIP_FILES = ("/etc/pip.conf", "~/.pip/pip.conf", "~/.config/pip/pip.conf")
_CA_VARIABLES = ("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")
_CA_IN_BUILD = "/run/secrets/ca.crt"  # where the Dockerfiles mount it
_APT_SETTING = re.compile(r"^Acquire::(?:https?::Proxy|Retries|Check-)\S* \"[^\"]+\";$")
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")


def write_secrets(folder: Path, environ: Mapping[str, str] = os.environ) -> dict[str, Path]:
    """Write the secrets into `folder` (private to the caller) and return their files by mount id."""
    ca = ca_bundle(environ)
    secrets = {"apt": folder / "apt.conf", "pip": folder / "pip.conf"}
    secrets["apt"].write_text(apt_settings(apt_dump()))
    secrets["pip"].write_text(pip_settings(environ, _pip_files(environ), with_ca=ca is not None))
    return secrets | ({"ca": ca} if ca else {})


def ca_bundle(environ: Mapping[str, str]) -> Path | None:
    """The certificate authorities that this machine was told to trust, for example behind a TLS proxy."""
    for variable in _CA_VARIABLES:
        if (path := Path(environ.get(variable, ""))).is_file():
            return path
    return None


def pip_settings(environ: Mapping[str, str], files: Iterable[Path], *, with_ca: bool) -> str:
    """A pip.conf with what files and PIP_* variables say about reaching an index; later ones win, as in pip."""
    found: dict[str, str] = {}
    for file in files:
        parser = configparser.RawConfigParser()
        parser.read(file)
        for section in ("global", "install"):
            if parser.has_section(section):
                found |= {key: value for key, value in parser.items(section) if key in _PIP_KEYS}
    for key in _PIP_KEYS:
        if value := environ.get("PIP_" + key.upper().replace("-", "_")):
            found[key] = value
    if with_ca:
        found["cert"] = _CA_IN_BUILD
    # A value of several lines goes on where the next line is indented.
    lines = [f"{key} = " + value.strip().replace("\n", "\n    ") for key, value in found.items()]
    return "\n".join(["[global]", *lines, ""])


def apt_settings(dump: str) -> str:
    """The lines of `apt-config dump` that say how to reach archives: proxies, retries, date checks."""
    return "".join(f"{line}\n" for line in dump.splitlines() if _APT_SETTING.match(line))


def proxy_arguments(environ: Mapping[str, str] = os.environ) -> list[str]:
    """Build arguments that hand the proxy variables on by name. Builders keep these out of the history."""
    return [f"--build-arg={name}" for name in _PROXIES if environ.get(name)]


def _pip_files(environ: Mapping[str, str]) -> list[Path]:
    named = environ.get("PIP_CONFIG_FILE")
    return [Path(file).expanduser() for file in (*_PIP_FILES, *([named] if named else []))]


def apt_dump() -> str:
    """Empty where there is no apt: then no archive of this machine has settings either."""
    try:
        return subprocess.run(["apt-config", "dump"], capture_output=True, text=True, check=False).stdout
    except FileNotFoundError:
        return ""
