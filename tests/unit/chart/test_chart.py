"""The chart, rendered with helm: its schema, least rights, Pod Security `restricted`, and what belongs together.

Two renderings are compared whole with files in data/: a changed object is visible in review. After a change that
is meant, `UPDATE_GOLDEN=1 python -m pytest tests/unit/chart/test_chart.py` writes the files anew.
"""

import copy
import functools
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from codebase_mcp.settings import Settings as ServerSettings
from codebase_mcp.transport.allowed_hosts import AllowedHosts
from codebase_operator.cluster.pods import indexer_pod
from codebase_operator.model.site_policy import SitePolicy
from codebase_operator.settings import PodTemplate
from codebase_operator.settings import Settings as OperatorSettings
from hack.local_cluster.build import tool
from tests.operator.builders import job

Object = dict[str, Any]

CHECKOUT = Path(__file__).resolve().parents[3]
CHART = CHECKOUT / "charts" / "codebase-mcp"
DATA = Path(__file__).parent / "data"
CRD = yaml.safe_load((CHART / "files" / "crd.yaml").read_text())

# Generated passwords differ each time, so the renderings that are compared whole name a Secret.
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
                   "blockedDeadlineSeconds": 86400, "maxCpu": None, "maxMemory": "64Gi"},
        "embedding": {"providers": ["static", "openai"]},
        "indexer": {
            "priorityClass": {"create": False, "name": "background"},
            "env": [{"name": "EMBEDDING_CONCURRENCY", "value": "2"}],
            "nodeSelector": {"disk": "fast"}, "tolerations": [{"key": "indexing", "operator": "Exists"}],
            "affinity": {"podAntiAffinity": {}}, "podLabels": {"team": "search"}, "podAnnotations": {"a": "b"},
        },
        "operator": {"replicas": 2, "env": [{"name": "A", "value": "B"}], "nodeSelector": {"disk": "slow"}},
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
SECRET_RIGHTS: dict[str, dict[str, list[str]]] = {
    "everything": {"secrets one two": ["get"]}, "folders alone": {},
}  # fmt: skip
GOLDEN = {"default": "chart_default.json", "everything": "chart_everything.json"}
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
    return [document for document in yaml.safe_load_all(done.stdout) if document]


@functools.cache
def _rendered(case: str) -> list[Object]:
    return render(CASES[case])


def rendered(case: str) -> list[Object]:
    return copy.deepcopy(_rendered(case))


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
        elif "template" in o.get("spec", {}):
            pod = o["spec"]["template"]
            yield pod["metadata"]["labels"]["app.kubernetes.io/component"], pod
    yield "indexer", indexer_pod(job("a"), 1, pod_template(objects))


def pod_template(objects: list[Object]) -> PodTemplate:
    (text,) = [o["data"]["pod-template.json"] for o in of_kind(objects, "ConfigMap")]
    return PodTemplate.model_validate(json.loads(text))


def environment(container: Object) -> dict[str, str]:
    return {entry["name"]: entry.get("value", "") for entry in container["env"]}


# --- the whole --------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", GOLDEN)
def test_all_objects_are_those_of_the_file(case: str) -> None:
    objects = [o for o in rendered(case) if o["kind"] != "CustomResourceDefinition"]
    path = DATA / GOLDEN[case]
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(json.dumps(objects, indent=1) + "\n")
    assert objects == json.loads(path.read_text())


@every_case
def test_lint_has_nothing_to_say(case: str) -> None:
    done = call("lint", "--strict", values=CASES[case])
    assert done.returncode == 0, done.stdout + done.stderr


@every_case
def test_objects_have_names_of_their_own_and_all_namespaced_ones_a_namespace(case: str) -> None:
    objects = rendered(case)
    names = [(o["kind"], o["metadata"]["name"]) for o in objects]
    assert len(names) == len(set(names))
    of_the_cluster = {"CustomResourceDefinition", "PriorityClass", "ClusterRole"}
    assert all((o["kind"] in of_the_cluster) != (o["metadata"].get("namespace") == "ns") for o in objects)


def test_a_second_release_shares_no_object_of_the_cluster() -> None:
    values = {"crds": {"enabled": False}, "rbac": {"aggregateClusterRoles": True}}
    here, there = (
        {o["metadata"]["name"] for o in render(values, namespace=name) if "namespace" not in o["metadata"]}
        for name in ("ns", "other")
    )
    assert len(here) == len(there) == 3  # two ClusterRoles and the PriorityClass
    assert not here & there


