"""What the machine must offer: Linux, root, disk space, and some Debian packages."""

import os
import platform
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from .console import run, step, succeeds
from .errors import ClusterError
from .paths import PACKAGE, cache_root

_DISK_NEEDED_BYTES = 10 * 1000**3

# `.cluster/node1/kubelet/device-plugins/kubelet.sock` follows the checkout's path, and Linux limits a
# socket's path to 107 bytes.
_LONGEST_CHECKOUT = 55

# Debian package for each program (or file) that must be there. kubernetes-client is left out on purpose:
# it collides with other kubectl packages, and kubectl is built anyway.
_PACKAGES = {
    "containerd": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    "/usr/lib/cni/bridge": "containernetworking-plugins",
    "iptables": "iptables",
    "conntrack": "conntrack",
    "etcd": "etcd-server",
    "ip": "iproute2",
    "nsenter": "util-linux",
    "sysctl": "procps",
    "openssl": "openssl",
    "buildah": "buildah",
    "mmdebstrap": "mmdebstrap",
}


def complete_path() -> None:
    """Put the system folders on PATH, for ourselves and all programs we start: pods need iptables."""
    folders = os.environ.get("PATH", "").split(":")
    needed = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"]
    os.environ["PATH"] = ":".join(folders + [name for name in needed if name not in folders])


def docker_answers() -> bool:
    """Whether a Docker engine is there to run kind on."""
    return shutil.which("docker") is not None and succeeds(["docker", "info"])


def require_linux_root() -> None:
    """Raise ClusterError unless this is Linux and we are root."""
    if platform.system() != "Linux":
        raise ClusterError(
            f"The built-in cluster runs on Linux, and this is {platform.system()}. "
            "Start Docker here: with it the cluster runs in kind."
        )
    if os.geteuid() != 0:
        raise ClusterError(
            "The built-in cluster makes network namespaces and mounts, so it needs root. "
            "Run it with sudo, or start Docker: with it the cluster runs in kind."
        )


def require_short_path(checkout: Path) -> None:
    """Raise ClusterError when sockets below the checkout would have too long paths."""
    if len(os.fsencode(checkout)) > _LONGEST_CHECKOUT:
        raise ClusterError(
            f"The path {checkout} is longer than {_LONGEST_CHECKOUT} bytes, and the kubelet's sockets below it "
            "would be longer than Linux allows. Move the checkout to a shorter path."
        )


def require_disk() -> None:
    """Refuse early where the build, the images or the index would run out of space."""
    for folder in (PACKAGE, cache_root()):
        place = next(path for path in (folder, *folder.parents) if path.exists())
        free = shutil.disk_usage(place).free
        if free < _DISK_NEEDED_BYTES:
            raise ClusterError(
                f"Only {free / 1e9:.1f} GB are free at {place}, and the cluster with its images needs "
                f"{_DISK_NEEDED_BYTES / 1e9:.0f} GB. Free some space, or set XDG_CACHE_HOME to another disk."
            )


def missing_packages(packages: Mapping[str, str] = _PACKAGES) -> list[str]:
    """The Debian packages whose programs are not here. `packages` maps programs, or files, to packages."""
    absent = {
        package
        for program, package in packages.items()
        if not (Path(program).exists() if program.startswith("/") else shutil.which(program))
    }
    return sorted(absent)


def ensure_packages(packages: Mapping[str, str] = _PACKAGES) -> None:
    """Install the Debian packages that are missing, and only those."""
    absent = missing_packages(packages)
    if not absent:
        return
    if shutil.which("apt-get") is None:
        raise ClusterError(
            f"These are missing: {', '.join(absent)} (names of Debian packages), and there is no apt-get. "
            "Install them with this system's package manager."
        )
    with step(f"Installing Debian packages: {' '.join(absent)}"):
        _apt("update")
        _apt("install", "--yes", "--no-install-recommends", *absent)
    if still := missing_packages(packages):
        raise ClusterError(f"apt-get installed {', '.join(still)}, but their programs are not on PATH.")


def _apt(*arguments: str) -> None:
    """Run apt-get without questions, and without it starting the services that it installs."""
    with _no_service_starts():
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        run(
            ["apt-get", "-q", "-o", "DPkg::Lock::Timeout=300", *arguments],
            env=environment,
            hint="Does `apt-get update` work on this machine?",
        )


@contextmanager
def _no_service_starts() -> Iterator[None]:
    """Debian asks /usr/sbin/policy-rc.d before it starts a service: containerd and etcd run in ours only."""
    policy = Path("/usr/sbin/policy-rc.d")
    if policy.exists():
        yield
        return
    policy.write_text("#!/bin/sh\nexit 101\n")
    policy.chmod(0o755)
    try:
        yield
    finally:
        policy.unlink(missing_ok=True)


def snapshotter(folder: Path) -> str:
    """containerd's way to stack image layers: overlayfs, or plain copies where `folder` is on an overlay."""
    kind = subprocess.run(
        ["stat", "--file-system", "--format=%T", str(folder)], capture_output=True, text=True, check=False
    ).stdout.strip()
    return "native" if kind == "overlayfs" else "overlayfs"
