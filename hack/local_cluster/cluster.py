"""The built-in cluster: up, down, load-image. Each step may be repeated at any time."""

import http.client
import json
import shlex
import socket
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from string import Template

from . import build, cgroups, cleanup, control_plane, entrances, host, images, network, node, pki, processes
from .api import Api
from .console import run, say, step, succeeds, wait_until
from .errors import ClusterError
from .paths import ADDONS, CHECKOUT, MAX_NODES, State, containerd_socket
from .processes import Program

_FIRST_PORT = 16443


def up(state: State, nodes: int) -> None:
    """Bring the cluster up with at least `nodes` nodes, over whatever state it is in.

    Raises ClusterError where the machine lacks something, or another checkout's cluster runs.
    """
    host.require_linux_root()
    host.require_short_path(state.checkout)
    host.require_disk()
    host.ensure_packages()
    binaries = build.ensure()
    _take_over(state)
    nodes = max(nodes, state.recorded_nodes())
    _prepare(state, nodes)
    port = _start_control_plane(state, binaries)
    _write_entrances(state, binaries, port)
    api = Api(state.kubeconfig)
    with step("Waiting for the API server"):
        hint = f"See {state.logs}/kube-apiserver.log and {state.logs}/etcd.log."
        wait_until(api.ready, "the API server is ready", limit_seconds=120, hint=hint)
    _start_rest(state, binaries, nodes)
    _apply_addons(state)
    with step(f"Waiting for {nodes} node{'s' if nodes > 1 else ''} and the cluster's DNS"):
        hint = f"See {state.logs}/node1-kubelet.log, and `python3 -m hack.local_cluster status`."
        all_ready = partial(are_all_ready, state, binaries, api, nodes)
        wait_until(partial(_holds, all_ready), "the nodes are Ready", limit_seconds=120, hint=hint)
        wait_until(partial(_holds, lambda: dns_ready(api)), "CoreDNS is ready", limit_seconds=120, hint=hint)
    say(f"The cluster is up. KUBECONFIG={state.kubeconfig}; kubectl and helm are in {state.bin}.")


def stop(state: State) -> None:
    """End all processes at once, as a power failure does. `up` goes on with the same objects and volumes.

    Raises ClusterError where this checkout's cluster does not run.
    """
    host.require_linux_root()
    _require_running(state)
    with step("Ending all processes"):
        cleanup.power_off(state)


def start_again(state: State, name: str) -> None:
    """Start one program that was killed, of the control plane or of a node, and do not wait for it.

    Raises ClusterError when there is no program of this name.
    """
    hyperkube = build.ensure() / "hyperkube"
    programs = [control_plane.etcd(state), control_plane.apiserver(state, hyperkube)]
    programs += [control_plane.controller_manager(state, hyperkube), control_plane.scheduler(state, hyperkube)]
    for number in range(1, state.recorded_nodes() + 1):
        programs += [node.containerd(state, number), *node.programs(state, number, hyperkube)]
    named = [program for program in programs if program.name == name]
    if not named:
        raise ClusterError(f"There is no program {name}; there are {', '.join(p.name for p in programs)}.")
    _start(state, *named)


def down(state: State) -> None:
    """End and remove the cluster with its state. Does nothing where there is none.

    Raises ClusterError when the machine's cluster is another checkout's and runs.
    """
    if not (cleanup.remains() or state.folder.exists()):
        say("There is no cluster.")
        return
    host.require_linux_root()
    owner = _require_no_other_cluster(state)
    with step("Ending all processes; removing mounts, namespaces and control groups"):
        cleanup.clear_runtime([state] if owner is None else [state, owner])
    _remove_orphaned(owner)
    cleanup.remove_state(state)
    say("Nothing of the cluster is left (the built programs stay in the cache).")


def load_image(state: State, archive: Path) -> None:
    """Import an image archive into every node."""
    _require_running(state)
    nodes = range(1, state.recorded_nodes() + 1)
    with step(f"Loading {archive} into {len(nodes)} node{'s' if len(nodes) > 1 else ''}"):
        for line in images.load(archive, nodes):
            say(f"  {line}")


def _require_running(state: State) -> None:
    if cleanup.owner() != state or not is_running():
        raise ClusterError("The cluster of this checkout does not run. Start it with `make up`.")


def is_running() -> bool:
    """Whether the API server of this machine's cluster lives."""
    return processes.pid_of("kube-apiserver") is not None


