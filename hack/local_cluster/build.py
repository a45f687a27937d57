"""Builds the cluster's programs from the pinned Go module into the user's cache folder.

A binary lies in a folder named after what it was built from. It is built elsewhere and renamed into place,
so one that is there is complete, however its build was interrupted, and two builds at once do no harm.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .console import duration, run, say
from .errors import ClusterError
from .paths import GO_MODULE, cache_root

KUBERNETES_VERSION = "1.34.4"
_PROGRESS_SECONDS = 15
# Where Go's own installer puts it; sudo often resets PATH to one without it.
_USUAL_GO = Path("/usr/local/go/bin/go")

# Programs report the version they are told at link time; without it Kubernetes' version checks misbehave.
_VERSION_FLAGS = {
    "k8s.io/component-base/version.gitVersion": f"v{KUBERNETES_VERSION}",
    "k8s.io/component-base/version.gitMajor": KUBERNETES_VERSION.split(".")[0],
    "k8s.io/component-base/version.gitMinor": KUBERNETES_VERSION.split(".")[1],
    "k8s.io/client-go/pkg/version.gitVersion": f"v{KUBERNETES_VERSION}",
}

# Of each compiler process: it collects its garbage seldom, up to a bound. Kubernetes' largest package takes 8.1 s
# of processor time and 0.6 GB so, without debugging information, and 11.8 s by Go's defaults.
_COMPILER = {"GOGC": "400", "GOMEMLIMIT": "1GiB"}


@dataclass(frozen=True)
class Target:
    """One call of `go build`: Go packages, the binaries that come out, and what the user is told."""

    packages: tuple[str, ...]
    binaries: tuple[str, ...]
    story: str


TARGETS = (
    Target(
        ("./hyperkube",),
        ("hyperkube",),
        f"Compiling Kubernetes {KUBERNETES_VERSION} (API server, controllers, scheduler, kubelet, kube-proxy, "
        "kubectl); the first time takes 5 to 8 minutes on 2 cores, later ones start from Go's own cache",
    ),
    Target(
        ("./pause", "helm.sh/helm/v3/cmd/helm", "github.com/coredns/coredns"),
        ("pause", "helm", "coredns"),
        "Compiling Helm, CoreDNS and the pause program; the first time takes 1 to 2 minutes",
    ),
)

# kind's nodes bring Kubernetes with them; only the clients are built, where they are not on PATH.
CLIENTS = {
    "kubectl": Target(("k8s.io/kubernetes/cmd/kubectl",), ("kubectl",), "Compiling kubectl, about 2 minutes"),
    "helm": Target(("helm.sh/helm/v3/cmd/helm",), ("helm",), "Compiling Helm, 2 to 4 minutes"),
}
KIND_VERSION = "v0.33.0"


def module_hash(folder: Path) -> str:
    """A hash over names and contents of all files of the Go module, and over the build flags."""
    digest = hashlib.sha256(repr(sorted(_VERSION_FLAGS.items())).encode())
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        data = path.read_bytes()
        digest.update(f"{path.relative_to(folder)}\0{len(data)}\0".encode() + data)
    return digest.hexdigest()[:16]


def required_go(go_mod: str) -> tuple[int, ...]:
    """The Go version that a go.mod asks for, as numbers."""
    found = re.search(r"^go (\d+(?:\.\d+)*)$", go_mod, re.MULTILINE)
    if found is None:
        raise ValueError("go.mod has no go line")
    return tuple(int(part) for part in found[1].split("."))


def parse_go_version(text: str) -> tuple[int, ...]:
    """`go1.26.8` as numbers; a release candidate counts as its release; empty when it is no version."""
    found = re.match(r"go(\d+(?:\.\d+)*)", text)
    return tuple(int(part) for part in found[1].split(".")) if found else ()


def ensure(targets: Sequence[Target] = TARGETS) -> Path:
    """The folder with the binaries of all targets, built first where they are missing. Raises ClusterError."""
    if (ready := _cached(targets)) is not None:
        return ready
    go = _go()
    folder = cache_root() / f"{module_hash(GO_MODULE)}-{_go_version(go)}"
    folder.mkdir(parents=True, exist_ok=True)
    for target in targets:
        if not all((folder / name).exists() for name in target.binaries):
            _build(go, target, folder)
    return folder


def _cached(targets: Sequence[Target]) -> Path | None:
    """A folder with all binaries of the present Go module, if one is complete. It needs no Go."""
    wanted = [name for target in targets for name in target.binaries]
    for folder in sorted(cache_root().glob(f"{module_hash(GO_MODULE)}-*")):
        if all((folder / name).exists() for name in wanted):
            return folder
    return None


def tool(name: str) -> list[Path]:
    """The command of `kubectl` or `helm`: the one on PATH, else one that is built."""
    found = shutil.which(name)
    return [Path(found) if found else ensure([CLIENTS[name]]) / name]


def kind() -> Path:
    """kind: the one on PATH where it is the version that kind.yaml is written for, else one that is built."""
    found = shutil.which("kind")
    if found is not None and f" {KIND_VERSION} " in run([found, "version"]):
        return Path(found)
    return go_program("sigs.k8s.io/kind", KIND_VERSION)


def go_program(package: str, version: str) -> Path:
    """A Go program that is used as it was released, compiled into the cache the first time.

    `package` is what `go install` takes; the program has its last part as name. Raises ClusterError.
    """
    name = package.rpartition("/")[2]
    folder = cache_root() / f"{name}-{version}"
    if not (folder / name).exists():
        go = _go()
        folder.mkdir(parents=True, exist_ok=True)
        say(f"Compiling {name} {version}, about 1 minute.")
        with tempfile.TemporaryDirectory(prefix=".building-", dir=folder) as unfinished:
            environment = {**os.environ, "GOBIN": unfinished, "CGO_ENABLED": "0"}
            run([go, "install", f"{package}@{version}"], env=environment)
            (Path(unfinished) / name).replace(folder / name)
    return folder / name


def go_module(module: str) -> Path:
    """The sources of a module that ours needs, fetched where Go has not got them. Raises ClusterError."""
    answer = run([_go(), "-C", GO_MODULE, "mod", "download", "-json", module])
    return Path(json.loads(answer)["Dir"])


def _go() -> str:
    go = shutil.which("go") or shutil.which(_USUAL_GO)
    needed = ".".join(map(str, required_go((GO_MODULE / "go.mod").read_text())))
    if go is None:
        raise ClusterError(
            f"Go is not installed, and Kubernetes and some tools are compiled here. Install Go {needed} or later "
            "and put it on PATH; for a cluster, starting Docker is another way: it then runs in kind."
        )
    found = _go_version(go)
    if parse_go_version(found) < required_go((GO_MODULE / "go.mod").read_text()):
        raise ClusterError(f"{go} is {found}, and Go {needed} or later is needed. Put a newer Go first on PATH.")
    return go


def _go_version(go: str) -> str:
    # Asked outside of any module, so that Go answers for itself and does not fetch another toolchain.
    done = subprocess.run([go, "env", "GOVERSION"], capture_output=True, text=True, cwd="/", check=False)
    return done.stdout.strip()


def _build(go: str, target: Target, folder: Path) -> None:
    say(f"{target.story}.")
    link = " ".join(f"-X {name}={value}" for name, value in _VERSION_FLAGS.items())
    with tempfile.TemporaryDirectory(prefix=".building-", dir=folder) as unfinished:
        command = [go, "build", "-v", "-trimpath", "-gcflags=all=-dwarf=false", "-ldflags", f"-s -w {link}"]
        command += ["-o", f"{unfinished}/"]
        begin = time.monotonic()
        _run_with_progress([*command, *target.packages], begin)
        for name in target.binaries:
            (Path(unfinished) / name).replace(folder / name)
    say(f"  compiled in {duration(time.monotonic() - begin)}, kept in {folder}")


def _run_with_progress(command: Sequence[str], begin: float) -> None:
    """Run `go build -v`, which names each package when it begins with it, and report time and count."""
    lines: list[str] = []
    environment = {**_COMPILER, **os.environ, "CGO_ENABLED": "0"}
    with subprocess.Popen(
        command, cwd=GO_MODULE, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        reader = threading.Thread(target=lambda: lines.extend(process.stderr or ()), daemon=True)
        reader.start()
        try:
            while reader.is_alive():
                reader.join(_PROGRESS_SECONDS)
                if reader.is_alive():
                    say(f"  {duration(time.monotonic() - begin)}: {len(lines)} packages begun")
        except BaseException:
            process.terminate()
            raise
    if process.returncode != 0:
        tail = "".join(lines[-15:])
        raise ClusterError(
            f"`go build` failed in {GO_MODULE}; its last lines:\n{tail}Run it again when this is solved."
        )
