"""A real Prometheus scrapes the cluster through a run: panels have data, rules are evaluated."""

import asyncio
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest

from codebase_index.api.job import LABEL_COMPONENT
from hack.deployment.chart import NAMESPACE
from hack.deployment.commands import environment, kubectl_json, tool_path
from tests.support.cluster import ClusterRuntime
from tests.support.observed_run import assert_seen, run_twice
from tests.support.prometheus import scraping
from tests.support.waiting import wait_for

pytestmark = pytest.mark.cluster


async def test_a_run_is_seen_by_prometheus(
    cluster_runtime: ClusterRuntime, new_repository: Callable[[int], str],
    unused_tcp_port_factory: Callable[[], int],
) -> None:  # fmt: skip
    repository = Path(new_repository(60))
    targets = {}
    with ExitStack() as ways:
        for component, port in (("operator", 9090), ("server", 8081)):
            for pod in _names(component):
                local = unused_tcp_port_factory()
                ways.enter_context(forwarded(pod, local, port))
                targets[pod] = f"127.0.0.1:{local}"
        prometheus = ways.enter_context(scraping(targets, unused_tcp_port_factory()))
        await run_twice(cluster_runtime, repository, prometheus)
        await asyncio.to_thread(assert_seen, prometheus)


def _names(component: str) -> list[str]:
    pods = kubectl_json("get", "pods", "-n", NAMESPACE, "-l", f"{LABEL_COMPONENT}={component}")["items"]
    return [pod["metadata"]["name"] for pod in pods if pod["status"]["phase"] == "Running"]


@contextmanager
def forwarded(pod: str, local: int, port: int) -> Iterator[None]:
    """A way to a port of a pod."""
    command = [tool_path("kubectl"), "port-forward", "-n", NAMESPACE, f"pod/{pod}", f"{local}:{port}",
               "--address", "127.0.0.1"]  # fmt: skip
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment()
    ) as process:
        try:
            wait_for(lambda: _answers(local), f"the metrics of {pod} can be reached")
            yield
        finally:
            process.terminate()


def _answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=5, trust_env=False).is_success
    except httpx.TransportError:
        return False
