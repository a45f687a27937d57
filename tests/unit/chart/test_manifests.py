"""What the chart makes for every site and every case, judged by Kubernetes' own schemas and by kube-score."""

import json
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from hack.local_cluster.build import KUBERNETES_VERSION
from hack.manifests import SCHEMA_LOCATION, kube_score, kubeconform, openapi, write_schemas
from tests.unit.chart.rendering import CASES, SITES, Object, of_site, pods, rendered

FOREIGN = (
    "external-secrets.io/v1/ExternalSecret",
    "gateway.networking.k8s.io/v1/HTTPRoute",
    "monitoring.coreos.com/v1/PodMonitor",
    "monitoring.coreos.com/v1/PrometheusRule",
    "monitoring.coreos.com/v1/ServiceMonitor",
    "route.openshift.io/v1/Route",
)
"""Kinds that others define: Kubernetes' document has no schema of them."""

USERS = "container-security-context-user-group-id"
READ_ONLY = "container-security-context-readonlyrootfilesystem"
EXCEPTIONS = {
    ("container-image-pull-policy", None): "a tag names one image for ever, and `latest` is refused",
    ("container-ephemeral-storage-request-and-limit", None): "only volumes with a sizeLimit can be written",
    ("deployment-has-host-podantiaffinity", ""): "topologySpreadConstraints spread the pods",
    ("statefulset-has-servicename", ""): "one pod, reached by the Service's address: none asks for it by name",
    (USERS, "postgres"): "the user of Debian's package, 999; its volume is its own",
    (USERS, "backup"): "the same",
}
"""What kube-score asks for and the chart does otherwise: checks, of all containers (None) or of one, and why."""

CHOSEN = {
    "cloud-sql": {"container-resources", READ_ONLY},  # a container of the site's own
    "kept-volume": {"container-resources", READ_ONLY, USERS},  # the same
    "no-contexts": {READ_ONLY, USERS},
    "old-kernel": {READ_ONLY},
    "openshift": {USERS},  # the cluster assigns them
    "k3s": {"deployment-replicas"},  # one machine
    "traced": {"deployment-replicas"},  # one operator acts; a second one is for the loss of its node
    "everything": {"service-type"},  # a NodePort
    "nothing optional": {"pod-networkpolicy"},
}
"""What the values of a site, or of a case, give up besides."""


def renderings() -> dict[str, list[Object]]:
    return {case: rendered(case) for case in CASES} | {site: of_site(site) for site in SITES}


def all_objects(objects: list[Object]) -> list[Object]:
    """These and an indexer's pod, which the operator makes."""
    return [*objects, *(pod for component, pod in pods(objects) if component == "indexer")]


def written(objects: Iterable[Object], file: Path) -> Path:
    file.write_text("\n---\n".join(map(json.dumps, objects)))
    return file


@pytest.fixture(scope="module")
def schemas(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("schemas")
    write_schemas(openapi(), folder)
    return folder


def refused(files: list[Path], schemas: Path) -> list[str]:
    """What kubeconform says against the objects in files."""
    command: list[str | Path] = [kubeconform(), "-strict", "-output", "json", "-skip", ",".join(FOREIGN)]
    command += ["-schema-location", f"{schemas}/{SCHEMA_LOCATION}", *files]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    answer: dict[str, Any] = json.loads(done.stdout)
    bad = answer["resources"]
    return [f"{Path(one['filename']).stem}: {one['kind']}/{one['name']}: {one['msg']}" for one in bad]


def test_kubernetes_takes_every_object(schemas: Path, tmp_path: Path) -> None:
    files = [written(all_objects(objects), tmp_path / f"{name}.yaml") for name, objects in renderings().items()]
    assert refused(files, schemas) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"imagePullPolcy": "Never"}, "/spec/containers/0': additional properties 'imagePullPolcy' not allowed"),
        ({"ports": [{"containerPort": "80"}]}, "/ports/0/containerPort': got string, want integer"),
        ({"resources": {"limits": {"cpu": 2, "memory": "1Gi"}}}, None),
    ],
)
def test_a_field_that_kubernetes_does_not_know_or_take_is_found(
    change: Object, said: str | None, schemas: Path, tmp_path: Path
) -> None:
    spec = {"containers": [{"name": "a", **change}]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec}
    found = refused([written([pod], tmp_path / "pod.yaml")], schemas)
    assert found == [] if said is None else said in found[0]


def faults(file: Path) -> set[tuple[str, str]]:
    """What kube-score finds in the objects of one site: checks, and the container if it is about one."""
    # Programs without a CPU limit take what is idle; their requests say how it is shared where it is short.
    command: list[str | Path] = [kube_score(), "score", "--output-format", "json", "--ignore-container-cpu-limit"]
    command += ["--kubernetes-version", f"v{KUBERNETES_VERSION.rpartition('.')[0]}", file]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return {
        (check["check"]["id"], comment["path"])
        for scored in json.loads(done.stdout)
        for check in scored["checks"]
        if check["grade"] < 10 and not check["skipped"]
        for comment in check["comments"]
    }


def test_kube_score_finds_what_has_a_reason_and_nothing_else(tmp_path: Path) -> None:
    found = {name: faults(written(all_objects(o), tmp_path / f"{name}.yaml")) for name, o in renderings().items()}
    unexcused = {
        name: {check for check, container in of_it if not {(check, container), (check, None)} & EXCEPTIONS.keys()}
        for name, of_it in found.items()
    }
    assert {name: checks for name, checks in unexcused.items() if checks} == CHOSEN
    everything = set[tuple[str, str]]().union(*found.values())
    assert EXCEPTIONS.keys() <= everything | {(check, None) for check, _ in everything}
