"""Bills of materials: an image's archive is read as a container would see it, and told as its packages say it."""

import gzip
import io
import json
import tarfile
from pathlib import Path

import pytest

from hack.images.archive import files
from hack.images.sbom import Component, bill, components, is_wanted, license_list

DPKG = b"""Package: libpq5
Status: install ok installed
Architecture: amd64
Version: 1:17.6+x-1

Package: gone
Status: deinstall ok config-files
Architecture: amd64
Version: 1
"""
COPYRIGHT = b"""Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
License: PostgreSQL
 The text.

License: BSD-3-clause
"""
SITE = "opt/venv/lib/python3.13/site-packages"
PYTHON = {
    f"{SITE}/a_b-1.0.dist-info/METADATA": b"Name: A_b\nVersion: 1.0\nLicense-Expression: MIT OR Apache-2.0\n",
    f"{SITE}/c-2.dist-info/METADATA": b"Name: c\nVersion: 2\nLicense: " + b"x" * 200 + b"\n"
    b"Classifier: License :: OSI Approved :: BSD License\n",
    f"{SITE}/d-3.dist-info/METADATA": b"Name: d\nVersion: 3\nLicense: ISC\n",
}
LOWER = {
    "var/lib/dpkg/status": DPKG.replace(b"libpq5", b"older"),
    "etc/os-release": b'NAME="Debian"\nVERSION_ID="13"\n',
    "usr/share/doc/libpq5/copyright": COPYRIGHT,
    "tmp/pip/x-9.dist-info/METADATA": b"Name: x\nVersion: 9\n",
    f"{SITE}/d-3.dist-info/METADATA": b"Name: d\nVersion: 2\n",
    "etc/passwd": b"root",
}
UPPER = {"./var/lib/dpkg/status": DPKG, "tmp/.wh.pip": b"", f"{SITE}/.wh..wh..opq": b"", **PYTHON}


def tar_of(content: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name, data in content.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return packed.getvalue()


def as_docker(layers: list[bytes]) -> dict[str, bytes]:
    names = [f"{number}/layer.tar" for number in range(len(layers))]
    return {"manifest.json": json.dumps([{"Layers": names}]).encode(), **dict(zip(names, layers, strict=True))}


def as_oci(layers: list[bytes]) -> dict[str, bytes]:
    digests = [f"sha256:{number:064}" for number in range(len(layers) + 1)]
    paths = [f"blobs/{digest.replace(':', '/')}" for digest in digests]
    manifest = json.dumps({"layers": [{"digest": digest} for digest in digests[1:]]}).encode()
    index = json.dumps({"manifests": [{"digest": digests[0]}]}).encode()
    return {"index.json": index, **dict(zip(paths, [manifest, *map(gzip.compress, layers)], strict=True))}


FOUND = [
    Component("A_b", "1.0", "pkg:pypi/a-b@1.0", ("MIT OR Apache-2.0",), expression=True),
    Component("c", "2", "pkg:pypi/c@2", ("BSD License",)),
    Component("d", "3", "pkg:pypi/d@3", ("ISC",)),
    Component(
        "libpq5", "1:17.6+x-1", "pkg:deb/debian/libpq5@1%3A17.6%2Bx-1?arch=amd64&distro=debian-13",
        ("BSD-3-clause", "PostgreSQL"),
    ),
]  # fmt: skip


@pytest.mark.parametrize("form", [as_docker, as_oci])
def test_an_image_holds_what_its_uppermost_layers_leave_of_it(form: type, tmp_path: Path) -> None:
    archive = tmp_path / "image.tar"
    archive.write_bytes(tar_of(form([tar_of(LOWER), tar_of(UPPER)])))
    assert components(files(archive, is_wanted)) == FOUND


def test_the_bill_is_the_same_for_the_same_image_and_names_each_licence_as_its_package_does() -> None:
    made = bill("codebase-mcp.local/server:1", FOUND)
    assert made["metadata"]["component"]["version"] == "1"
    assert [component["licenses"] for component in made["components"]] == [
        [{"expression": "MIT OR Apache-2.0"}],
        [{"license": {"name": "BSD License"}}],
        [{"license": {"name": "ISC"}}],
        [{"license": {"name": "BSD-3-clause"}}, {"license": {"name": "PostgreSQL"}}],
    ]  # fmt: skip
    assert json.dumps(made) == json.dumps(bill("codebase-mcp.local/server:1", FOUND))


def test_a_package_that_says_nothing_of_its_licence_is_listed_with_where_to_look() -> None:
    assert license_list([Component("x", "1", "pkg:deb/debian/x@1")]) == "x\t1\tsee its copyright file\n"
