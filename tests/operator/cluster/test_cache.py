"""What the operator believes: event order, lists that cross events, and when it calls itself unhealthy."""

from typing import Any

import pytest

from codebase_operator.cluster import cache as cache_module
from codebase_operator.cluster.api import ApiError
from codebase_operator.cluster.cache import ClusterCache, ObjectCache
from codebase_operator.model.snapshot import Job, Pod
from tests.operator.builders import NOW, job, pod


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


class Lists:
    """The two calls that a ClusterCache makes."""

    def __init__(self) -> None:
        self.jobs: list[dict[str, Any]] = []
        self.pods: list[dict[str, Any]] = []
        self.version = 100
        self.error: ApiError | None = None

    async def list_jobs(self) -> dict[str, Any]:
        return self._list(self.jobs)

    async def list_pods(self) -> dict[str, Any]:
        return self._list(self.pods)

    def _list(self, items: list[dict[str, Any]]) -> dict[str, Any]:
        if self.error:
            raise self.error
        return {"metadata": {"resourceVersion": str(self.version)}, "items": items}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(cache_module, "time", clock)
    return clock


@pytest.fixture
def lists() -> Lists:
    return Lists()


@pytest.fixture
def cache(clock: Clock, lists: Lists) -> ClusterCache:
    return ClusterCache(lists)  # type: ignore[arg-type]


def body(name: str, version: int) -> dict[str, Any]:
    given = job(name)
    return {
        "metadata": {
            "name": name, "namespace": "ns", "uid": str(given.id), "resourceVersion": str(version),
            "generation": 1, "creationTimestamp": "2026-05-01T12:00:00Z",
        },
        "spec": {"source": {"path": f"/repos/{name}"}},
    }  # fmt: skip


def names(cache: ClusterCache) -> set[str]:
    return {known.name for known in cache.jobs.items.values()}


def versioned(version: int) -> Pod:
    return pod(job("a"), version=str(version))


def test_an_old_event_does_not_replace_a_newer_answer() -> None:
    store: ObjectCache[Pod] = ObjectCache()
    store.put("x", versioned(7))
    store.put("x", versioned(5))
    assert store.items["x"].version == "7"


def test_what_is_gone_stays_gone() -> None:
    store: ObjectCache[Pod] = ObjectCache()
    store.put("x", versioned(5))
    store.remove("x")
    store.put("x", versioned(4))
    assert store.items == {}


def test_a_list_does_not_bring_back_what_was_deleted_while_it_was_made() -> None:
    store: ObjectCache[Pod] = ObjectCache()
    store.remove("x")
    store.replace({"x": versioned(5)}, "6")
    assert store.items == {}


def test_a_list_does_not_forget_what_was_created_while_it_was_made() -> None:
    store: ObjectCache[Pod] = ObjectCache()
    store.put("new", versioned(9))
    store.replace({}, "6")
    assert set(store.items) == {"new"}


def test_a_list_forgets_what_a_broken_watch_missed() -> None:
    store: ObjectCache[Pod] = ObjectCache()
    store.put("ghost", versioned(3))
    store.replace({}, "6")
    assert store.items == {}


async def test_a_list_is_made_every_15_seconds(cache: ClusterCache, lists: Lists, clock: Clock) -> None:
    lists.jobs = [body("a", 5)]
    await cache.refresh()
    lists.jobs.append(body("b", 6))
    clock.now += 14
    await cache.refresh()
    assert names(cache) == {"a"}
    clock.now += 1
    await cache.refresh()
    assert names(cache) == {"a", "b"}


async def test_events_feed_the_world(cache: ClusterCache) -> None:
    cache.job_event("ADDED", body("a", 5))
    cache.job_event(None, body("b", 6))
    cache.job_event("DELETED", body("a", 7))
    assert names(cache) == {"b"}


async def test_a_watch_that_misses_two_rounds_is_dead(cache: ClusterCache, lists: Lists, clock: Clock) -> None:
    lists.jobs = [body("a", 50)]
    await cache.refresh()
    for _ in range(2):
        clock.now += 15
        assert cache.unhealthy_reason() is None
        await cache.refresh()
    assert "watch is dead" in (cache.unhealthy_reason() or "")


async def test_a_watch_that_catches_up_is_well(cache: ClusterCache, lists: Lists, clock: Clock) -> None:
    lists.jobs = [body("a", 50)]
    await cache.refresh()
    clock.now += 15
    await cache.refresh()
    cache.job_event("MODIFIED", body("a", 50))
    for _ in range(3):
        clock.now += 15
        await cache.refresh()
        cache.record_cycle()
    assert cache.unhealthy_reason() is None


async def test_an_api_server_that_is_away_is_told_but_no_reason_for_a_restart(
    cache: ClusterCache, lists: Lists, clock: Clock
) -> None:
    lists.error = ApiError(500, "etcd")
    for _ in range(120):
        with pytest.raises(ApiError):
            await cache.refresh()
        cache.record_cycle()
        assert cache.unhealthy_reason() is None
        clock.now += 1
    assert cache.degraded_reason() == "120 lists in a row failed: 500: etcd"
    lists.error = None
    await cache.refresh()
    assert cache.degraded_reason() is None


async def test_a_dead_watch_is_noticed_also_after_an_outage_of_the_api_server(
    cache: ClusterCache, lists: Lists, clock: Clock
) -> None:
    await cache.refresh()
    lists.error = ApiError(0, "no answer")
    clock.now += 15
    with pytest.raises(ApiError):
        await cache.refresh()
    lists.error, lists.jobs = None, [body("a", 150)]
    for _ in range(3):
        assert cache.unhealthy_reason() is None
        clock.now += 15
        await cache.refresh()
    assert "watch is dead" in (cache.unhealthy_reason() or "")


