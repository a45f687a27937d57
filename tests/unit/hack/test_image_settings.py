"""This machine's settings for pip, apt and certificates reach a build by mounts alone."""

import re
from pathlib import Path

import pytest

from hack.images import settings
from hack.images.catalog import CHECKOUT, IMAGES, Image


def test_pip_settings_come_from_files_then_variables(tmp_path: Path) -> None:
    first, second = tmp_path / "first.conf", tmp_path / "second.conf"
    first.write_text("[global]\nindex-url = https://one.invalid\ntimeout = 5\nno-cache-dir = true\n")
    second.write_text("[install]\nindex-url = https://two.invalid\ntrusted-host =\n    a.invalid\n    b.invalid\n")
    environ = {"PIP_TIMEOUT": "60", "PIP_FIND_LINKS": "/only/here"}
    assert settings.pip_settings(environ, [first, second], with_ca=True) == (
        "[global]\nindex-url = https://two.invalid\ntimeout = 60\ntrusted-host = a.invalid\n    b.invalid\n"
        "cert = /run/secrets/ca.crt\n"
    )


def test_no_settings_give_an_empty_file() -> None:
    assert settings.pip_settings({}, [], with_ca=False) == "[global]\n"


def test_apt_settings_keep_what_says_how_to_reach_an_archive() -> None:
    dump = (
        'APT::Architecture "amd64";\nAcquire::http::Proxy "http://proxy.invalid:3128";\nAcquire::Retries "3";\n'
        'Acquire::https::CaInfo "/only/here.pem";\nAcquire::Check-Date "false";\nAcquire::http "";\n'
        'DPkg::Post-Invoke:: "/usr/bin/only-here";\n'
    )
    assert settings.apt_settings(dump) == (
        'Acquire::http::Proxy "http://proxy.invalid:3128";\nAcquire::Retries "3";\nAcquire::Check-Date "false";\n'
    )


def test_the_ca_bundle_is_the_first_that_is_named_and_there(tmp_path: Path) -> None:
    bundle = tmp_path / "ca.pem"
    bundle.write_text("certificates")
    named = {"PIP_CERT": str(tmp_path / "gone.pem"), "SSL_CERT_FILE": str(bundle)}
    assert settings.ca_bundle(named) == bundle
    assert settings.ca_bundle({}) is None


def test_proxies_are_handed_on_by_name_so_that_no_password_is_on_a_command_line() -> None:
    arguments = settings.proxy_arguments({"https_proxy": "http://user:secret@proxy.invalid", "NO_PROXY": ""})
    assert arguments == ["--build-arg=https_proxy"]


@pytest.mark.parametrize("image", IMAGES, ids=lambda image: image.name)
def test_dockerfiles_read_settings_from_mounts_alone(image: Image) -> None:
    text = (CHECKOUT / image.dockerfile).read_text()
    offered = {"apt", "pip", "ca"}
    assert set(re.findall(r"--mount=type=secret,id=(\w+)", text)) <= offered
    assert not re.search(r"^(ARG|ENV|COPY).*(proxy|pip\.conf|index.url)", text, re.IGNORECASE | re.MULTILINE)
