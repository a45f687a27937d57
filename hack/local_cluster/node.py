"""Configuration and command lines of one node: containerd, kubelet, kube-proxy and the pod network."""

import json
import resource
from pathlib import Path

from . import cgroups, network
from .images import PAUSE_IMAGE
from .paths import NAME, State, containerd_socket, node_run
from .processes import Program

_CNI_PLUGINS = "/usr/lib/cni"


def write_configuration(state: State, number: int, *, snapshotter: str) -> None:
    """Write every file that the node's programs read."""
    home = state.node(number)
    (home / "cni").mkdir(parents=True, exist_ok=True)
    node_run(number).mkdir(parents=True, exist_ok=True)
    (home / "containerd.toml").write_text(_containerd(state, number, snapshotter))
    (home / "cni" / "10-bridge.conflist").write_text(json.dumps(_cni(number), indent=1))
    (home / "kubelet.json").write_text(json.dumps(_kubelet(state, number), indent=1))
    (home / "resolv.conf").write_text(f"nameserver {network.DNS_ADDRESS}\n")


def programs(state: State, number: int, hyperkube: Path) -> list[Program]:
    """The kubelet and kube-proxy; containerd comes first, see `containerd`."""
    home, name, net = state.node(number), f"node{number}", network.netns(number)
    kubelet: list[str | Path] = [
        hyperkube,
        "kubelet",
        f"--config={home / 'kubelet.json'}",
        f"--kubeconfig={state.folder / f'{name}.kubeconfig'}",
        f"--hostname-override={name}",
        f"--root-dir={home / 'kubelet'}",
        f"--cert-dir={home / 'kubelet-pki'}",
        f"--node-ip={network.node_address(number)}",
    ]
    # The connection tracking limits belong to the host, and cannot be set from a namespace: 0 leaves them.
    conntrack = ("max-per-core", "min", "tcp-timeout-established", "tcp-timeout-close-wait")
    proxy: list[str | Path] = [
        hyperkube,
        "kube-proxy",
        f"--kubeconfig={state.folder / 'proxy.kubeconfig'}",
        f"--hostname-override={name}",
        f"--cluster-cidr={network.POD_CIDR}",
        "--proxy-mode=iptables",
        *(f"--conntrack-{limit}=0" for limit in conntrack),
    ]
    return [Program(f"{name}-kubelet", kubelet, net), Program(f"{name}-kube-proxy", proxy, net)]


def containerd(state: State, number: int) -> Program:
    """The container runtime, which must answer before images are imported and the kubelet starts."""
    command: list[str | Path] = ["containerd", "--config", state.node(number) / "containerd.toml"]
    return Program(f"node{number}-containerd", command, network.netns(number))


def _containerd(state: State, number: int, snapshotter: str) -> str:
    """containerd's TOML. Values are paths and fixed words, so JSON's string quoting is TOML's."""
    home, volatile = state.node(number), node_run(number)
    quote = json.dumps
    cri = 'plugins."io.containerd.grpc.v1.cri"'
    return f"""version = 2
root = {quote(str(home / "containerd"))}
state = {quote(str(volatile / "containerd"))}
oom_score = 0

[grpc]
address = {quote(str(containerd_socket(number)))}

[plugins."io.containerd.internal.v1.opt"]
path = {quote(str(home / "containerd-opt"))}

[{cri}]
sandbox_image = {quote(PAUSE_IMAGE)}
# Pod network namespaces below our own run folder: `down` then knows which ones are ours.
netns_mounts_under_state_dir = true
# Lowering the OOM score needs a capability that root in a container or micro VM may lack.
restrict_oom_score_adj = true
tolerate_missing_hugetlb_controller = true
disable_hugetlb_controller = true
disable_apparmor = true

[{cri}.containerd]
snapshotter = {quote(snapshotter)}

[{cri}.containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[{cri}.containerd.runtimes.runc.options]
SystemdCgroup = false
Root = {quote(str(volatile / "runc"))}

[{cri}.cni]
bin_dir = {quote(_CNI_PLUGINS)}
conf_dir = {quote(str(home / "cni"))}
"""


def _cni(number: int) -> dict[str, object]:
    bridge = {
        "type": "bridge",
        "bridge": "cni0",
        "isGateway": True,
        "ipMasq": True,
        "hairpinMode": True,
        "ipam": {
            "type": "host-local",
            "ranges": [[{"subnet": network.pod_cidr(number)}]],
            "routes": [{"dst": "0.0.0.0/0"}],
            "dataDir": str(node_run(number) / "cni"),
        },
    }
    ports = {"type": "portmap", "capabilities": {"portMappings": True}}
    return {"cniVersion": "0.4.0", "name": NAME, "plugins": [bridge, ports]}


def _kubelet(state: State, number: int) -> dict[str, object]:
    home, pki = state.node(number), state.pki
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "containerRuntimeEndpoint": f"unix://{containerd_socket(number)}",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": cgroups.node_group(number),
        "cgroupsPerQOS": True,
        "enforceNodeAllocatable": ["pods"],
        # Kubernetes 1.34 still runs on cgroup version 1, when it is told to.
        "failCgroupV1": False,
        "failSwapOn": False,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(pki / "ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(pki / f"node{number}.crt"),
        "tlsPrivateKeyFile": str(pki / f"node{number}.key"),
        "resolvConf": str(home / "resolv.conf"),
        "clusterDomain": "cluster.local",
        "clusterDNS": [network.DNS_ADDRESS],
        "readOnlyPort": 0,
        "oomScoreAdj": 0,
        "podLogsDir": str(home / "pod-logs"),
        "maxOpenFiles": min(1_000_000, resource.getrlimit(resource.RLIMIT_NOFILE)[1]),
        # A developer's disk is often nearly full: only a really full one evicts pods or images.
        "evictionHard": {
            "memory.available": "100Mi",
            "nodefs.available": "1%",
            "nodefs.inodesFree": "1%",
            "imagefs.available": "1%",
        },
        # Images are imported, not pulled: one that the kubelet collects would be gone for good.
        "imageGCHighThresholdPercent": 100,
        "serializeImagePulls": False,
        "syncFrequency": "10s",
        "registerNode": True,
    }
