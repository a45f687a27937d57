"""A real Prometheus that scrapes what a test names, with our rules, and what our dashboard asks of it."""

import json
import math
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from hack.prometheus import program
from tests.support.waiting import wait_for

CHART = Path(__file__).resolve().parents[2] / "charts" / "codebase-mcp"
ALERTS = CHART / "files" / "alerts.yaml"
DASHBOARD = json.loads((CHART / "files" / "dashboard.json").read_text())

_VARIABLES = {"$__rate_interval": "2m", "$__range": "1h", "$namespace": ".*"}
"""What Grafana would fill in."""


def panels() -> Iterator[tuple[str, str]]:
    """Each expression of the dashboard as Prometheus gets it, with its panel's title."""
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            expression = target["expr"]
            for variable, value in _VARIABLES.items():
                expression = expression.replace(variable, value)
            yield f"{panel['title']}, {target['refId']}", expression


class Prometheus:
    """One that runs, asked over its HTTP API."""

    def __init__(self, url: str) -> None:
        self.url = url

    def get(self, path: str, **parameters: str) -> Any:
        """The data of an answer. Fails with what Prometheus says is wrong."""
        answer = httpx.get(f"{self.url}/api/v1/{path}", params=parameters, timeout=30, trust_env=False).json()
        assert answer["status"] == "success", answer
        return answer["data"]

    def values(self, expression: str) -> list[float]:
        """The values that an expression has now; those that are no number are left out."""
        numbers = [float(sample["value"][1]) for sample in self.get("query", query=expression)["result"]]
        return [number for number in numbers if not math.isnan(number)]

    def empty_panels(self) -> list[str]:
        """The panels that would show nothing."""
        return [title for title, expression in panels() if not self.values(expression)]

    def rules(self) -> list[dict[str, Any]]:
        """The rules, with how each went."""
        return [rule for group in self.get("rules")["groups"] for rule in group["rules"]]

    def unscraped(self) -> list[str]:
        """The targets that do not answer, with the reason."""
        targets = self.get("targets")["activeTargets"]
        return [f"{target['scrapeUrl']}: {target['lastError']}" for target in targets if target["health"] != "up"]


@contextmanager
def scraping(targets: Mapping[str, str], port: int) -> Iterator[Prometheus]:
    """Run a Prometheus on this port of loopback that scrapes the targets (HOST:PORT, by component) each second."""
    folder = Path(tempfile.mkdtemp(prefix="prometheus-"))
    jobs = [
        {"job_name": name, "static_configs": [{"targets": [target], "labels": {"namespace": "tried"}}]}
        for name, target in targets.items()
    ]
    settings = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    configuration = folder / "prometheus.yaml"  # JSON is YAML
    configuration.write_text(json.dumps({"global": settings, "rule_files": [str(ALERTS)], "scrape_configs": jobs}))
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [program("prometheus"), f"--config.file={configuration}", f"--storage.tsdb.path={folder / 'data'}",
             f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log,
        )  # fmt: skip
        try:
            url = f"http://127.0.0.1:{port}"
            wait_for(lambda: _is_ready(url, process, folder / "log"), "Prometheus is ready")
            yield Prometheus(url)
        finally:
            process.terminate()
            process.wait(timeout=30)
            shutil.rmtree(folder)


def _is_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> bool:
    assert process.poll() is None, log.read_text()[-2000:]
    try:
        return httpx.get(f"{url}/-/ready", timeout=5, trust_env=False).is_success
    except httpx.TransportError:
        return False