# --- values -----------------------------------------------------------------------------------------


def test_every_value_has_a_schema_and_every_schema_a_value() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())

    def compare(path: str, node: Object, value: Object) -> None:
        node = schema["$defs"][node["$ref"].rsplit("/", 1)[-1]] if "$ref" in node else node
        if node.get("additionalProperties") is not False:
            return
        assert set(node["properties"]) - {"global"} == set(value), path
        for name, inner in value.items():
            if isinstance(inner, dict) and path + name != "":
                compare(f"{path}{name}.", node["properties"][name], inner)

    compare("", schema, values)


def test_every_value_is_explained() -> None:
    lines = (CHART / "values.yaml").read_text().splitlines()
    unexplained = []
    for number, line in enumerate(lines):
        # Keys of the first two levels; images and settings of Postgres speak for themselves.
        if re.match(r"^(  )?\w+:", line) and not lines[number - 1].lstrip().startswith("#"):
            unexplained.append(line)
    grouped = {"crds", "repositories", "limits", "rbac"}  # each of their members is explained
    own_words = {"operator", "server", "indexer", "postgres", "storage", "priorityClass", "secrets", "service"}
    assert {line.split(":")[0].strip() for line in unexplained} <= grouped | own_words


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"replicas": 3}, "replicas"),
        ({"server": {"replica": 3}}, "replica"),
        ({"operator": {"replicas": 0}}, "replicas"),
        ({"images": {"server": {"tags": "1"}}}, "tags"),
        ({"images": {"server": {"tag": "latest"}}}, "latest|tag"),
        ({"imagePullPolicy": "Sometimes"}, "imagePullPolicy"),
        ({"logLevel": "LOUD"}, "logLevel"),
        ({"limits": {"maxConcurrentJobs": 0}}, "maxConcurrentJobs"),
        ({"repositories": {"roots": [{"path": "/a"}]}}, "roots"),
        ({"repositories": {"roots": [{"path": "/a", "hostPath": "/a", "existingClaim": "a"}]}}, "roots"),
        ({"repositories": {"roots": [{"path": "a", "hostPath": "/a"}]}}, "path"),
        ({"repositories": {"gitHosts": ["https://host.invalid/"]}}, "gitHosts"),
        ({"repositories": {"gitHosts": []}}, "Nothing could be indexed"),
        ({"postgres": {"settings": {"a; b": "c"}}}, "a; b"),
        ({"postgres": {"storage": {"size": "large"}}}, "size"),
    ],
    ids=lambda value: json.dumps(value) if isinstance(value, dict) else "",
)
def test_what_cannot_be_meant_is_refused_by_name(values: Object, said: str) -> None:
    done = call("template", "rel", values=values)
    assert done.returncode != 0
    assert re.search(said, done.stderr), done.stderr


# --- Pod Security -----------------------------------------------------------------------------------

_ALLOWED_VOLUMES = {
    "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret",
}  # fmt: skip


def violations(pod: Object) -> list[str]:
    """What the Pod Security standard `restricted` (v1.34) has against a pod; none is allowed a default."""
    spec = pod["spec"]
    context = spec.get("securityContext") or {}
    found = [f"{field} is true" for field in ("hostNetwork", "hostPID", "hostIPC") if spec.get(field)]
    for volume in spec.get("volumes", []):
        found += [f"volume type {kind}" for kind in set(volume) - {"name"} - _ALLOWED_VOLUMES]
    for container in [*spec["containers"], *spec.get("initContainers", [])]:
        own = container.get("securityContext") or {}
        effective = {**context, **own}
        found += [f"{container['name']}: {fault}" for fault in _container_violations(container, own, effective)]
    return found


def _container_violations(container: Object, own: Object, effective: Object) -> Iterator[str]:
    if own.get("privileged"):
        yield "privileged"
    if own.get("allowPrivilegeEscalation") is not False:
        yield "allowPrivilegeEscalation"
    if "ALL" not in own.get("capabilities", {}).get("drop", []):
        yield "capabilities not dropped"
    if set(own.get("capabilities", {}).get("add", [])) - {"NET_BIND_SERVICE"}:
        yield "capabilities added"
    if effective.get("runAsNonRoot") is not True or effective.get("runAsUser") == 0:
        yield "may run as root"
    if effective.get("seccompProfile", {}).get("type") not in ("RuntimeDefault", "Localhost"):
        yield "seccompProfile"
    if any("hostPort" in port for port in container.get("ports", [])):
        yield "hostPort"
    if effective.get("procMount", "Default") != "Default" or effective.get("windowsOptions"):
        yield "procMount or windowsOptions"
    if set(effective.get("seLinuxOptions", {})) & {"user", "role"}:
        yield "seLinuxOptions"


