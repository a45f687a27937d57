"""The whole manifest, compared with the one in data/: a changed pod is visible in review.

After a change that is meant, `UPDATE_GOLDEN=1 python -m pytest tests/operator/cluster/test_pods.py` writes the
files anew.
"""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from codebase_index.api.job import MAX_NAME_LENGTH, MAX_PROCESSES, job_name, pod_name, target_of
from codebase_operator.cluster.pods import indexer_pod, process_count
from codebase_operator.model.site_policy import SitePolicy
from codebase_operator.settings import PodTemplate, Settings, SettingsInvalid
from tests.operator.builders import job

DATA = Path(__file__).parent / "data"

TEMPLATE = PodTemplate.model_validate(
    {
        "image": "codebase-mcp.local/indexer:1",
        "imagePullSecrets": [{"name": "registry"}],
        "serviceAccountName": "demo-indexer",
        "priorityClassName": "demo-indexer",
        "resources": {
            "requests": {"cpu": "250m", "memory": "512Mi"},
            "limits": {"cpu": "1500m", "memory": "2Gi"},
        },
        "env": [
            {
                "name": "CODEBASE_DATABASE_URL",
                "valueFrom": {"secretKeyRef": {"name": "demo-postgres", "key": "url"}},
            },
            {"name": "CODEBASE_ROOTS", "value": '[{"path": "/repos", "mount": "/roots/0"}]'},
        ],
        "volumes": [{"name": "root-0", "hostPath": {"path": "/repos", "type": "Directory"}}],
        "volumeMounts": [{"name": "root-0", "mountPath": "/roots/0"}],
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "tolerations": [{"key": "indexing", "operator": "Exists"}],
        "labels": {"app.kubernetes.io/instance": "demo"},
        "annotations": {"example.com/team": "search"},
    }
)


def check(name: str, manifest: dict[str, Any]) -> None:
    path = DATA / name
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(json.dumps(manifest, indent=2) + "\n")
    assert manifest == json.loads(path.read_text())


def test_pod_of_a_path() -> None:
    check("pod_of_a_path.json", indexer_pod(job("a", ref="main"), 1, TEMPLATE))


def test_pod_of_a_worker() -> None:
    wide = job("a", ref="main", parallelism=3)
    pod, worker_pod = indexer_pod(wide, 2, TEMPLATE), indexer_pod(wide, 2, TEMPLATE, worker_index=1)
    assert worker_pod["metadata"]["name"] == "a-a2-w1"
    labels = worker_pod["metadata"]["labels"]
    assert labels.pop("indexing.codebase-mcp.io/worker-index") == "1"
    assert labels.pop("indexing.codebase-mcp.io/helper") == "1"  # for an operator of 0.1.0, after a downgrade
    (container,) = worker_pod["spec"]["containers"]
    assert container["env"].pop() == {"name": "CODEBASE_WORKER_INDEX", "value": "1"}
    worker_pod["metadata"]["name"] = pod["metadata"]["name"]
    assert worker_pod == pod


def test_pod_of_a_git_source_on_another_node() -> None:
    git = {"url": "https://git.example.com/a.git", "secretRef": {"name": "token"}}
    of_git = job("a", source={"git": git}, resources={"memory": "8Gi", "cpu": "4"})
    check("pod_of_a_git_source.json", indexer_pod(of_git, 12, TEMPLATE, avoid_node="node2"))


def test_repositories_are_mounted_read_only_whatever_the_template_says() -> None:
    template = TEMPLATE.model_copy(update={"volume_mounts": [{"name": "r", "mountPath": "/r", "readOnly": False}]})
    (mount, *_) = indexer_pod(job("a"), 1, template)["spec"]["containers"][0]["volumeMounts"]
    assert mount["readOnly"] is True


def test_own_labels_win_over_the_templates() -> None:
    template = TEMPLATE.model_copy(update={"labels": {"app.kubernetes.io/component": "other"}})
    assert indexer_pod(job("a"), 1, template)["metadata"]["labels"]["app.kubernetes.io/component"] == "indexer"


def test_a_spec_cannot_read_the_secret_through_the_kubelets_expansion() -> None:
    sly = job("a", include=["$(CODEBASE_DATABASE_URL)"])
    (container,) = indexer_pod(sly, 1, TEMPLATE)["spec"]["containers"]
    values = {variable["name"]: variable.get("value") for variable in container["env"]}
    assert '"include":["$$(CODEBASE_DATABASE_URL)"]' in values["CODEBASE_JOB_SPEC"]


@pytest.mark.parametrize(
    ("cpu", "processes"), [("2", 2), ("1500m", 2), ("250m", 1), ("0.5", 1), ("2.1", 3), (None, 1)]
)
def test_a_pod_runs_as_many_processes_as_it_may_use_cores(cpu: str | None, processes: int) -> None:
    assert process_count({"limits": {"cpu": cpu}} if cpu else {}) == processes


