"""What the chart's admission policies let pass, and what not: for CEL's own runtime, and for a real API server."""

import copy
from collections.abc import Callable
from typing import Any

from codebase_operator.cluster.pods import indexer_pod
from tests.operator.builders import job
from tests.unit.chart.rendering import pod_template

Object = dict[str, Any]
Change = Callable[[Object], Any]

VALUES: Object = {
    "postgres": {"existingSecret": "own"},
    "imagePullSecrets": [{"name": "registry"}],
    "repositories": {
        "roots": [{"path": "/srv/code/", "existingClaim": "code"}, {"path": "/mnt", "hostPath": "/data/mnt"}],
        "gitHosts": ["Git.Example.org", "ssh.example.org:2222"],
    },
    "indexer": {
        "envFrom": [{"secretRef": {"name": "embedding-keys"}}],
        "extraVolumes": [{"name": "models", "csi": {"driver": "models.example.org"}}],
        "initContainers": [{"name": "warm", "image": "mirror.example.org/warm:1"}],
    },
    "embedding": {"providers": ["static", "ollama"]},
    "limits": {"maxCpu": "8", "maxMemory": "16Gi"},
    "admissionPolicies": {
        "enabled": True, "sidecarImages": ["mesh.example.org/"], "maxPriority": 10, "maxParallelism": 4,
    },
}  # fmt: skip


def git(url: str, secret: str | None = None) -> Object:
    return {"source": {"git": {"url": url, **({"secretRef": {"name": secret}} if secret else {})}}}


def path(text: str, **more: Any) -> Object:
    return {"source": {"path": text}, **more}


ALLOWED_JOBS: dict[str, Object] = {
    "a root": path("/mnt"),
    "a folder under a root": path("/srv/code/shop"),
    "one with superfluous slashes": path("//srv/./code//shop/"),
    "a git host": git("https://git.example.org/shop.git"),
    "with its default port": git("https://GIT.example.org:443/shop"),
    "by ssh, as somebody": git("ssh://git@git.example.org/a@b"),
    "with the port that it is allowed with": git("ssh://git@ssh.example.org:2222/shop"),
    "with a Secret": git("https://git.example.org/shop", "shop-git"),
    "all that may be asked for": path(
        "/mnt", priority=10, parallelism=4, resources={"cpu": "7500m", "memory": "16384Mi"},
        embedding={"provider": "ollama"},
    ),
}  # fmt: skip

REFUSED_JOBS: dict[str, tuple[Object, str]] = {
    "a folder beside a root": (path("/srv/codebase"), "spec.source.path"),
    "one above it": (path("/srv"), "spec.source.path"),
    "one out of it": (path("/srv/code/../secrets"), "spec.source.path"),
    "the whole node": (path("/"), "spec.source.path"),
    "another host": (git("https://github.com/a/b"), "spec.source.git.url"),
    "a host below it": (git("https://x.git.example.org/a"), "spec.source.git.url"),
    "a host that begins like it": (git("https://git.example.org.evil.net/a"), "spec.source.git.url"),
    "a host before an at sign": (git("https://git.example.org@evil.net/a"), "spec.source.git.url"),
    "a host in the path": (git("https://evil.net/@git.example.org"), "spec.source.git.url"),
    "another port": (git("https://git.example.org:8443/a"), "spec.source.git.url"),
    "the other scheme's port": (git("ssh://git@git.example.org:443/a"), "spec.source.git.url"),
    "a host without its port": (git("ssh://git@ssh.example.org/a"), "spec.source.git.url"),
    "the database's Secret": (git("https://git.example.org/a", "own"), "spec.source.git.secretRef"),
    "the registry's": (git("https://git.example.org/a", "registry"), "spec.source.git.secretRef"),
    "helm's": (git("https://git.example.org/a", "sh.helm.release.v1.rel.v1"), "spec.source.git.secretRef"),
    "too many processors": (path("/mnt", resources={"cpu": "8001m"}), "spec.resources.cpu"),
    "too much memory": (path("/mnt", resources={"memory": "17Gi"}), "spec.resources.memory"),
    "a higher priority": (path("/mnt", priority=11), "spec.priority"),
    "more pods": (path("/mnt", parallelism=5), "spec.parallelism"),
    "another provider": (path("/mnt", embedding={"provider": "openai"}), "spec.embedding.provider"),
}

OLD_JOB = path("/gone", priority=900, parallelism=16, resources={"cpu": "32", "memory": "64Gi"})
"""Made before the limits were."""

ALLOWED_CHANGES: dict[str, Object] = {
    "a cancel": {"cancel": True}, "a suspend": {"suspend": True}, "less": {"priority": 10, "parallelism": 1},
}  # fmt: skip
REFUSED_CHANGES: dict[str, tuple[Object, str]] = {
    "more priority": ({"priority": 901}, "spec.priority"),
    "more processors": ({"resources": {"cpu": "33", "memory": "64Gi"}}, "spec.resources.cpu"),
}