@every_case
def test_every_pod_is_restricted(case: str) -> None:
    checked = {component: violations(pod) for component, pod in pods(rendered(case))}
    assert checked.keys() >= {"operator", "server", "indexer", "test"}
    assert not any(checked.values()), checked


def test_a_host_path_is_what_the_standard_refuses() -> None:
    faults = {component: violations(pod) for component, pod in pods(render(HOST_PATH))}
    assert faults["server"] == faults["indexer"] == ["volume type hostPath"]
    assert not faults["operator"] and not faults["postgres"]


def test_the_checker_finds_each_fault() -> None:
    (_, good), *_ = pods(rendered("default"))
    faults: list[tuple[str, Any]] = [
        ("hostPID", lambda spec: spec.update(hostPID=True)),
        ("hostPath", lambda spec: spec["volumes"].append({"name": "x", "hostPath": {"path": "/"}})),
        ("root", lambda spec: spec["securityContext"].pop("runAsNonRoot")),
        ("seccompProfile", lambda spec: spec["securityContext"].pop("seccompProfile")),
        ("capabilities", lambda spec: spec["containers"][0]["securityContext"].pop("capabilities")),
        ("allowPrivilege", lambda spec: spec["containers"][0]["securityContext"].pop("allowPrivilegeEscalation")),
    ]
    for expected, spoil in faults:
        bad = copy.deepcopy(good)
        spoil(bad["spec"])
        assert any(expected in fault for fault in violations(bad)), expected


@every_case
def test_every_container_has_a_read_only_root_resources_and_a_place_for_temporary_files(case: str) -> None:
    for component, pod in pods(rendered(case)):
        (container,) = pod["spec"]["containers"]
        assert container["securityContext"]["readOnlyRootFilesystem"] is True, component
        assert {"cpu", "memory"} <= container["resources"]["requests"].keys(), component
        assert "memory" in container["resources"]["limits"], component
        assert "/tmp" in [mount["mountPath"] for mount in container["volumeMounts"]], component
        assert not container["image"].endswith((":latest", ":")), component


# --- rights -----------------------------------------------------------------------------------------


@every_case
def test_rights_are_these_and_no_others(case: str) -> None:
    objects = rendered(case)
    rules = {
        o["metadata"]["labels"]["app.kubernetes.io/component"]: {
            " ".join([f"{group}/{resource}".lstrip("/"), *rule.get("resourceNames", [])]): verbs
            for rule in o["rules"]
            for verbs in [rule["verbs"]]
            for group in rule["apiGroups"]
            for resource in rule["resources"]
        }
        for o in of_kind(objects, "Role")
    }
    group = "indexing.codebase-mcp.io"
    (lease,) = [o["metadata"]["name"] for o in of_kind(objects, "Lease")]
    assert rules == {
        "operator": {
            f"{group}/indexingjobs": ["get", "list", "watch", "patch", "delete"],
            f"{group}/indexingjobs/status": ["get", "patch"],
            f"{group}/indexingjobs/finalizers": ["update"],
            "pods": ["get", "list", "watch", "create", "delete"],
            "events": ["create", "patch", "deletecollection"],
            f"coordination.k8s.io/leases {lease}": ["get", "update"],
            "coordination.k8s.io/leases": ["create"],
            **SECRET_RIGHTS.get(case, {"secrets": ["get"]}),
        },
        "server": {f"{group}/indexingjobs": ["get", "list", "watch", "create", "patch"]},
    }
    assert not of_kind(objects, "ClusterRoleBinding")
    assert bool(of_kind(objects, "ClusterRole")) == (case == "everything")


@every_case
def test_each_binding_gives_a_role_to_the_account_of_its_own_component(case: str) -> None:
    objects = rendered(case)
    for binding in of_kind(objects, "RoleBinding"):
        (subject,) = binding["subjects"]
        assert binding["roleRef"]["name"] == subject["name"] == binding["metadata"]["name"]
        named(objects, "ServiceAccount", subject["name"])
        named(objects, "Role", subject["name"])


