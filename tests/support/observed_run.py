"""A run of the product in which everything happens that the dashboard shows, and what Prometheus saw of it."""

import asyncio
import contextlib
from functools import partial
from pathlib import Path

from hack.deployment.mcp_client import ToolFailed, Tools, finished
from tests.support.prometheus import Prometheus
from tests.support.runtime import Runtime
from tests.support.waiting import wait_for

TIMEOUT = 240


async def run_twice(runtime: Runtime, repository: Path, prometheus: Prometheus) -> None:
    """Do everything twice, seen in between: what begins with its first value shows no increase."""
    before = await asyncio.to_thread(wait_for, lambda: _ended(prometheus), "the operator is scraped")
    empty = repository.parent / f"{repository.name}-empty"
    empty.mkdir()
    try:
        for number in (1, 2):
            async with runtime.connect() as tools:
                await _once(tools, repository, empty)
            expected = {state: count + number for state, count in before.items()}
            await asyncio.to_thread(wait_for, partial(_has_seen, prometheus, expected), "it is scraped")
    finally:
        empty.rmdir()


async def _once(tools: Tools, repository: Path, empty: Path) -> None:
    ends = []
    for path in (repository, empty):
        job = await tools.call("start_indexing_background", repo_path=str(path), force_reindex=True)
        ends.append((await finished(tools, job["job_id"], timeout=TIMEOUT))["status"])
    assert ends == ["completed", "failed"]
    await tools.call("search_code", query="where is the total computed", repo=str(repository))
    with contextlib.suppress(ToolFailed):
        await tools.call("get_indexing_status", job_id="none")


def _has_seen(prometheus: Prometheus, expected: dict[str, float]) -> bool:
    return _ended(prometheus) == expected


def _ended(prometheus: Prometheus) -> dict[str, float]:
    """How many jobs have completed, and failed, as of one scrape; nothing before the first."""
    query = 'sum by (state) (codebase_operator_jobs_ended_total{state=~"completed|failed"})'
    samples = prometheus.get("query", query=query)["result"]
    return {sample["metric"]["state"]: float(sample["value"][1]) for sample in samples}


def assert_seen(prometheus: Prometheus) -> None:
    """Every panel has data, every rule was evaluated, and the one alert that has a reason rings."""
    assert prometheus.unscraped() == []
    wait_for(
        lambda: not prometheus.empty_panels(), f"each panel has data: {prometheus.empty_panels()}", 30, every=1
    )
    rules = prometheus.rules()
    assert len(rules) >= 14
    assert {rule["name"]: rule["lastError"] for rule in rules if rule["health"] != "ok"} == {}
    alerts = prometheus.get("alerts")["alerts"]
    ringing = {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}
    assert ringing == {"CodebaseJobFailed"}, ringing
