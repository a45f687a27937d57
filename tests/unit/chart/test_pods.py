"""What the pods are given: environment, repositories, room in the cluster."""

import json
from datetime import timedelta
from pathlib import Path

import pytest

from codebase_mcp.settings import Settings as ServerSettings
from codebase_mcp.transport.allowed_hosts import AllowedHosts
from codebase_operator.model.pod_timeouts import PodTimeouts
from codebase_operator.model.site_policy import SitePolicy
from codebase_operator.settings import Settings as OperatorSettings
from tests.unit.chart.rendering import (
    HOST_PATH,
    PORTS,
    Object,
    environment,
    every_case,
    named,
    of_kind,
    pod_template,
    pods,
    render,
    rendered,
)


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


def test_the_server_answers_under_every_name_that_an_entrance_lets_in() -> None:
    objects = render({"server": {
        "ingress": {"enabled": True, "hosts": [{"host": "code.invalid"}, {"host": "*.code.invalid"}]},
        "httpRoute": {"enabled": True, "parentRefs": [{"name": "gateway"}], "hostnames": ["*.route.invalid"]},
    }})  # fmt: skip
    (server,) = [pod for component, pod in pods(objects) if component == "server"]
    env = environment(server["spec"]["containers"][0])
    allowed = AllowedHosts(ServerSettings.from_env({**env, "CODEBASE_NAMESPACE": "ns"}).host_names)
    assert all(host in allowed for host in ("code.invalid", "a.code.invalid", "a.route.invalid:8443"))
    assert "route.invalid" not in allowed


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
    others = SitePolicy(
        None, timedelta(days=1), None, "64Gi", frozenset({"static", "openai"}),
        pod_timeouts=PodTimeouts(heartbeat=timedelta(seconds=6)),
    )  # fmt: skip
    assert settings.site == (others if case == "everything" else SitePolicy(max_cpu="16", max_memory="32Gi"))
    assert settings.lease == named(objects, "Lease", settings.lease or "")["metadata"]["name"]
    assert settings.metrics_port == PORTS["metrics"]
    assert {"name": "metrics", "containerPort": settings.metrics_port} in container["ports"]


@pytest.mark.parametrize(
    ("values", "said"), [({}, "true"), ({"skipFiles": False, "redactTokens": False}, "false")]
)
def test_what_becomes_of_secrets_reaches_the_indexers_and_they_take_it(values: Object, said: str) -> None:
    env = {e["name"]: e.get("value") for e in pod_template(render({"indexer": {"secrets": values}})).env}
    settings = ("CODEBASE_SKIP_SECRET_FILES", "CODEBASE_REDACT_SECRETS")
    assert [env[name] for name in settings] == [said, said]


def test_a_site_can_require_that_parsers_are_confined() -> None:
    def required(values: Object) -> str | None:
        env = {e["name"]: e.get("value") for e in pod_template(render({"indexer": values})).env}
        return env.get("CODEBASE_REQUIRE_SANDBOX")

    assert (required({}), required({"requireSandbox": True})) == (None, "true")


def test_a_changed_pod_template_starts_the_operator_anew() -> None:
    def stamp(values: Object) -> str:
        deployment = named(render(values), "Deployment", "rel-codebase-mcp-operator")
        return str(deployment["spec"]["template"]["metadata"]["annotations"]["checksum/pod-template"])

    assert stamp({}) == stamp({"server": {"replicas": 2}}) != stamp({"indexer": {"workSizeLimit": "1Gi"}})


@pytest.mark.parametrize(
    ("values", "image"),
    [
        ({"images": {"tag": "2.0"}}, "codebase-mcp.local/indexer:2.0"),
        ({"images": {"tag": "2.0", "indexer": {"tag": "2.1"}}}, "codebase-mcp.local/indexer:2.1"),
        ({"images": {"indexer": {"repository": "ghcr.io/o/r/indexer"}}}, "ghcr.io/o/r/indexer:2.0"),
        ({"images": {"indexer": {"repository": "indexer"}}}, "indexer:2.0"),
    ],
)
def test_one_tag_and_one_registry_are_for_all_images(values: Object, image: str) -> None:
    tagged = {**values, "images": {"tag": "2.0", **values["images"]}}
    assert pod_template(render(tagged)).image == image
    mirrored = pod_template(render({**tagged, "global": {"imageRegistry": "mirror.lan:5000/all/"}})).image
    assert mirrored == "mirror.lan:5000/all/" + image.removeprefix("codebase-mcp.local/").removeprefix("ghcr.io/")


def test_repositories_are_indexed_by_themselves_only_where_the_site_says_so() -> None:
    for values, expected in (({}, False), ({"server": {"refresh": True}}, True)):
        server = named(render(values), "Deployment", "rel-codebase-mcp-server")["spec"]["template"]["spec"]
        variables = environment({"env": server["containers"][0]["env"]})
        assert (variables.get("CODEBASE_REFRESH") == "true") is expected
