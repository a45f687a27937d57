"""Command lines of the control plane: etcd, API server, controller manager, scheduler."""

import json
from pathlib import Path

from . import network
from .paths import State
from .processes import Program

_ETCD = "http://127.0.0.1:2379"

Flags = dict[str, str | int | Path]

_CRD_GROUP = "indexing.codebase-mcp.io"


def audit_policy() -> str:
    """What the API server records: who did what to pods and indexing jobs, without their contents."""
    policy = {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [
            {
                "level": "Metadata",
                "verbs": ["create", "update", "patch", "delete", "deletecollection"],
                "resources": [
                    {"group": "", "resources": ["pods", "pods/eviction", "pods/binding"]},
                    {"group": _CRD_GROUP, "resources": ["*"]},
                ],
            },
            {"level": "None"},
        ],
    }
    return json.dumps(policy, indent=1)


def etcd(state: State) -> Program:
    """The database of the API server, for processes of its own namespace only."""
    command = [
        "etcd",
        f"--data-dir={state.etcd}",
        f"--listen-client-urls={_ETCD}",
        f"--advertise-client-urls={_ETCD}",
        "--listen-peer-urls=http://127.0.0.1:2380",
    ]
    return Program("etcd", command, network.netns(1))


def apiserver(state: State, hyperkube: Path) -> Program:
    """The API server, with audit log, and with node, pod and service account authentication."""
    pki = state.pki
    flags: Flags = {
        "etcd-servers": _ETCD,
        "bind-address": "0.0.0.0",
        "advertise-address": network.node_address(1),
        "secure-port": network.API_PORT,
        "tls-cert-file": pki / "apiserver.crt",
        "tls-private-key-file": pki / "apiserver.key",
        "client-ca-file": pki / "ca.crt",
        "service-account-key-file": pki / "sa.pub",
        "service-account-signing-key-file": pki / "sa.key",
        "service-account-issuer": "https://kubernetes.default.svc.cluster.local",
        "authorization-mode": "Node,RBAC",
        "service-cluster-ip-range": network.SERVICE_CIDR,
        "allow-privileged": "true",
        "kubelet-client-certificate": pki / "admin.crt",
        "kubelet-client-key": pki / "admin.key",
        "kubelet-preferred-address-types": "InternalIP",
        "requestheader-client-ca-file": pki / "ca.crt",
        "requestheader-allowed-names": "front-proxy-client",
        "requestheader-username-headers": "X-Remote-User",
        "requestheader-group-headers": "X-Remote-Group",
        "requestheader-extra-headers-prefix": "X-Remote-Extra-",
        "proxy-client-cert-file": pki / "front-proxy.crt",
        "proxy-client-key-file": pki / "front-proxy.key",
        # The last two are on by default; they are named because the chart and the tests rely on them.
        "enable-admission-plugins": "NodeRestriction,PodSecurity,ResourceQuota",
        "audit-policy-file": state.folder / "audit-policy.json",
        "audit-log-path": state.audit_log,
        "audit-log-maxsize": 50,
        "audit-log-maxbackup": 1,
        "profiling": "false",
    }
    return _kubernetes("kube-apiserver", hyperkube, flags)


def controller_manager(state: State, hyperkube: Path) -> Program:
    """The controllers. A node is called lost 50 s after its last heartbeat, checked every 2 s."""
    flags: Flags = {
        "kubeconfig": state.folder / "controller-manager.kubeconfig",
        "service-account-private-key-file": state.pki / "sa.key",
        "root-ca-file": state.pki / "ca.crt",
        "use-service-account-credentials": "true",
        "cluster-signing-cert-file": state.pki / "ca.crt",
        "cluster-signing-key-file": state.pki / "ca.key",
        "leader-elect": "false",
        "node-monitor-period": "2s",
        "profiling": "false",
    }
    return _kubernetes("kube-controller-manager", hyperkube, flags)


def scheduler(state: State, hyperkube: Path) -> Program:
    """The scheduler, without leader election: there is one."""
    flags: Flags = {
        "kubeconfig": state.folder / "scheduler.kubeconfig",
        "leader-elect": "false",
        # A pod whose claim is bound at the very moment of its scheduling may miss that, and then waits for so
        # long: by default five minutes, as long as an installation has.
        "pod-max-in-unschedulable-pods-duration": "20s",
        "profiling": "false",
    }
    return _kubernetes("kube-scheduler", hyperkube, flags)


def _kubernetes(name: str, hyperkube: Path, flags: Flags) -> Program:
    options = [f"--{flag}={value}" for flag, value in flags.items()]
    return Program(name, [hyperkube, name, *options], network.netns(1))
