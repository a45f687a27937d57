"""The indexer pod's manifest: a job, an attempt and a template in, a dict out. No API is called.

Bare pods, not a Job: its controller waits 10 s after the first failure and counts a deleted pod as failed.
"""

import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from codebase_index import trace_context
from codebase_index.api.job import (
    GROUP,
    KIND,
    LABEL_ATTEMPT,
    LABEL_COMPONENT,
    LABEL_HELPER,
    LABEL_JOB,
    LABEL_JOB_ID,
    LABEL_TARGET,
    LABEL_WORKER_INDEX,
    MAX_PROCESSES,
    VERSION,
    pod_name,
)
from codebase_index.api.resource import IndexingJobSpec
from codebase_operator.cluster.credentials import secret_of
from codebase_operator.model.quantities import mebibytes, number
from codebase_operator.model.site_policy import SitePolicy
from codebase_operator.model.snapshot import CONTAINER, Job
from codebase_operator.settings import PodTemplate

COMPONENT: Final = "indexer"
USER: Final = 10001
WORK_DIR: Final = "/work"

TERMINATION_GRACE_SECONDS: Final = 3
"""From SIGTERM to SIGKILL. A cancelled job's pod has to be gone within 5 s, and a quota counts it until then."""

PROCESS_BYTES: Final = 300_000_000
BASE_BYTES: Final = 250_000_000
"""Memory of a pod: up to so much for each of its processes, and for all else."""

_POD_SECURITY_CONTEXT: Final[Mapping[str, Any]] = {
    "runAsNonRoot": True, "runAsUser": USER, "runAsGroup": USER, "fsGroup": USER,
    "seccompProfile": {"type": "RuntimeDefault"},
}  # fmt: skip
_SECURITY_CONTEXT: Final[Mapping[str, Any]] = {
    "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
}  # fmt: skip

_LOST_NODE_SECONDS: Final = 5
"""How long a pod stays on a node that Kubernetes knows to be lost; 300 s by default."""


