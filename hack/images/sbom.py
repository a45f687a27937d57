"""Says what each image holds: a bill of materials (CycloneDX) and a list of licences, from the image itself.

What counts is what the archive's files say of themselves: dpkg's list, and the metadata that each Python
distribution brings. Nothing is taken from requirements or Dockerfiles, which say what was wanted.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email import message_from_bytes, message_from_string
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from hack.local_cluster import host
from hack.local_cluster.console import say, step
from hack.local_cluster.errors import ClusterError

from . import build
from .archive import files

PACKAGES: Final = {"zstd": "zstd"}
_DPKG: Final = "var/lib/dpkg/status"
_RELEASE: Final = ("etc/os-release", "usr/lib/os-release")
_COPYRIGHT: Final = re.compile(r"usr/share/doc/([^/]+)/copyright")
_METADATA: Final = re.compile(r".*\.dist-info/METADATA")
_OSI: Final = "License :: OSI Approved :: "
UNKNOWN: Final = "see its copyright file"


@dataclass(frozen=True, order=True)
class Component:
    """A package in an image. `licenses` are names as the package has them; none where it says nothing."""

    name: str
    version: str
    purl: str
    """Its package URL, by which scanners know it."""
    licenses: tuple[str, ...] = ()
    expression: bool = False
    """Whether the one licence is an SPDX expression."""

    def as_cyclonedx(self) -> dict[str, Any]:
        """Return the component as CycloneDX 1.6 has it."""
        if self.expression:
            said: list[dict[str, Any]] = [{"expression": self.licenses[0]}]
        else:
            said = [{"license": {"name": name}} for name in self.licenses]
        return {
            "type": "library", "bom-ref": self.purl, "name": self.name, "version": self.version, "purl": self.purl,
            **({"licenses": said} if said else {}),
        }  # fmt: skip


def run() -> None:
    """Write NAME.cdx.json and NAME.licenses.txt beside each image's archive. Raises ClusterError."""
    host.ensure_packages(PACKAGES)
    for name, (reference, archive) in build.built().items():
        if not archive.is_file():
            raise ClusterError(f"{archive} is missing. Run `make image-archives`, and then this again.")
        with step(f"Reading what {reference} holds"):
            found = components(files(archive, is_wanted))
        if not found:
            raise ClusterError(f"{archive} holds no package that is known; is it an image of this project?")
        _write(archive.with_name(f"{name}.cdx.json"), json.dumps(bill(reference, found), indent=1) + "\n")
        _write(archive.with_name(f"{name}.licenses.txt"), license_list(found))
        say(f"  {len(found)} packages: .images/{name}.cdx.json, .images/{name}.licenses.txt")


def is_wanted(path: str) -> bool:
    """Whether a file of an image says something of its packages."""
    return path == _DPKG or path in _RELEASE or bool(_COPYRIGHT.fullmatch(path) or _METADATA.fullmatch(path))


def components(found: Mapping[str, bytes]) -> list[Component]:
    """Return the packages of an image, each once, from the files that `is_wanted` asks for."""
    return sorted({*_of_debian(found), *_of_python(found)})


def bill(reference: str, found: list[Component]) -> dict[str, Any]:
    """Return the bill of materials. The same image gives the same bill: it holds no time and no random number."""
    name, _, version = reference.rpartition(":")
    return {
        "bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1,
        "metadata": {"component": {"type": "container", "name": name, "version": version}},
        "components": [component.as_cyclonedx() for component in found],
    }  # fmt: skip


def license_list(found: list[Component]) -> str:
    """Return a line for each package: name, version, licences."""
    return "".join(f"{c.name}\t{c.version}\t{' | '.join(c.licenses) or UNKNOWN}\n" for c in found)


def _of_debian(found: Mapping[str, bytes]) -> Iterator[Component]:
    release = next((found[path].decode() for path in _RELEASE if path in found), "")
    number = re.search(r'^VERSION_ID="?([0-9.]+)', release, re.M)
    distribution = f"&distro=debian-{number[1]}" if number else ""
    for paragraph in found.get(_DPKG, b"").decode(errors="replace").split("\n\n"):
        package = message_from_string(paragraph)
        if not package["Status"] or not package["Status"].endswith(" installed"):
            continue
        name, version = package["Package"], package["Version"]
        purl = (
            f"pkg:deb/debian/{quote(name)}@{quote(version, safe='')}?arch={package['Architecture']}{distribution}"
        )
        yield Component(name, version, purl, _named_in(found.get(f"usr/share/doc/{name}/copyright", b"")))


def _named_in(copyright_file: bytes) -> tuple[str, ...]:
    """Return the licences that a copyright file names, where it is one for programs (DEP 5)."""
    text = copyright_file.decode(errors="replace")
    if not text.startswith("Format:"):
        return ()
    return tuple(sorted(set(re.findall(r"^License:[ \t]*(\S.*?)[ \t]*$", text, re.M))))


def _of_python(found: Mapping[str, bytes]) -> Iterator[Component]:
    for path, content in found.items():
        if not _METADATA.fullmatch(path):
            continue
        metadata = message_from_bytes(content)
        name, version = str(metadata["Name"]), str(metadata["Version"])
        purl = f"pkg:pypi/{quote(re.sub(r'[-_.]+', '-', name).lower())}@{quote(version, safe='')}"
        if expression := metadata["License-Expression"]:
            yield Component(name, version, purl, (expression,), expression=True)
            continue
        classifiers = [str(line) for line in metadata.get_all("Classifier", ())]
        said = [line.removeprefix(_OSI) for line in classifiers if line.startswith(_OSI)]
        short = str(metadata["License"] or "").strip()
        if not said and short and "\n" not in short and len(short) < 100:  # some put the whole text there
            said = [short]
        yield Component(name, version, purl, tuple(sorted(said)))


def _write(path: Path, text: str) -> None:
    unfinished = path.with_name(f"{path.name}.unfinished")
    unfinished.write_text(text)
    unfinished.rename(path)
