"""The two builders: a Docker engine where one answers, buildah elsewhere. Both read the same Dockerfiles."""

import json
import os
import subprocess
from pathlib import Path
from typing import Protocol

from hack.local_cluster import host
from hack.local_cluster.console import run, step, succeeds

from . import base, settings
from .catalog import CHECKOUT, Image
from .process import follow


class Builder(Protocol):
    """Builds one image and saves it as an archive."""

    def prepare(self) -> str:
        """Make ready to build, and return what identifies the base image."""

    def build(self, image: Image, reference: str, secrets: dict[str, Path], log: Path) -> None:
        """Build `image` and name it `reference`. Raises ClusterError."""

    def save(self, reference: str, archive: Path) -> None:
        """Write the image into an archive that a container runtime imports under the same name."""


def choose(cache: Path) -> Builder:
    """The builder for this machine. `cache` is a folder for what it keeps between builds."""
    return Docker() if host.docker_answers() else Buildah(cache)


def secret_arguments(secrets: dict[str, Path]) -> list[str]:
    """The arguments that offer secrets to the mounts of the Dockerfiles; docker and buildah agree on them."""
    return [f"--secret=id={name},src={path}" for name, path in sorted(secrets.items())]


class Docker:
    """The engine pulls the base image and caches layers by itself."""

    def prepare(self) -> str:
        """Return the digest of the base image where the engine has it already."""
        command = ["docker", "image", "inspect", "--format={{.Id}}", base.NAME]
        found = subprocess.run(command, capture_output=True, text=True, check=False)
        return found.stdout.strip() or base.NAME

    def build(self, image: Image, reference: str, secrets: dict[str, Path], log: Path) -> None:
        """Build with BuildKit, which the Dockerfiles' mounts need."""
        follow(
            ["docker", "build", "--progress=plain", *secret_arguments(secrets), *settings.proxy_arguments(),
             f"--file={CHECKOUT / image.dockerfile}", f"--tag={reference}", CHECKOUT],
            log=log,
            env={"DOCKER_BUILDKIT": "1"},
            hint="Can the Docker engine reach the package archives?",
        )  # fmt: skip

    def save(self, reference: str, archive: Path) -> None:
        """Write a Docker archive."""
        run(["docker", "save", f"--output={archive}", reference], hint="Is the disk full?")


class Buildah:
    """Needs no engine and no registry: the base is made here, the storage lies in the user's cache folder."""

    def __init__(self, cache: Path) -> None:
        self._cache = cache
        self._temporary = cache / "tmp"  # pip's cache mount lies here too
        # Layers as overlays where the disk allows it; whole copies (slow, large) where it is an overlay itself.
        self._driver = "overlay" if host.snapshotter(cache) == "overlayfs" else "vfs"
        # What is mounted now; it has to be gone after a restart of the machine, like the mounts themselves.
        self._run = Path(os.environ.get("XDG_RUNTIME_DIR") or "/run") / "codebase-mcp-images"
        self._policy = cache / "policy.json"

    def prepare(self) -> str:
        """Install buildah and mmdebstrap where they are missing, and make the base image."""
        host.ensure_packages()
        self._temporary.mkdir(parents=True, exist_ok=True)
        # Nothing is pulled, so there are no signatures to check.
        self._policy.write_text(json.dumps({"default": [{"type": "insecureAcceptAnything"}]}))
        succeeds([*self._buildah("rm"), "--all"])  # what an interrupted build left; nobody else builds now
        tar = base.ensure(self._cache, settings.apt_dump())
        known = f"{base.NAME.partition(':')[0]}:{tar.stem}"
        if not self._has(known):
            with step("Importing the base image"):
                self._import(tar, known)
        run([*self._buildah("tag"), known, base.NAME])
        return base.identity(self._cache)

    def build(self, image: Image, reference: str, secrets: dict[str, Path], log: Path) -> None:
        """Build with the layers of earlier builds as cache."""
        follow(
            [*self._buildah("bud"), "--layers", "--pull-never", "--network=host", self._no_policy,
             *secret_arguments(secrets), *settings.proxy_arguments(),
             f"--file={CHECKOUT / image.dockerfile}", f"--tag={reference}", CHECKOUT],
            log=log,
            env=self._environment,
            hint="If the packages' archives cannot be reached, look at the proxy settings of apt and pip.",
        )  # fmt: skip
        self._forget_others(image.repository, reference)

    def save(self, reference: str, archive: Path) -> None:
        """Write an OCI archive, packed lightly: it stays on this machine."""
        run(
            [*self._buildah("push"), "--quiet", self._no_policy,
             "--compression-format=zstd", "--compression-level=1",
             reference, f"oci-archive:{archive}:{reference}"],
            env={**os.environ, **self._environment},
            hint="Is the disk full?",
        )  # fmt: skip

    @property
    def _environment(self) -> dict[str, str]:
        return {"BUILDAH_ISOLATION": "chroot", "TMPDIR": str(self._temporary)}

    @property
    def _no_policy(self) -> str:
        return f"--signature-policy={self._policy}"

    def _buildah(self, command: str) -> list[str]:
        storage = [
            f"--root={self._cache / 'storage'}",
            f"--runroot={self._run}",
            f"--storage-driver={self._driver}",
        ]
        return ["buildah", *storage, command]

    def _has(self, reference: str) -> bool:
        return succeeds([*self._buildah("inspect"), "--type=image", reference])

    def _forget_others(self, repository: str, reference: str) -> None:
        """Remove the images of earlier tags, and layers that no image has any more: the disk use is bounded."""
        listing = run([*self._buildah("images"), "--format={{.Name}}:{{.Tag}}"]).split()
        if old := [name for name in listing if name.startswith(f"{repository}:") and name != reference]:
            run([*self._buildah("rmi"), *old])
        succeeds([*self._buildah("rmi"), "--prune"], timeout_seconds=120)

    def _import(self, tar: Path, reference: str) -> None:
        container = run([*self._buildah("from"), "scratch"]).strip()
        try:
            run([*self._buildah("add"), "--quiet", container, tar, "/"])
            run([*self._buildah("config"), "--cmd=bash", container])
            run([*self._buildah("commit"), "--quiet", self._no_policy, container, reference])
        finally:
            run([*self._buildah("rm"), container])