def indexer_pod(
    job: Job, attempt: int, template: PodTemplate, avoid_node: str | None = None, worker_index: int = 0,
    site: SitePolicy | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Return the manifest of an attempt's leader pod (`worker_index` 0) or of one of its workers.

    `avoid_node` is avoided by preference.
    """
    spec = _spec(job)
    resources = resources_of(spec, template, site or SitePolicy())
    worker = {label: str(worker_index) for label in (LABEL_WORKER_INDEX, LABEL_HELPER) if worker_index}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": pod_name(job.name, attempt, worker_index),
            "namespace": job.namespace,
            "labels": {
                **template.labels,
                "app.kubernetes.io/name": "codebase-mcp",
                "app.kubernetes.io/managed-by": "codebase-operator",
                LABEL_COMPONENT: COMPONENT,
                LABEL_JOB: job.name,
                LABEL_JOB_ID: str(job.id),
                LABEL_ATTEMPT: str(attempt),
                LABEL_TARGET: spec.target,
                **worker,
            },
            "annotations": dict(template.annotations),
            "ownerReferences": [owner_of(job)],
        },
        "spec": _pod_spec(job, template, avoid_node, _container(job, attempt, template, resources, worker_index)),
    }


def owner_of(job: Job) -> dict[str, Any]:
    """Return the reference by which the garbage collector removes what belongs to a job."""
    return {
        "apiVersion": f"{GROUP}/{VERSION}", "kind": KIND, "name": job.name, "uid": str(job.id),
        "controller": True, "blockOwnerDeletion": True,
    }  # fmt: skip


def _spec(job: Job) -> IndexingJobSpec:
    assert job.spec is not None, "the planner starts no job whose spec it cannot read"
    return job.spec


def _pod_spec(
    job: Job, template: PodTemplate, avoid_node: str | None, container: dict[str, Any]
) -> dict[str, Any]:
    secret = secret_of(job)
    optional = {
        "imagePullSecrets": template.image_pull_secrets, "priorityClassName": template.priority_class_name,
        "nodeSelector": template.node_selector, "affinity": _affinity(template.affinity, avoid_node),
        "initContainers": template.init_containers, "runtimeClassName": template.runtime_class_name,
        "schedulerName": template.scheduler_name, "hostAliases": template.host_aliases,
        "dnsPolicy": template.dns_policy, "dnsConfig": template.dns_config,
        "securityContext": _laid_over(_POD_SECURITY_CONTEXT, template.pod_security_context),
    }  # fmt: skip
    return {
        "restartPolicy": "OnFailure",
        "terminationGracePeriodSeconds": TERMINATION_GRACE_SECONDS,
        "serviceAccountName": template.service_account_name,
        # The indexer reads untrusted code: it gets no credentials for the API, and no list of services.
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "tolerations": [*template.tolerations, *_leave_lost_nodes()],
        "containers": [container],
        "volumes": [*template.volumes, *_own_volumes(template, secret)],
        **{name: value for name, value in optional.items() if value},
    }  # fmt: skip


def _container(
    job: Job, attempt: int, template: PodTemplate, resources: dict[str, dict[str, str]], worker_index: int
) -> dict[str, Any]:
    mounts = [
        # Repositories are only ever read, whatever the template says.
        *({**mount, "readOnly": True} for mount in template.volume_mounts),
        {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 (a path in the pod)
        {"name": "work", "mountPath": WORK_DIR},
        *template.extra_volume_mounts,
    ]
    if secret_of(job):
        mounts.append({"name": "git-credentials", "mountPath": "/var/run/git-credentials", "readOnly": True})
    optional = {
        "envFrom": template.env_from,
        "securityContext": _laid_over(_SECURITY_CONTEXT, template.security_context),
    }
    return {
        "name": CONTAINER,
        "image": template.image,
        "imagePullPolicy": template.image_pull_policy,
        "env": [*template.env, *_environment(job, attempt, template, resources, worker_index)],
        "resources": resources,
        "volumeMounts": mounts,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        **{name: value for name, value in optional.items() if value},
    }


def _laid_over(base: Mapping[str, Any], over: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return a security context with a site's fields laid over it, without those that the site leaves out."""
    if over is None:
        return None
    return {name: value for name, value in {**base, **over}.items() if value is not None}


def _environment(
    job: Job, attempt: int, template: PodTemplate, resources: dict[str, dict[str, str]], worker_index: int
) -> list[dict[str, Any]]:
    # Doubled, because the kubelet expands $(NAME) with the other variables: a spec must not read the Secret.
    spec_json = _spec(job).model_dump_json(by_alias=True, exclude_none=True).replace("$", "$$")
    return [
        {"name": "CODEBASE_JOB_ID", "value": str(job.id)},
        {"name": "CODEBASE_ATTEMPT", "value": str(attempt)},
        {"name": "CODEBASE_POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "CODEBASE_JOB_SPEC", "value": spec_json},
        {"name": "CODEBASE_PROCESSES", "value": str(process_count(resources))},
        {"name": "CODEBASE_WORK_BYTES", "value": str(int(number(template.work_size_limit)))},
        {"name": "TMPDIR", "value": WORK_DIR},  # clones are made there
        *([{"name": trace_context.VARIABLE, "value": str(job.trace)}] if job.trace else []),
        *([{"name": "CODEBASE_WORKER_INDEX", "value": str(worker_index)}] if worker_index else []),
    ]


def process_count(resources: dict[str, dict[str, str]]) -> int:
    """Return how many processes a pod runs: its CPU limit rounded up, 1 without one, and what its memory holds."""
    limits = resources.get("limits") or {}
    wanted = min(math.ceil(number(limits.get("cpu", "1"))), MAX_PROCESSES)
    if "memory" in limits:
        wanted = min(wanted, int((number(limits["memory"]) - BASE_BYTES) // PROCESS_BYTES))
    return max(1, wanted)


def resources_of(spec: IndexingJobSpec, template: PodTemplate, site: SitePolicy) -> dict[str, dict[str, str]]:
    """Return the template's resources; a limit that the job asks for becomes request and limit.

    Where it asks for processors alone, memory follows them, up to the site's maximum.
    """
    resources = {kind: dict(values) for kind, values in template.resources.items()}
    asked: dict[str, str] = spec.resources.model_dump(exclude_none=True) if spec.resources else {}
    limit = resources.get("limits", {}).get("memory")
    if "cpu" in asked and "memory" not in asked and limit is not None:
        processes = process_count({"limits": {"cpu": asked["cpu"]}})
        needed = Decimal(BASE_BYTES + processes * PROCESS_BYTES)
        needed = min(needed, site.memory_limit) if site.memory_limit else needed
        if needed > number(limit):
            asked["memory"] = mebibytes(needed)
    for kind in ("requests", "limits"):
        if asked:
            resources[kind] = {**resources.get(kind, {}), **asked}
    return resources


def _own_volumes(template: PodTemplate, secret: str | None) -> list[dict[str, Any]]:
    volumes: list[dict[str, Any]] = [
        {"name": "tmp", "emptyDir": {"sizeLimit": template.tmp_size_limit}},
        {"name": "work", "emptyDir": {"sizeLimit": template.work_size_limit}},
    ]
    if secret:
        volumes.append({"name": "git-credentials", "secret": {"secretName": secret, "defaultMode": 0o440}})
    return volumes


def _leave_lost_nodes() -> list[dict[str, Any]]:
    return [
        {
            "key": f"node.kubernetes.io/{trouble}", "operator": "Exists", "effect": "NoExecute",
            "tolerationSeconds": _LOST_NODE_SECONDS,
        }
        for trouble in ("not-ready", "unreachable")
    ]  # fmt: skip


def _affinity(affinity: dict[str, Any], avoid_node: str | None) -> dict[str, Any]:
    """Return the template's affinity; a suspect node is avoided by preference, for it may be the only one."""
    if avoid_node is None:
        return affinity
    elsewhere = {
        "weight": 100,
        "preference": {
            "matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "NotIn", "values": [avoid_node]}]
        },
    }
    of_node = dict(affinity.get("nodeAffinity") or {})
    preferred = "preferredDuringSchedulingIgnoredDuringExecution"
    of_node[preferred] = [*of_node.get(preferred, []), elsewhere]
    return {**affinity, "nodeAffinity": of_node}