@every_case
def test_only_operator_and_server_get_a_token(case: str) -> None:
    objects = rendered(case)
    assert all(o["automountServiceAccountToken"] is False for o in of_kind(objects, "ServiceAccount"))
    with_token = {component for component, pod in pods(objects) if pod["spec"]["automountServiceAccountToken"]}
    assert with_token == {"operator", "server"}


def test_aggregated_roles_name_the_custom_resource_alone() -> None:
    roles = of_kind(rendered("everything"), "ClusterRole")
    assert {rule["apiGroups"][0] for role in roles for rule in role["rules"]} == {"indexing.codebase-mcp.io"}
    viewers = [r for r in roles if "rbac.authorization.k8s.io/aggregate-to-view" in r["metadata"]["labels"]]
    assert [verb for role in viewers for rule in role["rules"] for verb in rule["verbs"]] == [
        "get", "list", "watch", "get",
    ]  # fmt: skip


# --- what belongs together --------------------------------------------------------------------------


def selects(selector: Object, labels: Object) -> bool:
    return set(selector["matchLabels"].items()) <= set(labels.items())


@every_case
def test_every_selector_of_a_policy_or_service_finds_the_pods_it_means(case: str) -> None:
    objects = rendered(case)
    labels = {component: pod["metadata"]["labels"] for component, pod in pods(objects)}
    for service in of_kind(objects, "Service"):
        meant = service["metadata"]["labels"]["app.kubernetes.io/component"]
        found = [c for c, own in labels.items() if service["spec"]["selector"].items() <= own.items()]
        assert found == [meant]
    for policy in of_kind(objects, "NetworkPolicy"):
        meant = policy["metadata"]["labels"]["app.kubernetes.io/component"]
        found = [c for c, own in labels.items() if selects(policy["spec"]["podSelector"], own)]
        assert sorted(found) == (sorted(labels) if meant == "network" else [meant])


def reachable(policies: list[Object], source: Object, target: Object, port: Any) -> bool:
    """Whether policies let a pod with labels `source` reach `port` of one with labels `target`."""

    def allows(rule: Object, side: str, peer: Object) -> bool:
        ports = [entry["port"] for entry in rule.get("ports", [])]
        peers = [entry.get("podSelector") for entry in rule.get(side, [])]
        return (not ports or port in ports) and (
            side not in rule or any(p is not None and selects(p, peer) for p in peers)
        )

    def open_for(direction: str, own: Object, side: str, peer: Object) -> bool:
        matching = [p["spec"] for p in policies if selects(p["spec"]["podSelector"], own)]
        closing = [spec for spec in matching if direction in spec["policyTypes"]]
        return not closing or any(
            allows(rule, side, peer) for spec in closing for rule in spec.get(direction.lower(), [])
        )

    return open_for("Egress", source, "to", target) and open_for("Ingress", target, "from", source)


NUMBERS = {"postgres": 5432, "http": 8080, "probes": 8081, "metrics": 9090}


def test_policies_open_the_arrows_of_the_architecture_and_nothing_else() -> None:
    objects = rendered("default")
    policies = of_kind(objects, "NetworkPolicy")
    for policy in policies:  # container ports by name are those of the same number here
        for rule in policy["spec"].get("ingress", []):
            rule["ports"] = [{"port": NUMBERS[entry["port"]]} for entry in rule["ports"]]
    labels = {component: pod["metadata"]["labels"] for component, pod in pods(objects)}
    strangers = {"monitoring": {"app": "prometheus"}}
    open_arrows = {
        (source, target, port)
        for source, own in (labels | strangers).items()
        for target in labels
        for port in NUMBERS.values()
        if source != target and reachable(policies, own, labels[target], port)
    }
    assert open_arrows == {
        ("operator", "postgres", 5432), ("server", "postgres", 5432), ("indexer", "postgres", 5432),
        ("test", "server", 8080), ("monitoring", "server", 8080), ("monitoring", "operator", 9090),
        ("monitoring", "server", 8081),
    }  # fmt: skip