def test_the_longest_names_are_dns_labels() -> None:
    target = target_of("/repos/" + "x" * 300, None)
    name = job_name("/repos/" + "x" * 300, target, 123456)
    assert len(name) <= MAX_NAME_LENGTH
    assert len(pod_name("n" * MAX_NAME_LENGTH, 99_999_999)) <= 63


def environment(folder: Path, template: str = '{"image": "i"}') -> dict[str, str]:
    path = folder / "template.json"
    path.write_text(template)
    return {
        "CODEBASE_NAMESPACE": "ns",
        "CODEBASE_DATABASE_URL": "postgresql://",
        "CODEBASE_POD_TEMPLATE": str(path),
    }


def test_settings_are_read_from_the_environment(tmp_path: Path) -> None:
    settings = Settings.from_env({**environment(tmp_path), "CODEBASE_MAX_CONCURRENT_JOBS": "7"})
    assert (settings.namespace, settings.limit, settings.template.image) == ("ns", 7, "i")


def test_lease_and_metrics_are_optional(tmp_path: Path) -> None:
    plain = Settings.from_env({**environment(tmp_path), "CODEBASE_LEASE_NAME": "", "CODEBASE_METRICS_PORT": ""})
    assert (plain.lease, plain.metrics_port) == (None, None)
    given = {"CODEBASE_LEASE_NAME": "operator", "CODEBASE_POD": "operator-x", "CODEBASE_METRICS_PORT": "9090"}
    settings = Settings.from_env({**environment(tmp_path), **given})
    assert (settings.lease, settings.pod, settings.metrics_port) == ("operator", "operator-x", 9090)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"CODEBASE_NAMESPACE": ""}, "CODEBASE_NAMESPACE"),
        ({"CODEBASE_MAX_CONCURRENT_JOBS": "many"}, "whole number"),
        ({"CODEBASE_POD_TEMPLATE": "/nowhere.json"}, "/nowhere.json"),
        ({"CODEBASE_METRICS_PORT": "http"}, "CODEBASE_METRICS_PORT must be a whole number"),
        ({"CODEBASE_LEASE_NAME": "operator"}, "CODEBASE_POD is not set"),
    ],
)
def test_unusable_settings_are_named(tmp_path: Path, change: dict[str, str], said: str) -> None:
    with pytest.raises(SettingsInvalid, match=said):
        Settings.from_env({**environment(tmp_path), **change})


@pytest.mark.parametrize(
    ("template", "said"), [("{", "not usable"), ("{}", "image"), ('{"image": "i", "imgae": "x"}', "imgae")]
)
def test_an_unusable_template_is_named(tmp_path: Path, template: str, said: str) -> None:
    with pytest.raises(SettingsInvalid, match=said):
        Settings.from_env(environment(tmp_path, template))


@pytest.mark.parametrize(
    ("asked", "site", "limits", "processes"),
    [
        pytest.param({"cpu": "8"}, SitePolicy(), {"cpu": "8", "memory": "2528Mi"}, 8, id="memory follows CPU"),
        pytest.param({"cpu": "2"}, SitePolicy(), {"cpu": "2", "memory": "2Gi"}, 2, id="the template is enough"),
        pytest.param({"cpu": "8"}, SitePolicy(max_memory="1Gi"), {"cpu": "8", "memory": "2Gi"}, 6,
                     id="a maximum below the template's memory"),
        pytest.param({"cpu": "16"}, SitePolicy(max_memory="3Gi"), {"cpu": "16", "memory": "3072Mi"}, 9,
                     id="processes are what the largest memory holds"),
        pytest.param({"cpu": "8", "memory": "1Gi"}, SitePolicy(), {"cpu": "8", "memory": "1Gi"}, 2,
                     id="memory that was asked for is kept, and bounds the processes"),
        pytest.param({"memory": "8Gi"}, SitePolicy(), {"cpu": "1500m", "memory": "8Gi"}, 2, id="memory alone"),
        pytest.param({"cpu": "999"}, SitePolicy(), {"cpu": "999", "memory": "18549Mi"}, MAX_PROCESSES, id="cap"),
    ],
)  # fmt: skip
def test_processes_and_memory_fit_each_other(
    asked: dict[str, str], site: SitePolicy, limits: dict[str, str], processes: int
) -> None:
    (container,) = indexer_pod(job("a", resources=asked), 1, TEMPLATE, site=site)["spec"]["containers"]
    assert container["resources"]["limits"] == limits
    env = {variable["name"]: variable.get("value") for variable in container["env"]}
    assert env["CODEBASE_PROCESSES"] == str(processes)


def test_a_template_without_a_memory_limit_gets_none() -> None:
    template = TEMPLATE.model_copy(update={"resources": {}})
    (container,) = indexer_pod(job("a", resources={"cpu": "8"}), 1, template)["spec"]["containers"]
    assert container["resources"]["limits"] == {"cpu": "8"}
