"""Reads files out of an image's archive, as a container sees them: each layer over the one before."""

import gzip
import json
import posixpath
import shutil
import subprocess
import tarfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final, cast

_WHITEOUT: Final = ".wh."
_OPAQUE: Final = ".wh..wh..opq"
"""Names by which a layer takes away a file, or all that a folder held before (OCI image layers)."""


def files(archive: Path, wanted: Callable[[str], bool]) -> dict[str, bytes]:
    """Return the files whose paths are wanted, with their contents. Paths have no slash at their beginning."""
    found: dict[str, bytes] = {}
    with tarfile.open(archive) as outer:
        for layer in _layers(outer):
            packed = outer.extractfile(layer)
            assert packed is not None
            with _unpacked(packed) as plain, tarfile.open(fileobj=plain, mode="r|") as tar:
                _lay_over(found, tar, wanted)
    return found


def _layers(outer: tarfile.TarFile) -> list[str]:
    """Names of the layers in the archive, the lowest first: of Docker's form, else of an OCI layout."""

    def read(name: str) -> Any:
        member = outer.extractfile(name)
        assert member is not None
        return json.load(member)

    def blob(descriptor: dict[str, str]) -> str:
        return f"blobs/{descriptor['digest'].replace(':', '/')}"

    if "manifest.json" in outer.getnames():
        return list(read("manifest.json")[0]["Layers"])
    (manifest,) = read("index.json")["manifests"]
    return [blob(layer) for layer in read(blob(manifest))["layers"]]


@contextmanager
def _unpacked(packed: IO[bytes]) -> Iterator[IO[bytes]]:
    """Give a layer's tar: plain, or packed by gzip or zstd."""
    begin = packed.read(4)
    packed.seek(0)
    if begin[:2] == b"\x1f\x8b":
        yield cast("IO[bytes]", gzip.GzipFile(fileobj=packed))
    elif begin == b"\x28\xb5\x2f\xfd":
        with _zstd(packed) as plain:
            yield plain
    else:
        yield packed


@contextmanager
def _zstd(packed: IO[bytes]) -> Iterator[IO[bytes]]:
    """Unpack by the program: Python has zstd from 3.14 on."""
    with subprocess.Popen(["zstd", "-dcq"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None and process.stdout is not None
        source = process.stdin

        def feed() -> None:
            with source:
                shutil.copyfileobj(packed, source)

        feeder = threading.Thread(target=feed, daemon=True)
        feeder.start()
        yield process.stdout
        feeder.join()


def _lay_over(found: dict[str, bytes], tar: tarfile.TarFile, wanted: Callable[[str], bool]) -> None:
    """Add a layer's files to those of the layers below it, and take away what it removes."""
    for member in tar:
        path = posixpath.normpath(member.name).lstrip("/")
        folder, name = posixpath.split(path)
        if name == _OPAQUE:
            _remove(found, folder)
        elif name.startswith(_WHITEOUT):
            _remove(found, posixpath.join(folder, name.removeprefix(_WHITEOUT)))
        elif member.isfile() and wanted(path):
            content = tar.extractfile(member)
            assert content is not None
            found[path] = content.read()


def _remove(found: dict[str, bytes], path: str) -> None:
    for gone in [one for one in found if one == path or one.startswith(f"{path}/")]:
        del found[gone]
