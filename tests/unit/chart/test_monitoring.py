"""Alerts, dashboard and monitors: what they ask for is served, and each alert has its runbook."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from prometheus_client import Metric

from codebase_mcp import metrics as server_metrics
from codebase_operator.metrics import Metrics
from hack.prometheus import program
from tests.support.prometheus import panels
from tests.unit.chart.rendering import CHART, CHECKOUT, call, of_kind, pods, render

ALERTS = yaml.safe_load((CHART / "files" / "alerts.yaml").read_text())
RULES = [rule for group in ALERTS["groups"] for rule in group["rules"]]
DASHBOARD = json.loads((CHART / "files" / "dashboard.json").read_text())
ALL_ON = {"monitoring": {part: {"enabled": True} for part in ("podMonitors", "alerts", "dashboard")}}


def known_series() -> set[str]:
    """The names of all series that the programs serve."""
    metrics: list[Metric] = [*Metrics().registry.collect(), *server_metrics.REGISTRY.collect()]
    suffixes = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"]}
    return {metric.name + suffix for metric in metrics for suffix in suffixes.get(metric.type, [""])}


def expressions() -> Iterator[str]:
    yield from (rule["expr"] for rule in RULES)
    for panel in DASHBOARD["panels"]:
        yield from (target["expr"] for target in panel["targets"])


def test_every_metric_that_is_asked_for_is_served() -> None:
    asked = {name for expression in expressions() for name in re.findall(r"codebase_\w+", expression)}
    assert len(asked) > 15
    assert asked - known_series() == set()


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_every_alert_says_what_it_means_and_has_a_section_in_the_runbooks(rule: dict[str, dict[str, str]]) -> None:
    page, _, anchor = rule["annotations"]["runbook"].partition("#")
    headings = re.findall(r"^## (\w+)$", (CHECKOUT / page).read_text(), re.M)
    assert anchor in [heading.lower() for heading in headings] and anchor == str(rule["alert"]).lower()
    assert rule["annotations"]["summary"] and rule["labels"]["severity"] in ("critical", "warning", "info")


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_no_release_rings_or_is_silent_for_another(rule: dict[str, str]) -> None:
    """Each namespace has a release of its own, and one Prometheus may watch them all."""
    grouped = re.findall(r"\b(?:max|sum|min|avg|count)\b *(?:by *\(([^)]*)\))?", rule["expr"])
    assert [labels for labels in grouped if "namespace" not in labels] == []


def test_the_runbooks_ask_for_levels_that_logs_have() -> None:
    asked = set(re.findall(r'\.level [!=]= "(\w+)"', (CHECKOUT / "docs" / "runbooks.md").read_text()))
    assert asked and asked <= {"info", "warning", "error"}


def test_every_panel_is_understood_by_prometheus(tmp_path: Path) -> None:
    """As rules, which promtool checks; Grafana fills the variables in."""
    rules = [{"record": f"panel:{number}", "expr": text} for number, (_, text) in enumerate(panels())]
    file = tmp_path / "rules.yaml"
    file.write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}))
    done = subprocess.run(
        [program("promtool"), "check", "rules", file], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_panel_is_about_the_namespace_that_is_chosen() -> None:
    for panel, expression in panels():
        assert expression.count("codebase_") == expression.count('namespace=~".*"'), panel


def test_every_runbook_is_that_of_an_alert() -> None:
    headings = re.findall(r"^## (\w+)$", (CHECKOUT / "docs" / "runbooks.md").read_text(), re.M)
    assert headings == [rule["alert"] for rule in RULES]


def test_the_alert_of_failed_backups_is_about_this_release() -> None:
    (rules,) = of_kind(render({**ALL_ON, "fullnameOverride": "index"}), "PrometheusRule")
    (rule,) = [r for g in rules["spec"]["groups"] for r in g["rules"] if r["alert"] == "CodebaseBackupFailed"]
    assert 'cronjob=~"index-backup"' in rule["expr"] and 'job_name=~"index-backup-.+"' in rule["expr"]


def test_nothing_is_made_where_nobody_asked_for_it() -> None:
    assert [o for o in render({}) if o["apiVersion"].startswith("monitoring.coreos.com")] == []


def test_the_monitors_find_the_pods_and_their_ports() -> None:
    objects = render(ALL_ON)
    monitors = of_kind(objects, "PodMonitor")
    assert len(monitors) == 2
    for monitor in monitors:
        wanted = monitor["spec"]["selector"]["matchLabels"].items()
        (port,) = [endpoint["port"] for endpoint in monitor["spec"]["podMetricsEndpoints"]]
        (template,) = [
            deployment["spec"]["template"]
            for deployment in of_kind(objects, "Deployment")
            if wanted <= deployment["spec"]["template"]["metadata"]["labels"].items()
        ]
        ports = [p["name"] for c in template["spec"]["containers"] for p in c.get("ports", [])]
        assert port in ports


def test_the_service_monitors_find_the_services_and_these_the_ports() -> None:
    objects = render({"monitoring": {"serviceMonitors": {"enabled": True, "labels": {"release": "site"}}}})
    monitors = of_kind(objects, "ServiceMonitor")
    assert len(monitors) == 2
    for monitor in monitors:
        assert monitor["metadata"]["labels"]["release"] == "site"
        wanted = monitor["spec"]["selector"]["matchLabels"].items()
        (service,) = [s for s in of_kind(objects, "Service") if wanted <= s["metadata"]["labels"].items()]
        (endpoint,) = monitor["spec"]["endpoints"]
        (port,) = [p for p in service["spec"]["ports"] if p["name"] == endpoint["port"]]
        (ports,) = [
            {p["name"]: p["containerPort"] for c in pod["spec"]["containers"] for p in c.get("ports", [])}
            for _, pod in pods(objects)
            if service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
        ]
        assert ports[port["targetPort"]] == port["port"]


def test_services_for_metrics_are_made_for_scrapers_of_another_kind() -> None:
    marks = {"prometheus.io/scrape": "true"}
    objects = render({"monitoring": {"services": {"enabled": True, "annotations": marks}}})
    made = [s for s in of_kind(objects, "Service") if s["metadata"]["name"].endswith("-metrics")]
    assert [s["metadata"]["annotations"] for s in made] == [marks, marks]
    assert of_kind(objects, "ServiceMonitor") == []


def test_no_pod_is_scraped_twice() -> None:
    both = {part: {"enabled": True} for part in ("podMonitors", "serviceMonitors")}
    done = call("template", "rel", values={"monitoring": both})
    assert done.returncode == 1 and "scraped twice: switch one of them off" in done.stderr


def test_rules_and_dashboard_are_the_files() -> None:
    objects = render(ALL_ON)
    (rules,) = of_kind(objects, "PrometheusRule")
    assert rules["spec"] == ALERTS
    (dashboard,) = [o for o in of_kind(objects, "ConfigMap") if o["metadata"]["name"].endswith("-dashboard")]
    assert json.loads(dashboard["data"]["codebase-mcp.json"]) == DASHBOARD
    assert dashboard["metadata"]["labels"]["grafana_dashboard"] == "1"