async def test_a_failed_list_leaves_the_world_as_it_was(cache: ClusterCache, lists: Lists, clock: Clock) -> None:
    lists.jobs = [body("a", 5)]
    await cache.refresh()
    lists.error = ApiError(410, "gone")
    clock.now += 15
    with pytest.raises(ApiError):
        await cache.refresh()
    assert names(cache) == {"a"}


def test_a_loop_that_hangs_is_unhealthy(cache: ClusterCache, clock: Clock) -> None:
    clock.now += 61
    assert "stuck" in (cache.unhealthy_reason() or "")
    cache.record_cycle()
    assert cache.unhealthy_reason() is None


# --- reading bodies --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({}, "spec.source"),
        ({"source": {}}, "exactly one of path and git"),
        ({"source": {"path": "/a"}, "priority": "high"}, "spec.priority"),
        ({"source": {"path": "/a"}, "unknown": 1}, "spec.unknown"),
    ],
)
def test_a_spec_that_cannot_be_read_is_a_fact_about_its_job(spec: dict[str, Any], said: str) -> None:
    parsed = Job.parse({**body("a", 1), "spec": spec})
    assert parsed.spec is None
    assert said in parsed.problem


def test_a_damaged_status_is_written_anew() -> None:
    assert Job.parse({**body("a", 1), "status": {"attempt": "many"}}).status.attempt == 0


def test_a_pod_without_our_labels_is_not_ours() -> None:
    assert Pod.parse({"metadata": {"name": "x", "uid": "u", "labels": {"app": "other"}}}) is None


@pytest.mark.parametrize("label", ["worker-index", "helper"])
def test_a_worker_pod_is_known_by_its_label_and_by_that_of_the_last_release(label: str) -> None:
    group = "indexing.codebase-mcp.io"
    labels = {f"{group}/job-id": str(job("a").id), f"{group}/attempt": "1", f"{group}/{label}": "2"}
    parsed = Pod.parse({"metadata": {"name": "a-a1-w2", "uid": "u", "labels": labels}})
    assert parsed is not None and parsed.worker_index == 2


def test_a_pod_is_read() -> None:
    parsed = Pod.parse(
        {
            "metadata": {
                "name": "a-a2", "uid": "u", "resourceVersion": "9", "deletionTimestamp": "2026-05-01T12:00:00Z",
                "labels": {
                    "indexing.codebase-mcp.io/job-id": str(job("a").id), "indexing.codebase-mcp.io/attempt": "2",
                },
            },
            "spec": {"nodeName": "n", "containers": [{"resources": {"limits": {"memory": "2Gi"}}}]},
            "status": {
                "phase": "Running",
                "conditions": [
                    {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI",
                     "message": "m"}
                ],
                "containerStatuses": [
                    {
                        "restartCount": 3,
                        "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}},
                        "lastState": {"terminated": {
                            "exitCode": 137, "reason": "OOMKilled", "finishedAt": "2026-05-01T11:59:00Z",
                        }},
                    }
                ],
            },
        }
    )  # fmt: skip
    assert parsed is not None
    assert (parsed.attempt, parsed.node, parsed.restarts, parsed.memory_limit) == (2, "n", 3, "2Gi")
    assert parsed.deleted_at == NOW
    assert parsed.disrupted == "EvictionByEvictionAPI: m"
    assert parsed.waiting == ("CrashLoopBackOff", "back-off")
    assert parsed.termination and (parsed.termination.exit_code, parsed.termination.reason) == (137, "OOMKilled")


def test_the_container_that_indexes_is_found_beside_others() -> None:
    """A mesh adds its own, and the kubelet lists them by name."""
    labels = {"indexing.codebase-mcp.io/job-id": str(job("a").id), "indexing.codebase-mcp.io/attempt": "1"}
    ended = {"terminated": {"exitCode": 3, "reason": "Error", "finishedAt": "2026-05-01T11:59:00Z"}}
    statuses = [
        {"name": "agent", "restartCount": 9, "state": {"running": {"startedAt": "2026-05-01T11:59:01Z"}}},
        {"name": "indexer", "restartCount": 1, "state": ended},
    ]
    containers = [{"name": "agent", "resources": {"limits": {"memory": "64Mi"}}},
                  {"name": "indexer", "resources": {"limits": {"memory": "2Gi"}}}]  # fmt: skip
    parsed = Pod.parse({
        "metadata": {"name": "a-a1", "uid": "u", "labels": labels}, "spec": {"containers": containers},
        "status": {"phase": "Running", "containerStatuses": statuses},
    })  # fmt: skip
    assert parsed is not None
    assert (parsed.down, parsed.restarts, parsed.memory_limit) == (True, 1, "2Gi")


def test_a_container_that_ended_is_down_until_it_is_started_again() -> None:
    labels = {"indexing.codebase-mcp.io/job-id": str(job("a").id), "indexing.codebase-mcp.io/attempt": "1"}
    terminated = {"exitCode": 137, "reason": "Error", "finishedAt": "2026-05-01T11:59:00Z"}

    def parsed(container: dict[str, Any]) -> Pod:
        status = {"phase": "Running", "containerStatuses": [container]}
        pod = Pod.parse({"metadata": {"name": "a-a1", "uid": "u", "labels": labels}, "status": status})
        assert pod is not None
        return pod

    assert parsed({"state": {"terminated": terminated}}).down
    running = {"running": {"startedAt": "2026-05-01T11:59:01Z"}}
    assert not parsed({"state": running, "lastState": {"terminated": terminated}}).down
