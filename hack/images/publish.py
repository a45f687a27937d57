"""Pushes the images of the last build to a registry, and writes their names for the chart.

skopeo copies an archive as it is, whichever builder wrote it: what is pulled has the digests of what was built.
"""

import json
import re
import tarfile
import tempfile
from pathlib import Path

from hack.local_cluster import host
from hack.local_cluster.console import run as run_command
from hack.local_cluster.console import say, step
from hack.local_cluster.errors import ClusterError

from . import build
from .catalog import CHECKOUT

PACKAGES = {"skopeo": "skopeo"}
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"  # of a path, as the distribution specification has it
_REGISTRY = re.compile(rf"(?P<host>(?:\[[0-9a-f:]+\]|[A-Za-z0-9.-]+)(?::\d{{1,5}})?)(?:/{_COMPONENT})*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_LOOPBACK = re.compile(r"(?:localhost|127(?:\.\d+){3}|\[::1\])(?::\d+)?")


def run(registry: str, version: str = "") -> None:
    """Build what has changed, push it below `registry`, and print how to install it.

    `version` is the images' tag; empty for the builder's own, which follows from the content. Pods are given the
    digests, so a tag that is pushed again moves no pod. Raises ClusterError.
    """
    host_name = check(registry, version)
    build.run()
    host.ensure_packages(PACKAGES)
    names = {}
    for name, (reference, archive) in build.built().items():
        repository, tag = f"{registry}/{name}", version or reference.rpartition(":")[2]
        with step(f"Pushing {repository}:{tag}"):
            names[name] = {
                "repository": repository,
                "tag": tag,
                "digest": _push(archive, f"{repository}:{tag}", host_name),
            }
    say(f"Pushed. To install them:\n\n{helm_command(_write_values(names))}\n")


def check(registry: str, version: str) -> str:
    """The host of `registry`. Raises ClusterError where an image could not be named with these."""
    found = _REGISTRY.fullmatch(registry)
    # Every client takes a first part without a dot or a port for an account on Docker Hub.
    if found is None or not (found["host"] == "localhost" or re.search(r"[.:]", found["host"])):
        raise ClusterError(
            # Without what is before an @: it may be a password.
            f"REGISTRY={registry.rpartition('@')[2]!r} is not HOST[:PORT]/PATH in small letters, so it names no "
            "image. Say for example `make publish REGISTRY=registry.example.org/search`, or "
            "REGISTRY=docker.io/ACCOUNT."
        )
    if version and (version == "latest" or not _TAG.fullmatch(version)):
        raise ClusterError(
            f"VERSION={version!r} cannot be the tag of an image: up to 128 letters, digits, dots, dashes and "
            "underscores, such as 1.2.0, and not `latest`, which cannot tell a new image from an old one. "
            "Leave it out for a tag that follows from the content."
        )
    return found["host"]


def helm_command(values: Path) -> str:
    """The command that installs the chart with the images that `values` names."""
    shown = values.relative_to(CHECKOUT) if values.is_relative_to(CHECKOUT) else values
    return (
        "    helm install codebase-mcp charts/codebase-mcp --namespace codebase-mcp --create-namespace \\\n"
        f"      --values {shown}"
    )


def _push(archive: Path, target: str, host_name: str) -> str:
    """Copy an archive to `target`, and return the digest that the registry knows it by."""
    with tempfile.TemporaryDirectory(prefix="codebase-mcp-") as folder:
        digest = Path(folder) / "digest"
        run_command(
            ["skopeo", "--insecure-policy", "copy", "--quiet", f"--digestfile={digest}",
             # As Docker does it: what does not leave this machine needs no certificate.
             f"--dest-tls-verify={'false' if _LOOPBACK.fullmatch(host_name) else 'true'}",
             f"{transport(archive)}:{archive}", f"docker://{target}"],
            hint=f"Does {host_name} answer, and may you write there? `skopeo login {host_name}` (or docker login) "
            "keeps a password. Then run it again: what was pushed is not pushed a second time.",
        )  # fmt: skip
        return digest.read_text().strip()


def transport(archive: Path) -> str:
    """skopeo's name for an archive's form. Docker's has a manifest.json, also where it is an OCI layout too."""
    with tarfile.open(archive) as tar:
        return "docker-archive" if "manifest.json" in tar.getnames() else "oci-archive"


def _write_values(names: dict[str, dict[str, str]]) -> Path:
    values = build.OUTPUT / "published.yaml"
    unfinished = values.with_suffix(".unfinished")
    unfinished.write_text(json.dumps({"images": names}, indent=2) + "\n")
    unfinished.rename(values)
    return values
