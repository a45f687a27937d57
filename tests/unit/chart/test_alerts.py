"""Each alert, judged by Prometheus' own promtool: it rings when it should, and not otherwise."""

import functools
import json
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from codebase_mcp import metrics as server_metrics
from codebase_mcp.metrics import announce
from codebase_operator.metrics import Metrics
from hack.prometheus import program
from tests.unit.chart.rendering import CHART, DATA

FILE = CHART / "files" / "alerts.yaml"
RULES = {rule["alert"]: rule for group in yaml.safe_load(FILE.read_text())["groups"] for rule in group["rules"]}
# As text, or YAML would take 0x20 for a number.
TABLE: dict[str, list[dict[str, Any]]] = yaml.load((DATA / "alert_cases.yaml").read_text(), yaml.BaseLoader)

SCRAPES = "30s"  # as monitoring.podMonitors.interval has it


@dataclass(frozen=True)
class Case:
    """What is scraped, in promtool's notation, and the labels of the alerts that ring at some time after."""

    alert: str
    claim: str
    series: Mapping[str, str]
    at: str
    rings: list[dict[str, str]]

    def __str__(self) -> str:
        return f"{self.alert} {self.claim}"


CASES = [
    Case(alert, case["claim"], case["series"] or {}, case["at"], case.get("rings", []))
    for alert, cases in TABLE.items()
    for case in cases
]


@functools.cache
def promtool() -> str:
    return str(program("promtool"))


def verdict(case: Case, folder: Path) -> subprocess.CompletedProcess[str]:
    """What promtool says of a case."""
    alerts = [expected(case, labels) for labels in case.rings]
    test = {
        "interval": SCRAPES,
        "input_series": [{"series": name, "values": values} for name, values in case.series.items()],
        "alert_rule_test": [{"eval_time": case.at, "alertname": case.alert, "exp_alerts": alerts}],
    }
    file = folder / "test.yaml"
    file.write_text(json.dumps({"rule_files": [str(FILE)], "evaluation_interval": SCRAPES, "tests": [test]}))
    return subprocess.run([promtool(), "test", "rules", file], capture_output=True, text=True, check=False)


def expected(case: Case, labels: Mapping[str, str]) -> dict[str, Any]:
    rule = RULES[case.alert]
    texts = {
        name: re.sub(r"\{\{ *\$labels\.(\w+) *\}\}", lambda found: labels[found[1]], text)
        for name, text in rule["annotations"].items()
    }
    return {"exp_labels": {**rule["labels"], **labels}, "exp_annotations": texts}


@pytest.mark.parametrize("case", CASES, ids=str)
def test_an_alert_rings_when_it_should_and_not_otherwise(case: Case, tmp_path: Path) -> None:
    done = verdict(case, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("alert", RULES)
def test_every_alert_is_seen_ringing_and_silent(alert: str) -> None:
    cases = [case for case in CASES if case.alert == alert]
    assert any(case.rings for case in cases) and not all(case.rings for case in cases)


def test_a_case_that_is_wrong_is_noticed(tmp_path: Path) -> None:
    wrong = Case("CodebaseJobStuck", "rings for nothing", {"codebase_operator_jobs_stuck": "0x9"}, "3m", [{}])
    assert verdict(wrong, tmp_path).returncode == 1


def test_what_alerts_count_is_there_before_the_first_of_its_kind() -> None:
    """A series that begins with 1 has no increase, so that the first failure would ring nobody."""
    announce("search_code")
    shown = {
        sample.name
        for registry in (Metrics().registry, server_metrics.REGISTRY)
        for metric in registry.collect()
        for sample in metric.samples
    }
    counted = {name for rule in RULES.values() for name in re.findall(r"(?:increase|rate)\((\w+)", rule["expr"])}
    of_searches = {"codebase_server_search_seconds_bucket"}  # a rate of durations, which no first one needs
    assert len(counted) >= 7 and counted - shown <= of_searches
