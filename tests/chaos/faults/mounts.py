"""Mounts over a folder as the processes of one container see it: an empty share, and one whose server is gone."""

import json
import os
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

_IN_NAMESPACE = Path(__file__).with_name("in_namespace.py")

_IN_HEADER = struct.Struct("<IIQQIIII")  # fuse_in_header: length, opcode, unique, ...
_OUT_HEADER = struct.Struct("<IiQ")  # fuse_out_header: length, error, unique
_INIT = 26
_INIT_OUT = struct.Struct("<IIIIHHIIHHI28x")  # fuse_init_out of version 7.31, with no feature


def place_in_pod(environment: bytes, folder: Path) -> str:
    """Return where a pod has a repository's folder, by the environment of one of its processes.

    Raises LookupError when it has none of the folder's roots.
    """
    variables = dict(entry.split(b"=", 1) for entry in environment.split(b"\0") if b"=" in entry)
    for root in json.loads(variables.get(b"CODEBASE_ROOTS", b"[]")):
        if folder.is_relative_to(root["path"]):
            return str(PurePosixPath(root["mount"]) / folder.relative_to(root["path"]))
    raise LookupError(f"no repository root of the pod has {folder}")


@contextmanager
def empty_share(pid: int, place: str) -> Iterator[None]:
    """Mount an empty file system over a folder, as a process sees it: what an unmounted share leaves behind."""
    _run(pid, "mount", place, "tmpfs", "size=64k,mode=755")
    try:
        yield
    finally:
        _unmount(pid, place)


@contextmanager
def hanging_share(pid: int, place: str) -> Iterator[None]:
    """Mount a file system that does not answer over a folder, as a process sees it; who waits fails at its end.

    It is the kernel's FUSE with nobody at the other end: only the first message is answered, so that it is there.
    """
    device = os.open("/dev/fuse", os.O_RDWR)
    try:
        options = f"fd={device},rootmode=40000,user_id=0,group_id=0,allow_other"
        _run(pid, "mount", place, "fuse", options, descriptors=[device])
        threading.Thread(target=_greet, args=(device,), daemon=True).start()
        try:
            yield
        finally:
            _unmount(pid, place)
    finally:
        os.close(device)


def _greet(device: int) -> None:
    _, opcode, unique, *_ = _IN_HEADER.unpack_from(os.read(device, 1 << 20))
    assert opcode == _INIT
    body = _INIT_OUT.pack(7, 31, 0, 0, 12, 9, 4096, 1, 1, 0, 0)
    os.write(device, _OUT_HEADER.pack(_OUT_HEADER.size + len(body), 0, unique) + body)


def _run(pid: int, *arguments: str, descriptors: Sequence[int] = ()) -> None:
    # Bare (-I -S): it imports nothing but the standard library, which on a busy machine is all there is time for.
    command = [sys.executable, "-I", "-S", str(_IN_NAMESPACE), str(pid), *arguments]
    subprocess.run(command, check=True, pass_fds=descriptors)


def _unmount(pid: int, place: str) -> None:
    try:
        _run(pid, "unmount", place)
    except subprocess.CalledProcessError:
        if Path(f"/proc/{pid}").exists():  # else the process has ended, and its mounts went with it
            raise