PORTS_NAMED: dict[str, tuple[Object, str, set[int]]] = {
    "a git host with a port": (
        {"repositories": {"gitHosts": ["git.invalid:8443", "ssh.invalid:2222", "git.invalid"]}},
        "indexer", {443, 22, 8443, 2222},
    ),
    "the same port twice": ({"repositories": {"gitHosts": ["git.invalid:443"]}}, "indexer", {443, 22}),
    "a proxy, for indexers": ({"proxy": {"https": "http://proxy.invalid:3128"}}, "indexer", {443, 22, 3128}),
    "a proxy, for the server": ({"proxy": {"https": "http://proxy.invalid:3128"}}, "server", {3128}),
    "a proxy with a password": ({"proxy": {"https": "http://a:b@proxy.invalid:3128/"}}, "server", {3128}),
    "a proxy at its default port": ({"proxy": {"https": "http://proxy.invalid"}}, "server", {80}),
    "a proxy by its IPv6 address": ({"proxy": {"https": "https://[2001:db8::1]"}}, "server", {443}),
    "an Ollama": ({"server": {"env": [{"name": "OLLAMA_URL", "value": "http://o:11434/"}]}}, "server", {11434}),
    "an Ollama of indexers": (
        {"indexer": {"env": [{"name": "OLLAMA_URL", "value": "http://o:11434"}]}}, "indexer", {443, 22, 11434},
    ),
    "an address from a Secret": (
        {"server": {"env": [{"name": "OPENAI_BASE_URL", "valueFrom": {"secretKeyRef": {"name": "a", "key": "b"}}},
                            {"name": "OTHER", "value": "http://x:99"}]}}, "server", set(),
    ),
    "an existing database": (
        {"database": {"existingSecret": "own"}, "networkPolicy": {"databasePort": 6432}}, "server", set(),
    ),
    "folders alone": ({"repositories": {"roots": [{"path": "/srv", "existingClaim": "a"}], "gitHosts": []}},
                      "indexer", set()),
}  # fmt: skip


@pytest.mark.parametrize("what", PORTS_NAMED)
def test_policies_open_the_ports_that_the_values_name(what: str) -> None:
    values, component, expected = PORTS_NAMED[what]
    database = values.get("networkPolicy", {}).get("databasePort", 5432)
    (policy,) = [p for p in of_kind(render(values), "NetworkPolicy") if p["metadata"]["name"].endswith(component)]
    opened = [[entry["port"] for entry in rule["ports"]] for rule in policy["spec"]["egress"]]
    assert [database] in opened
    others = [ports for ports in opened if ports not in ([53, 53], [database], [443, 6443])]
    assert [sorted(ports) for ports in others] == ([sorted(expected)] if expected else [])


def test_an_upgrade_may_reuse_the_values_of_0_1_0(tmp_path: Path) -> None:
    """helm upgrade --reuse-values puts the values.yaml of the release before in the place of this chart's."""
    older = tmp_path / "codebase-mcp"
    shutil.copytree(CHART, older)
    shutil.copy(DATA / "values_0.1.0.yaml", older / "values.yaml")
    own = {"postgres": {"existingSecret": "own"}}
    no_limit = {
        "limits": {"maxCpu": None, "maxMemory": None}
    }  # a null is a name that is missing: none is the limit
    assert render(own, chart=older) == render({**own, **no_limit})
    assert render(CASES["everything"], chart=older) == render(CASES["everything"])


def test_the_quota_counts_indexers_alone_and_leaves_room_for_replacements() -> None:
    objects = rendered("default")
    (quota,) = of_kind(objects, "ResourceQuota")
    (priority,) = of_kind(objects, "PriorityClass")
    (scope,) = quota["spec"]["scopeSelector"]["matchExpressions"]
    assert quota["spec"]["hard"] == {"pods": "9"}
    assert scope == {"scopeName": "PriorityClass", "operator": "In", "values": [priority["metadata"]["name"]]}
    users = {component for component, pod in pods(objects) if pod["spec"].get("priorityClassName")}
    assert users == {"indexer"}
    assert pod_template(objects).priority_class_name == priority["metadata"]["name"]


def test_without_a_priority_class_there_is_no_quota() -> None:
    objects = rendered("nothing optional")
    assert not of_kind(objects, "ResourceQuota") and not of_kind(objects, "PriorityClass")
    assert pod_template(objects).priority_class_name is None


