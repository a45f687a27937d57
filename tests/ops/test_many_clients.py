"""Two hundred clients for a minute, and one of the two servers is killed in the middle of it."""

import signal
import time
from collections import Counter
from contextlib import ExitStack
from typing import Final

import pytest

from hack.deployment.mcp_client import finished
from tests.chaos.harness.containers import first
from tests.ops.client_pod import Calls, calling
from tests.support.cluster import ClusterRuntime
from tests.support.kube import server_pods, uid_of

pytestmark = [pytest.mark.cluster, pytest.mark.large]  # minutes: make test-ops runs it

PODS: Final = 4
CLIENTS: Final = 50
"""Of each pod, which stays below `server.connections.maxOfClient`: 200 in all."""

CALLS_A_SECOND: Final = 20
"""Of each pod: a client asks every 2.5 s, as often as a status may be polled."""

SECONDS: Final = 60
LOST_OF_A_CLIENT: Final = 3
"""Calls that a client may lose to the kill: the one in flight, and one or two that are sent to the dead server
until every node knows. No call is repeated here; a real client repeats them."""

TRANSPORT: Final = ("ReadError", "RemoteProtocolError", "ConnectError", "ConnectTimeout", "WriteError")


async def test_a_killed_server_costs_each_client_a_few_calls_and_no_wrong_answer(
    cluster_runtime: ClusterRuntime, small_repository: str
) -> None:
    async with cluster_runtime.connect() as tools:
        job = await tools.call("start_indexing_background", repo_path=small_repository)
        assert (await finished(tools, job["job_id"], timeout=300))["status"] == "completed"
    calls: Calls = [
        ("get_indexing_status", {"job_id": job["job_id"]}),
        ("search_code", {"query": "read the settings", "repo": small_repository}),
        ("list_repositories", {}),
    ]
    killed, *others = server_pods()
    assert others, "the release has one server; the chart's default is two"
    outcomes = of_all_clients(calls, SECONDS, killed)
    print(f"\n{outcomes}")
    assert outcomes.pop("ok") > PODS * CALLS_A_SECOND * SECONDS / 4, "the servers were idle for most of the time"
    assert [outcome for outcome in outcomes if not outcome.startswith(TRANSPORT)] == []
    assert outcomes.total() <= PODS * CLIENTS * LOST_OF_A_CLIENT
    afterwards = of_all_clients(calls, SECONDS / 6)
    assert afterwards.pop("ok") > 0
    assert not afterwards, "all is as before"


def of_all_clients(calls: Calls, seconds: float, killed: str | None = None) -> Counter[str]:
    """Let all clients call for so long; kill a pod's first process in the middle of it. Return the outcomes."""
    with ExitStack() as stack:
        ends = [stack.enter_context(calling(calls, CALLS_A_SECOND, CLIENTS)) for _ in range(PODS)]
        time.sleep(seconds / 2)
        if killed:
            first(uid_of(killed)).signal(signal.SIGKILL)
        time.sleep(seconds / 2)
        outcomes: Counter[str] = Counter()
        for end in ends:
            outcomes.update(end())
    return outcomes