def pods_of_the_operator(objects: list[Object]) -> list[Object]:
    """Every kind of pod that the operator makes, by the template that the chart gives it."""
    template = pod_template(objects)
    private = job("b", source={"git": {"url": "https://git.example.org/b", "secretRef": {"name": "shop-git"}}})
    return [
        indexer_pod(job("a"), 1, template),
        indexer_pod(job("a", parallelism=2), 3, template, avoid_node="node2", worker_index=1),
        indexer_pod(private, 1, template),
    ]


def changed(pod: Object, change: Change) -> Object:
    """A copy with a change."""
    other = copy.deepcopy(pod)
    change(other)
    return other


def container(pod: Object) -> Object:
    return next(c for c in pod["spec"]["containers"] if c["name"] == "indexer")


def _volume(source: Object) -> Change:
    return lambda pod: pod["spec"]["volumes"].append({"name": "more", **source})


def _sidecar(image: str, **more: Any) -> Change:
    return lambda pod: pod["spec"]["containers"].append({"name": "more", "image": image, **more})


def _variable(name: str) -> Object:
    return {"name": "X", "valueFrom": {"secretKeyRef": {"name": name, "key": "x"}}}


_TOKEN = {"serviceAccountToken": {"path": "token", "expirationSeconds": 3600}}


def _init_container_of_the_mesh(pod: Object) -> None:
    added = {"capabilities": {"add": ["NET_ADMIN", "NET_RAW"]}}
    pod["spec"]["initContainers"].append(
        {"name": "mesh-init", "image": "mesh.example.org/init:1", "securityContext": added}
    )


ALLOWED_PODS: dict[str, Change] = {
    "a sidecar of the mesh": _sidecar("mesh.example.org/proxy:1"),
    "what sets up the network for it": _init_container_of_the_mesh,
    "its token": _volume({"projected": {"sources": [_TOKEN]}}),
    "a label": lambda pod: pod["metadata"]["labels"].update(team="search"),
}

REFUSED_PODS: dict[str, tuple[Change, str]] = {
    "another image": (lambda pod: container(pod).update(image="evil.net/x"), "the release's image"),
    "a command": (lambda pod: container(pod).update(command=["sh"]), "the release's image"),
    "arguments": (lambda pod: container(pod).update(args=["-c", "x"]), "the release's image"),
    "a hook": (
        lambda pod: container(pod).update(lifecycle={"postStart": {"exec": {"command": ["sh"]}}}),
        "the release's image",
    ),
    "no indexer": (lambda pod: container(pod).update(name="other"), "one container indexer"),
    "a sidecar of an image of nobody's": (_sidecar("evil.net/x"), "none of the release's"),
    "an init container": (
        lambda pod: pod["spec"]["initContainers"].append({"name": "x", "image": "evil.net/x"}),
        "none of the release's",
    ),
    "a privileged container": (
        _sidecar("mesh.example.org/proxy:1", securityContext={"privileged": True}), "privileged",
    ),
    "a capability": (
        _sidecar("mesh.example.org/proxy:1", securityContext={"capabilities": {"add": ["SYS_MODULE"]}}),
        "capability",
    ),
    "the node's network": (lambda pod: pod["spec"].update(hostNetwork=True), "namespace"),
    "the node's processes": (lambda pod: pod["spec"].update(hostPID=True), "namespace"),
    "the node's memory": (lambda pod: pod["spec"].update(hostIPC=True), "namespace"),
    "another account": (lambda pod: pod["spec"].update(serviceAccountName="admin"), "account"),
    "a token": (lambda pod: pod["spec"].update(automountServiceAccountToken=True), "token"),
    "no class": (lambda pod: pod["spec"].pop("priorityClassName"), "priority class"),
    "a node of its choice": (lambda pod: pod["spec"].update(nodeName="node1"), "scheduled"),
    "no owner": (lambda pod: pod["metadata"].pop("ownerReferences"), "belongs to an IndexingJob"),
    "another label": (
        lambda pod: pod["metadata"]["labels"].update({"app.kubernetes.io/component": "server"}), "label",
    ),
    "a folder of the node": (_volume({"hostPath": {"path": "/etc"}}), "volume"),
    "one below a root's": (_volume({"hostPath": {"path": "/data/mnt/x"}}), "volume"),
    "another claim": (_volume({"persistentVolumeClaim": {"claimName": "data-postgres-0"}}), "volume"),
    "a network file system": (_volume({"nfs": {"server": "a", "path": "/"}}), "volume"),
    "another Secret": (_volume({"secret": {"secretName": "other"}}), "Secrets"),
    "helm's Secret as git's": (
        lambda pod: pod["spec"]["volumes"][-1].update(secret={"secretName": "sh.helm.release.v1.rel.v1"}),
        "Secrets",
    ),
    "a Secret in a projection": (
        _volume({"projected": {"sources": [{"secret": {"name": "other"}}]}}), "Secrets",
    ),
    "a Secret in a variable": (lambda pod: container(pod)["env"].append(_variable("other")), "Secrets"),
    "a Secret in all variables": (
        lambda pod: container(pod).update(envFrom=[{"secretRef": {"name": "other"}}]), "Secrets",
    ),
    "a Secret in an init container's": (
        lambda pod: pod["spec"]["initContainers"][0].update(env=[_variable("other")]), "Secrets",
    ),
}  # fmt: skip
"""Changes of the pod of a private repository, whose last volume is git's Secret."""
