"""The chart as helm renders it, with values for each way to use it."""

import copy
import functools
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from codebase_operator.cluster.pods import indexer_pod
from codebase_operator.settings import PodTemplate
from hack.local_cluster.build import tool
from tests.operator.builders import job

Object = dict[str, Any]

Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the definition alone takes Python's half a second

CHECKOUT = Path(__file__).resolve().parents[3]
CHART = CHECKOUT / "charts" / "codebase-mcp"
DATA = Path(__file__).parent / "data"
SITES = {path.stem: path for path in sorted((Path(__file__).parent / "sites").glob("*.yaml"))}
CRD = yaml.safe_load((CHART / "files" / "crd.yaml").read_text())

CASES: dict[str, Object] = {
    "default": {"postgres": {"existingSecret": "own"}},
    "generated password": {},
    "everything": {
        "fullnameOverride": "index",
        "images": {name: {"repository": f"registry.invalid/{name}", "digest": "sha256:" + "0" * 64}
                   for name in ("indexer", "operator", "server")},
        "imagePullSecrets": [{"name": "registry"}],
        "crds": {"keep": False},
        "database": {"existingSecret": "elsewhere"},
        "repositories": {
            "roots": [{"path": "/srv/a", "existingClaim": "a"}, {"path": "/srv/b", "existingClaim": "b"}],
            "gitHosts": ["git.invalid"],
            "gitSecrets": ["one", "two"],
            "sshKnownHosts": "git.invalid ssh-ed25519 AAAA\n",
        },
        "proxy": {"https": "http://proxy.invalid:3128", "except": ".corp.invalid"},
        "trustedCA": "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
        "limits": {"maxConcurrentJobs": 5, "maxHelperPods": 7, "maxIndexerPods": 20, "startDeadlineSeconds": 0,
                   "blockedDeadlineSeconds": 86400, "maxCpu": "", "maxMemory": "64Gi"},
        "embedding": {"providers": ["static", "openai"]},
        "indexer": {
            "priorityClass": {"create": False, "name": "background"},
            "env": [{"name": "EMBEDDING_CONCURRENCY", "value": "2"}],
            "nodeSelector": {"disk": "fast"}, "tolerations": [{"key": "indexing", "operator": "Exists"}],
            "affinity": {"podAntiAffinity": {}}, "podLabels": {"team": "search"}, "podAnnotations": {"a": "b"},
        },
        "operator": {"replicas": 2, "podTimeouts": {"heartbeatSeconds": 6}, "env": [{"name": "A", "value": "B"}],
                     "nodeSelector": {"disk": "slow"}},
        "server": {"replicas": 2, "allowedHosts": ["code.invalid"], "trustedProxies": ["10.0.0.0/8"],
                   "allowDeletion": True,
                   "connections": {"max": 1000, "maxOfClient": 100}, "podLabels": {"team": "search"},
                   "service": {"type": "NodePort", "port": 80, "annotations": {"a": "b"}}},
        "networkPolicy": {
            "serverFrom": [{"namespaceSelector": {}}], "metricsFrom": [{"podSelector": {}}],
            "apiServer": [{"ipBlock": {"cidr": "10.0.0.1/32"}}],
            "extraEgress": [{"ports": [{"port": 11434}]}],
        },
        "rbac": {"aggregateClusterRoles": True},
        "admissionPolicies": {"enabled": True, "maxPriority": 100},
    },
    "placed Postgres": {"postgres": {
        "storage": {"storageClassName": "fast"}, "nodeSelector": {"disk": "fast"}, "podLabels": {"team": "search"},
        "tolerations": [{"operator": "Exists"}], "podAnnotations": {"a": "b"}, "settings": {"jit": False},
    }},
    "folders alone": {
        "repositories": {"roots": [{"path": "/srv", "existingClaim": "srv"}], "gitHosts": [], "gitSecrets": []},
    },
    "nothing optional": {
        "crds": {"enabled": False}, "networkPolicy": {"enabled": False},
        "indexer": {"priorityClass": {"create": False}},
    },
}  # fmt: skip
PORTS = {"postgres": 5432, "http": 8080, "probes": 8081, "metrics": 9090}
HOST_PATH = {"repositories": {"roots": [{"path": "/srv", "hostPath": "/mnt/srv"}]}}

every_case = pytest.mark.parametrize("case", CASES)


@functools.cache
def helm() -> str:
    """The helm on PATH, else the one of `make up`, which is compiled the first time: no test is skipped."""
    return str(tool("helm")[0])


def call(
    *arguments: str, values: Object, chart: Path = CHART, namespace: str = "ns", kubernetes: str = "1.34.0"
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [helm(), *arguments, str(chart), f"--kube-version={kubernetes}", f"--namespace={namespace}", "--values=-"],
        input=json.dumps(values), capture_output=True, text=True, check=False,
    )  # fmt: skip


def render(values: Object, chart: Path = CHART, namespace: str = "ns", **more: str) -> list[Object]:
    done = call("template", "rel", values=values, chart=chart, namespace=namespace, **more)
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.load_all(done.stdout, Loader) if document]


@functools.cache
def _rendered(case: str) -> list[Object]:
    return render(CASES[case])


def rendered(case: str) -> list[Object]:
    return copy.deepcopy(_rendered(case))


@functools.cache
def _of_site(site: str) -> list[Object]:
    values = yaml.safe_load(SITES[site].read_text())
    return render({**values, "postgres": {"existingSecret": "own", **values.get("postgres", {})}})


def of_site(site: str) -> list[Object]:
    """What the values in a file of sites/ make."""
    return copy.deepcopy(_of_site(site))


def named(objects: list[Object], kind: str, name: str) -> Object:
    (found,) = [o for o in objects if o["kind"] == kind and o["metadata"]["name"] == name]
    return found


def of_kind(objects: list[Object], kind: str) -> list[Object]:
    return [o for o in objects if o["kind"] == kind]


def pods(objects: list[Object]) -> Iterator[tuple[str, Object]]:
    """Every pod that follows from the chart, as (component, manifest): the indexers' come from the operator."""
    for o in objects:
        if o["kind"] == "Pod":
            yield o["metadata"]["labels"]["app.kubernetes.io/component"], o
        elif o["kind"] == "CronJob":
            job_of_it = o["spec"]["jobTemplate"]["spec"]
            yield o["metadata"]["labels"]["app.kubernetes.io/component"], job_of_it["template"]
        elif "template" in o.get("spec", {}):
            pod = o["spec"]["template"]
            yield pod["metadata"]["labels"]["app.kubernetes.io/component"], pod
    yield "indexer", indexer_pod(job("a"), 1, pod_template(objects))


def pod_template(objects: list[Object]) -> PodTemplate:
    maps = [o["data"] for o in of_kind(objects, "ConfigMap")]
    (text,) = [data["pod-template.json"] for data in maps if "pod-template.json" in data]
    return PodTemplate.model_validate(json.loads(text))


def environment(container: Object) -> dict[str, str]:
    return {entry["name"]: entry.get("value", "") for entry in container["env"]}