def test_server_and_indexers_see_the_same_roots_read_only_at_the_same_places() -> None:
    objects = rendered("everything")
    server = named(objects, "Deployment", "index-server")["spec"]["template"]["spec"]
    template = pod_template(objects)
    in_pods = [(server["containers"][0]["env"], server["containers"][0]["volumeMounts"], server["volumes"]),
               (template.env, template.volume_mounts, template.volumes)]  # fmt: skip
    for env, mounts, volumes in in_pods:
        assert json.loads(environment({"env": env})["CODEBASE_ROOTS"]) == [
            {"path": "/srv/a", "mount": "/repositories/0"}, {"path": "/srv/b", "mount": "/repositories/1"},
        ]  # fmt: skip
        claims = {v["name"]: v["persistentVolumeClaim"] for v in volumes if "persistentVolumeClaim" in v}
        places = {m["mountPath"]: m for m in mounts if m["mountPath"].startswith("/repositories/")}
        assert [claims[places[f"/repositories/{n}"]["name"]]["claimName"] for n in (0, 1)] == ["a", "b"]
        assert all(m["readOnly"] for m in places.values()) and all(c["readOnly"] for c in claims.values())


def test_of_a_folder_of_the_host_its_path_there_is_told_too() -> None:
    """Linked worktrees name their repository by it."""
    env = pod_template(render(HOST_PATH)).env
    assert json.loads(environment({"env": env})["CODEBASE_ROOTS"]) == [
        {"path": "/srv", "mount": "/repositories/0", "host": "/mnt/srv"}
    ]


@every_case
def test_the_server_starts_with_the_environment_it_gets(case: str) -> None:
    (server,) = [pod for component, pod in pods(rendered(case)) if component == "server"]
    env = environment(server["spec"]["containers"][0])
    settings = ServerSettings.from_env({**env, "CODEBASE_NAMESPACE": "ns"})
    (service,) = [o for o in of_kind(rendered(case), "Service") if o["metadata"]["name"].endswith("-server")]
    assert f"{service['metadata']['name']}.ns.svc:8080" in AllowedHosts(settings.host_names)
    assert settings.probe_port == 8081
    assert settings.connections.total >= settings.connections.per_client > 0


@every_case
def test_the_operator_starts_with_the_environment_it_gets(case: str, tmp_path: Path) -> None:
    objects = rendered(case)
    (container,) = [pod["spec"]["containers"][0] for component, pod in pods(objects) if component == "operator"]
    template = tmp_path / "pod.json"
    template.write_text(pod_template(objects).model_dump_json(by_alias=True))
    from_the_cluster = {
        "CODEBASE_NAMESPACE": "ns", "CODEBASE_POD": "rel-operator-x", "CODEBASE_POD_TEMPLATE": str(template),
    }  # fmt: skip
    settings = OperatorSettings.from_env({**environment(container), **from_the_cluster})
    others = SitePolicy(None, timedelta(days=1), None, "64Gi", frozenset({"static", "openai"}))
    assert settings.site == (others if case == "everything" else SitePolicy(max_cpu="16", max_memory="32Gi"))
    assert settings.lease == named(objects, "Lease", settings.lease or "")["metadata"]["name"]
    assert settings.metrics_port == NUMBERS["metrics"]
    assert {"name": "metrics", "containerPort": settings.metrics_port} in container["ports"]


def test_all_programs_read_the_database_from_one_secret_that_may_change_under_them() -> None:
    """From a file of it, the whole folder mounted: a variable, or a single file, stays as it was at the start."""
    for case, secret in (
        ("default", "own"),
        ("everything", "elsewhere"),
        ("generated password", "rel-codebase-mcp-database"),
    ):
        for component, pod in pods(rendered(case)):
            container = pod["spec"]["containers"][0]
            env = {e["name"]: e for e in container.get("env", [])}
            if component in ("operator", "server", "indexer"):
                folder, _, file = env["CODEBASE_DATABASE_URL_FILE"]["value"].rpartition("/")
                (mount,) = [mount for mount in container["volumeMounts"] if mount["mountPath"] == folder]
                (volume,) = [volume for volume in pod["spec"]["volumes"] if volume["name"] == mount["name"]]
                assert (volume["secret"]["secretName"], "subPath" in mount) == (secret, False), (case, component)
                assert volume["secret"]["items"] == [{"key": "url", "path": file}]
                assert "CODEBASE_DATABASE_URL" not in env