def nodes_ready(api: Api) -> int:
    """How many nodes are Ready and have a kubelet that answers now.

    The condition alone may be of yesterday: it outlives a killed kubelet by most of a minute.
    """
    return sum(
        _answers(api, f"/api/v1/nodes/{entry['metadata']['name']}/proxy/healthz")
        for entry in api.items("/api/v1/nodes")
        if any(c["type"] == "Ready" and c["status"] == "True" for c in entry["status"].get("conditions", []))
    )


def dns_ready(api: Api) -> bool:
    """Whether a CoreDNS server says now that it is ready, asked through the API server."""
    namespace = "/api/v1/namespaces/kube-system/pods"
    pods = api.items(f"{namespace}?labelSelector=k8s-app%3Dkube-dns")
    return any(_answers(api, f"{namespace}/{pod['metadata']['name']}:8181/proxy/ready") for pod in pods)


def _answers(api: Api, path: str) -> bool:
    return api.request("GET", path)[0] == 200


def _holds(condition: Callable[[], bool]) -> bool:
    """The condition's value; False while the API server does not answer."""
    try:
        return condition()
    except (OSError, http.client.HTTPException):
        return False


def _require_no_other_cluster(state: State) -> State | None:
    """The owner of the cluster on this machine, if there is one: ourselves, or the owner of mere remains.

    Raises ClusterError when another checkout's cluster runs, and that checkout can still end it.
    """
    owner = cleanup.owner()
    if owner is not None and owner != state and is_running() and owner.has_program():
        raise ClusterError(
            f"A cluster of {owner.checkout} runs on this machine, and there can be one only. "
            "Run `make down` there first."
        )
    return owner


def _take_over(state: State) -> None:
    """Make this machine's cluster ours, clearing away what cannot be continued."""
    owner = _require_no_other_cluster(state)
    # Without its certificates a cluster of our own is remains too: somebody deleted the state folder.
    if cleanup.remains() and (owner != state or not state.pki.is_dir()):
        with step(f"Clearing what a cluster of {owner.checkout if owner else 'another checkout'} left behind"):
            cleanup.clear_runtime([state] if owner is None else [state, owner])
        _remove_orphaned(owner)
    if state.removing.exists():
        with step("Finishing an interrupted `down`"):
            cleanup.clear_runtime([state])
            cleanup.remove_state(state)
    cleanup.claim(state)


def _remove_orphaned(owner: State | None) -> None:
    """Remove the state of a checkout that somebody deleted while its cluster ran."""
    if owner is not None and not owner.has_program():
        cleanup.remove_state(owner)


def _prepare(state: State, nodes: int) -> None:
    """Network, control groups, certificates, configuration files."""
    with step("Preparing network namespaces, control groups and certificates"):
        network.ensure(nodes)
        cgroups.prepare(nodes)
        for folder in (state.bin, state.logs, state.volumes):
            folder.mkdir(parents=True, exist_ok=True)
        state.volumes.chmod(0o711)
        pki.ensure(state.pki)
        (state.folder / "audit-policy.json").write_text(control_plane.audit_policy())
        users = ["admin", "controller-manager", "scheduler", "proxy"]
        server = f"https://{network.node_address(1)}:{network.API_PORT}"
        for user in users + [f"node{number}" for number in range(1, nodes + 1)]:
            path = state.folder / f"{user}.kubeconfig"
            pki.write_kubeconfig(path, pki=state.pki, user=user, server=server)
        snapshotter = host.snapshotter(state.folder)
        for number in range(1, nodes + 1):
            node.write_configuration(state, number, snapshotter=snapshotter)


def _start(state: State, *programs: Program) -> None:
    for program in programs:
        processes.start(program, state.logs, cwd=state.folder)


def _start_control_plane(state: State, binaries: Path) -> int:
    """etcd, the API server, and the loopback port that leads to it; returns the port."""
    state.etcd.mkdir(mode=0o700, exist_ok=True)
    hyperkube = binaries / "hyperkube"
    _start(state, control_plane.etcd(state), control_plane.apiserver(state, hyperkube))
    return _start_forwarder(state)


def _start_forwarder(state: State) -> int:
    if processes.pid_of("forwarder") is not None:
        return int(state.port_file.read_text())
    with _listen(state) as listener:
        port: int = listener.getsockname()[1]
        target = [network.node_address(1), str(network.API_PORT)]
        command = _python("forwarder", str(listener.fileno()), *target)
        program = Program("forwarder", command, network.netns(1))
        processes.start(program, state.logs, cwd=CHECKOUT, pass_fds=[listener.fileno()])
    state.port_file.write_text(f"{port}\n")
    return port


