"""The chart's values: each has a schema and an explanation, and those of the release before still do."""

import json
import re
import shutil
from pathlib import Path

import pytest
import yaml

from codebase_operator.model.pod_timeouts import PodTimeouts
from tests.unit.chart.rendering import CASES, CHART, DATA, Object, call, of_kind, render


def test_every_value_has_a_schema_and_every_schema_a_value() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())

    def compare(path: str, node: Object, value: Object) -> None:
        node = schema["$defs"][node["$ref"].rsplit("/", 1)[-1]] if "$ref" in node else node
        if node.get("additionalProperties") is not False:
            return
        names = set(node["properties"])
        of_a_pod = value == {} or path.endswith("SecurityContext.")  # whose fields values.yaml does not list
        assert (set(value) <= names) if of_a_pod else (set(value) == names), path
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
    own_words |= {"serviceAccount", "podDisruptionBudget"}
    assert {line.split(":")[0].strip() for line in unexplained} <= grouped | own_words


def test_every_value_that_the_readme_names_is_one() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    named = re.findall(r"`([a-z]\w+(?:\.\w+)+)`", (CHART / "README.md").read_text())

    def is_one(path: str) -> bool:
        node = values
        for part in path.split("."):
            if not isinstance(node, dict) or part not in node:
                return False
            node = node[part]
        return True

    of_the_chart = {path for path in named if path.split(".")[0] in values}
    assert len(of_the_chart) > 40
    assert {path for path in of_the_chart if not is_one(path)} == set()


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"replicas": 3}, "replicas"),
        ({"server": {"replica": 3}}, "replica"),
        ({"operator": {"replicas": 0}}, "replicas"),
        ({"operator": {"podTimeouts": {"heartbeatSeconds": 1}}}, "heartbeatSeconds"),
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
        ({"server": {"ingress": {"enabled": True}}}, "hosts"),
        ({"server": {"httpRoute": {"enabled": True, "hostnames": ["a.invalid"]}}}, "parentRefs"),
        ({"server": {"podSecurityContext": {"runAsuser": 1}}}, "runAsuser"),
        ({"network": {"ipFamilies": ["ipv6"]}}, "ipFamilies"),
        ({"commonLabels": {"app.kubernetes.io/name": "x"}}, "app.kubernetes.io/name"),
    ],
    ids=lambda value: json.dumps(value) if isinstance(value, dict) else "",
)
def test_what_cannot_be_meant_is_refused_by_name(values: Object, said: str) -> None:
    done = call("template", "rel", values=values)
    assert done.returncode != 0
    assert re.search(said, done.stderr), done.stderr


NEWLY_SWITCHED_ON: Object = {
    "postgres": {"existingSecret": "own", "backup": {"enabled": True, "existingClaim": "backups"}},
    "server": {
        "autoscaling": {"enabled": True},
        "ingress": {"enabled": True, "hosts": [{"host": "code.invalid"}]},
        "httpRoute": {"enabled": True, "parentRefs": [{"name": "gateway"}], "hostnames": ["code.invalid"]},
    },
    "monitoring": {part: {"enabled": True} for part in ("podMonitors", "services", "alerts", "dashboard")},
    "tracing": {"endpoint": "http://otel.invalid:4318", "headersSecret": {"name": "otel"}},
}
"""What 0.1.0 did not have, by the least that it takes: all else has to be as in values.yaml."""


def test_an_upgrade_may_reuse_the_values_of_0_1_0(tmp_path: Path) -> None:
    """helm upgrade --reuse-values puts the values.yaml of the release before in the place of this chart's."""
    older = tmp_path / "codebase-mcp"
    shutil.copytree(CHART, older)
    shutil.copy(DATA / "values_0.1.0.yaml", older / "values.yaml")
    own = {"postgres": {"existingSecret": "own"}}
    for values in (own, CASES["everything"], NEWLY_SWITCHED_ON):
        assert with_all_timeouts(render(values, chart=older)) == with_all_timeouts(render(values))


def test_dumps_stay_where_their_number_is_null() -> None:
    backup = {"enabled": True, "existingClaim": "backups", "keep": None}
    (cron_job,) = of_kind(render({"postgres": {"existingSecret": "own", "backup": backup}}), "CronJob")
    (container,) = cron_job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    assert {"name": "BACKUP_KEEP", "value": "7"} in container["env"]


def with_all_timeouts(objects: list[Object]) -> list[Object]:
    """Write out the timeouts of pods that the operator takes from its defaults."""
    (deployment,) = [o for o in of_kind(objects, "Deployment") if o["metadata"]["name"].endswith("-operator")]
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    (entry,) = [entry for entry in container["env"] if entry["name"] == "CODEBASE_POD_TIMEOUTS"]
    entry["value"] = PodTimeouts.parse(entry["value"]).model_dump_json()
    return objects
