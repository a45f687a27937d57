"""A real Prometheus scrapes an instance through a run: panels have data, rules are evaluated."""

from collections.abc import Callable
from pathlib import Path

import httpx

from tests.fixtures.generate_test_repo import generate
from tests.support.embedded import running, settings_for
from tests.support.observed_run import assert_seen, run_twice
from tests.support.prometheus import scraping


async def test_a_run_is_seen_by_prometheus(
    own_data_folder: Path, tmp_path: Path, unused_tcp_port_factory: Callable[[], int]
) -> None:
    repository = tmp_path / "seen"
    generate(repository, file_count=40, avg_lines=60)
    port = unused_tcp_port_factory()
    targets = {"operator": f"127.0.0.1:{port}", "server": f"127.0.0.1:{port + 1}"}
    settings = settings_for(own_data_folder, tmp_path, metrics_port=port)
    with running(settings) as runtime, scraping(targets, unused_tcp_port_factory()) as prometheus:
        runtime.instance()
        await run_twice(runtime, repository, prometheus)
        assert_seen(prometheus)


def test_an_instance_shows_its_metrics_to_nobody_unless_it_is_asked_to(
    own_data_folder: Path, tmp_path: Path
) -> None:
    with running(settings_for(own_data_folder, tmp_path)) as runtime:
        url = runtime.instance().url.removesuffix("/mcp")
        assert httpx.get(f"{url}/metrics", trust_env=False).status_code == 404
