"""The same commands on kind, where a Docker engine answers."""

import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from string import Template

from . import build, entrances
from .console import run, say, step
from .control_plane import audit_policy
from .errors import ClusterError
from .paths import NAME, PACKAGE, State
from .pki import write_private

# kind's own default node image of the version in build.KIND_VERSION, by its digest.
_NODE_IMAGE = "kindest/node:v1.37.0@sha256:a1ed56cfb0e7b93589bdf97c8cd566405a265939e3620fc4f5de89adff580ae5"

Mount = dict[str, str | bool]


def cluster_name(state: State) -> str:
    """The cluster's name in kind; each checkout has its own, since Docker keeps clusters apart."""
    return f"{NAME}-{hashlib.sha256(os.fsencode(state.checkout)).hexdigest()[:8]}"


def _complete(state: State) -> Path:
    """Present, with the number of nodes in it, once kind has made the whole cluster."""
    return state.folder / "kind.complete"


def is_ours(state: State) -> bool:
    """Whether this checkout's cluster was made by kind."""
    return (state.folder / "kind.yaml").exists()


def configuration(state: State, nodes: int, roots: Sequence[Path]) -> str:
    """kind.yaml for `nodes` nodes, with `roots` mounted read-only where they are on the host."""
    shared: list[Mount] = [{"hostPath": str(root), "containerPath": str(root), "readOnly": True} for root in roots]
    audit: list[Mount] = [
        {"hostPath": f"{state.folder}/audit-policy", "containerPath": "/etc/kubernetes/audit", "readOnly": True},
        {"hostPath": f"{state.folder}/audit", "containerPath": "/var/log/kubernetes"},
    ]
    worker = json.dumps({"role": "worker", "image": _NODE_IMAGE, "extraMounts": shared})
    values = {
        "IMAGE": _NODE_IMAGE,
        "CONTROL_PLANE_MOUNTS": json.dumps(shared + audit),
        "WORKERS": "\n".join([f"  - {worker}"] * (nodes - 1)),
    }
    return Template((PACKAGE / "kind.yaml").read_text()).substitute(values)


def repository_roots(state: State) -> list[Path]:
    """The checkout, and the folders that REPOSITORY_ROOTS names (separated by colons).

    Raises ClusterError for one that is not a folder: Docker would create it, owned by root.
    """
    named = [Path(name).resolve() for name in os.environ.get("REPOSITORY_ROOTS", "").split(":") if name]
    for folder in named:
        if not folder.is_dir():
            raise ClusterError(f"REPOSITORY_ROOTS names {folder}, which is not a folder.")
    return [state.checkout, *named]


def up(state: State, nodes: int) -> None:
    """Create the cluster, or use the one that is there. Raises ClusterError."""
    kind = build.kind()
    made = _nodes_made(kind, state)
    if made == 0:
        _create(kind, state, nodes)
    elif made < nodes:
        raise ClusterError(f"The cluster has {made} node(s), and kind cannot add any: `make down` first.")
    _write_entrances(kind, state)
    ready = ("--for=condition=Ready", "nodes", "--all", "--timeout=120s")
    with step("Waiting for the nodes"):
        run([state.bin / "kubectl", "wait", *ready], hint="If a node stays away: `make down`, then `make up`.")
    say(f"The cluster is up. KUBECONFIG={state.kubeconfig}; kubectl and helm are in {state.bin}.")


def _nodes_made(kind: Path, state: State) -> int:
    """How many nodes a complete cluster has; an incomplete one is removed, and then there are 0."""
    complete = _complete(state)
    if cluster_name(state) not in run([kind, "get", "clusters"]).split():
        complete.unlink(missing_ok=True)
    elif not complete.exists():
        with step("Removing a cluster that was not finished"):
            run([kind, "delete", "cluster", "--name", cluster_name(state)])
    return int(complete.read_text()) if complete.exists() else 0


def _write_entrances(kind: Path, state: State) -> None:
    run([kind, "export", "kubeconfig", "--name", cluster_name(state), "--kubeconfig", state.kubeconfig])
    entrances.write(state, kubectl=build.tool("kubectl"), helm=build.tool("helm"))
    # As JSON (which is YAML too), because api.Api reads it with the standard library.
    write_private(state.kubeconfig, run([state.bin / "kubectl", "config", "view", "--raw", "--output=json"]))


def _create(kind: Path, state: State, nodes: int) -> None:
    for folder in ("audit", "audit-policy", "bin"):
        (state.folder / folder).mkdir(parents=True, exist_ok=True)
    (state.folder / "audit-policy" / "policy.json").write_text(audit_policy())
    state.audit_log.unlink(missing_ok=True)
    state.audit_log.symlink_to("audit/audit.log")
    config = state.folder / "kind.yaml"
    config.write_text(configuration(state, nodes, repository_roots(state)))
    options = ("--config", config, "--kubeconfig", state.kubeconfig, "--wait", "180s")
    with step("Creating a kind cluster; the first time Docker fetches the node image (about 1 GB)"):
        run([kind, "create", "cluster", "--name", cluster_name(state), *options], hint="Is Docker well?")
    _complete(state).write_text(f"{nodes}\n")


def down(state: State) -> None:
    """Delete the cluster and its state."""
    with step("Deleting the kind cluster"):
        run([build.kind(), "delete", "cluster", "--name", cluster_name(state), "--kubeconfig", state.kubeconfig])
    shutil.rmtree(state.folder, ignore_errors=True)


def load_image(state: State, archive: Path) -> None:
    """Import an image archive into every node."""
    if not archive.is_file():
        raise ClusterError(f"There is no file {archive}. Build the images first (make images).")
    with step(f"Loading {archive} into kind"):
        run([build.kind(), "load", "image-archive", archive, "--name", cluster_name(state)])