def test_a_generated_password_is_in_its_url_and_in_nothing_else() -> None:
    objects = rendered("generated password")
    (secret,) = of_kind(objects, "Secret")
    password = secret["stringData"]["password"]
    assert re.fullmatch(r"\w{32}", password)
    assert (
        secret["stringData"]["url"]
        == f"postgresql://codebase:{password}@rel-codebase-mcp-postgres.ns.svc:5432/codebase"
    )
    assert password not in json.dumps([o for o in objects if o is not secret])
    assert password != of_kind(render({}), "Secret")[0]["stringData"]["password"]


def test_an_existing_database_brings_no_postgres() -> None:
    objects = rendered("everything")
    assert not of_kind(objects, "StatefulSet") and not of_kind(objects, "Secret")


def test_the_definition_is_the_generated_file_and_kept_by_default() -> None:
    (kept,) = of_kind(rendered("default"), "CustomResourceDefinition")
    assert kept["metadata"].pop("annotations")["helm.sh/resource-policy"] == "keep"
    expected = copy.deepcopy(CRD)
    expected["metadata"].pop("annotations", None)
    assert kept == expected
    assert of_kind(rendered("everything"), "CustomResourceDefinition") == [CRD]
    assert not of_kind(rendered("nothing optional"), "CustomResourceDefinition")


@pytest.mark.parametrize(
    ("values", "said"), [({}, "true"), ({"skipFiles": False, "redactTokens": False}, "false")]
)
def test_what_becomes_of_secrets_reaches_the_indexers_and_they_take_it(values: Object, said: str) -> None:
    env = {e["name"]: e.get("value") for e in pod_template(render({"indexer": {"secrets": values}})).env}
    settings = ("CODEBASE_SKIP_SECRET_FILES", "CODEBASE_REDACT_SECRETS")
    assert [env[name] for name in settings] == [said, said]


@pytest.mark.parametrize(
    ("kubernetes", "selectable"), [("1.29.0", False), ("1.30.0", True), ("1.31.2-gke.1", True)]
)
def test_a_kubernetes_is_given_no_field_that_it_does_not_know(kubernetes: str, selectable: bool) -> None:
    (definition,) = of_kind(render(CASES["default"], kubernetes=kubernetes), "CustomResourceDefinition")
    assert ["selectableFields" in version for version in definition["spec"]["versions"]] == [selectable]


def test_a_changed_pod_template_starts_the_operator_anew() -> None:
    def stamp(values: Object) -> str:
        deployment = named(render(values), "Deployment", "rel-codebase-mcp-operator")
        return str(deployment["spec"]["template"]["metadata"]["annotations"]["checksum/pod-template"])

    assert stamp({}) == stamp({"server": {"replicas": 2}}) != stamp({"indexer": {"workSizeLimit": "1Gi"}})


# --- notes ------------------------------------------------------------------------------------------


def notes(values: Object, folder: Path) -> str:
    """NOTES.txt as helm prints it after an installation, which `helm template` does not: rendered as an object."""
    chart = folder / "chart"
    shutil.copytree(CHART, chart)
    (chart / "templates" / "NOTES.txt").rename(chart / "NOTES.txt")
    (chart / "templates" / "notes.yaml").write_text(
        "apiVersion: v1\nkind: Notes\nmetadata: {name: notes}\n"
        'text: {{ tpl (.Files.Get "NOTES.txt") . | toJson }}\n'
    )
    return str(named(render(values, chart), "Notes", "notes")["text"])


def test_the_notes_submit_a_job_that_the_definition_accepts(tmp_path: Path) -> None:
    text = notes(CASES["everything"], tmp_path)
    found = re.search(r"<<END\n(.*?)\n +END", text, re.DOTALL)
    assert found
    submitted = yaml.safe_load(found[1])
    assert (submitted["apiVersion"], submitted["kind"]) == (
        f"{CRD['spec']['group']}/{CRD['spec']['versions'][0]['name']}", CRD["spec"]["names"]["kind"],
    )  # fmt: skip
    assert submitted["spec"] == {"source": {"path": "/srv/a"}}
    assert "service/index-server 80:80" in text


def test_the_notes_say_what_stays_and_warn_of_host_paths(tmp_path: Path) -> None:
    text = notes(HOST_PATH, tmp_path)
    assert "kubectl delete crd indexingjobs.indexing.codebase-mcp.io" in text
    assert "kubectl delete pvc" in text
    assert "pod-security.kubernetes.io/enforce=privileged" in text
    assert "pod-security" not in notes({}, tmp_path / "other")