def _listen(state: State) -> socket.socket:
    """A listening loopback socket: on the port used before, else the usual one, else any."""
    before = [int(state.port_file.read_text())] if state.port_file.exists() else []
    for port in [*before, _FIRST_PORT, 0]:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            listener.close()
            continue
        listener.listen(128)
        return listener
    raise ClusterError("No TCP port can be opened on 127.0.0.1.")


def _python(module: str, *arguments: str) -> list[str]:
    """A command that runs a module of this package; -S and -E keep foreign settings out."""
    return [sys.executable, "-E", "-S", "-m", f"{__package__}.{module}", *arguments]


def _write_entrances(state: State, binaries: Path, port: int) -> None:
    """The kubeconfig for clients on the host, and the wrappers that use it."""
    server = f"https://127.0.0.1:{port}"
    pki.write_kubeconfig(state.kubeconfig, pki=state.pki, user="admin", server=server)
    entrances.write(state, kubectl=[binaries / "hyperkube", "kubectl"], helm=[binaries / "helm"])
    program = shlex.quote(entrances.wrapped_program(state, "ctr"))
    ctr = f"exec {program} --address={containerd_socket(1)} --namespace=k8s.io"
    entrances.write_wrapper(state, "ctr", ctr)


def _start_rest(state: State, binaries: Path, nodes: int) -> None:
    """Everything that needs the API server, and the nodes with the two images that they must have."""
    hyperkube = binaries / "hyperkube"
    with step("Starting controllers, scheduler and nodes"):
        _start(state, control_plane.controller_manager(state, hyperkube))
        _start(state, control_plane.scheduler(state, hyperkube))
        volumes = _python("volumes", str(state.kubeconfig), str(state.volumes))
        processes.start(Program("volumes", volumes), state.logs, cwd=CHECKOUT)
        for number in range(1, nodes + 1):
            _start(state, node.containerd(state, number))
        for number in range(1, nodes + 1):
            _provide_images(state, binaries, number)
            _start(state, *node.programs(state, number, hyperkube))


def are_all_ready(state: State, binaries: Path, api: Api, nodes: int) -> bool:
    """Whether all nodes are ready; a kubelet that ended is started again.

    containerd answers before its CRI part has recovered the containers from before a power failure, and a kubelet
    that asks it in between ends.
    """
    for number in range(1, nodes + 1):
        _start(state, *node.programs(state, number, binaries / "hyperkube"))
    return nodes_ready(api) >= nodes


def _provide_images(state: State, binaries: Path, number: int) -> None:
    """Import the pause and CoreDNS images into a node that lacks them."""
    ctr = ["ctr", f"--address={containerd_socket(number)}", "--namespace=k8s.io"]
    hint = f"See {state.logs}/node{number}-containerd.log."
    # Its socket file proves nothing: one that was killed leaves it behind.
    answers = partial(succeeds, [*ctr, "version"])
    wait_until(answers, f"node{number}'s containerd answers", limit_seconds=60, hint=hint)
    present = run([*ctr, "images", "list", "--quiet"], hint=hint).split()
    for name, binary in ((images.PAUSE_IMAGE, "pause"), (images.COREDNS_IMAGE, "coredns")):
        if name not in present:
            archive = state.folder / f"{binary}.oci.tar"
            images.write_archive(archive, name=name, binary=binaries / binary)
            images.load(archive, [number])
            archive.unlink()


def _apply_addons(state: State) -> None:
    """CoreDNS and the default StorageClass."""
    values = {"IMAGE": images.COREDNS_IMAGE, "ADDRESS": network.DNS_ADDRESS}
    manifests = [Template(path.read_text()).substitute(values) for path in sorted(ADDONS.glob("*.yaml"))]
    options = ["--server-side", "--force-conflicts", "--filename=-"]
    kubectl: list[str | Path] = [state.bin / "kubectl", "apply", *options]
    run(kubectl, stdin="---\n".join(manifests), hint=f"See {state.logs}/kube-apiserver.log.")


def check_nodes(text: str) -> int:
    """The number of nodes that NODES asks for. Raises ClusterError when it is none we can make."""
    if not text.isdigit() or not 1 <= int(text) <= MAX_NODES:
        raise ClusterError(f"NODES={json.dumps(text)} is not a number from 1 to {MAX_NODES}.")
    return int(text)
