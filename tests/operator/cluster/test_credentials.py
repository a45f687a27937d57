"""Which Secrets a job gets: only those that are labelled for it, for their hosts, and never the release's own."""

from datetime import timedelta
from typing import Any

import pytest

from codebase_index.api.job import ANNOTATION_GIT_HOSTS, GROUP, LABEL_GIT_CREDENTIALS, ErrorType, JobState
from codebase_operator.cluster.credentials import release_secrets, secret_problem
from codebase_operator.model.actions import Action, Admit, CheckSecret, Fail, SetQueue, WriteStatus
from codebase_operator.model.snapshot import Job, Rejection
from codebase_operator.model.uptime import Uptime
from codebase_operator.planning import lifecycle, scheduler
from codebase_operator.planning.planner import plan
from codebase_operator.settings import PodTemplate
from tests.operator.builders import ago, job, pod, row, snapshot
from tests.operator.fake_api import Fault
from tests.operator.harness import Bench

OWN = frozenset({"release-database"})
URL = "https://git.example.org/shop.git"


def of_git(name: str = "token", url: str = URL, created_as: str = "a", **more: Any) -> Job:
    return job(created_as, source={"git": {"url": url, "secretRef": {"name": name}}}, **more)


def labelled(hosts: str = "git.example.org", label: str = "true") -> dict[str, Any]:
    return {"labels": {LABEL_GIT_CREDENTIALS: label}, "annotations": {ANNOTATION_GIT_HOSTS: hosts}}


@pytest.mark.parametrize(
    ("url", "hosts"),
    [
        (URL, "git.example.org"),
        (URL, "other.example.org, GIT.example.org"),
        (URL, "git.example.org:443"),
        ("ssh://git@git.example.org/shop", "git.example.org"),
        ("ssh://git@git.example.org/shop", "git.example.org:22"),
        ("https://GIT.example.org:8443/shop", "git.example.org:8443"),
    ],
)
def test_a_secret_that_is_marked_for_the_host_is_given(url: str, hosts: str) -> None:
    assert secret_problem(of_git(url=url), labelled(hosts), OWN) is None


REFUSED = {
    "one without label and annotation": ("token", URL, {}, f"kubectl -n ns label secret token {GROUP}/git-creden"),
    "one whose label says no": ("token", URL, labelled(label="false"), "is not marked as one for git"),
    "one for no host": ("token", URL, labelled(""), "is for no host, not for git.example.org"),
    "one for another host": (
        "token", URL, labelled("github.com"),
        f"annotate --overwrite secret token {GROUP}/git-hosts=github.com,git.example.org",
    ),
    "one for a host whose name ends alike": ("token", URL, labelled("example.org"), "is for example.org"),
    "one for another port": (
        "token", "https://git.example.org:8443/shop", labelled("git.example.org"), "not for git.example.org:8443"
    ),
    "one for the other scheme's port": (
        "token", "ssh://git@git.example.org/shop", labelled("git.example.org:443"), "not for git.example.org"
    ),
    "one that is not there": ("token", URL, None, "kubectl -n ns create secret generic token"),
    "the database's, whatever its label": ("release-database", URL, labelled(), "belongs to the release"),
    "helm's, whatever its label": ("sh.helm.release.v1.x.v1", URL, labelled(), "belongs to the release"),
}  # fmt: skip


@pytest.mark.parametrize("which", REFUSED)
def test_any_other_secret_is_refused_with_the_command_that_allows_it(which: str) -> None:
    name, url, metadata, said = REFUSED[which]
    problem = secret_problem(of_git(name, url), metadata, OWN)
    assert problem is not None and said in problem


def test_a_job_without_a_secret_needs_none() -> None:
    assert secret_problem(job("a"), None, OWN) is None


def test_the_releases_own_are_those_that_its_pods_are_given() -> None:
    template = PodTemplate.model_validate(
        {
            "image": "i",
            "imagePullSecrets": [{"name": "registry"}],
            "env": [
                {"name": "A", "value": "b"},
                {"name": "OPENAI_API_KEY", "valueFrom": {"secretKeyRef": {"name": "openai", "key": "k"}}},
                {"name": "P", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            ],
            "volumes": [
                {"name": "database", "secret": {"secretName": "postgres"}},
                {
                    "name": "more",
                    "projected": {"sources": [{"secret": {"name": "ca"}}, {"configMap": {"name": "x"}}]},
                },
                {"name": "root", "hostPath": {"path": "/srv"}},
            ],
        }
    )
    assert release_secrets(template) == {"registry", "openai", "postgres", "ca"}


# --- the planner -----------------------------------------------------------------------------------


def rejection(since: float, at: float = 1) -> dict[Any, Rejection]:
    return {of_git().id: Rejection("SecretRefused", "label it by kubectl label ...", ago(at), ago(since))}


def test_a_job_whose_secret_is_refused_holds_no_slot_and_no_place() -> None:
    b, c = job("b", age=10), job("c", age=9)
    s = snapshot(of_git(), b, c, limit=1, rejections=rejection(5))
    actions = plan(s)
    assert [x.job.name for x in actions if isinstance(x, Admit)] == ["b"]
    (positions,) = [x.positions for x in actions if isinstance(x, SetQueue)]
    assert (of_git().id, None, "label it by kubectl label ...") in positions
    assert (c.id, 1, "Queued: 1st of 1, 1 job running") in positions


def test_its_condition_says_what_to_do() -> None:
    given = row(of_git(), message="label it by kubectl label ...")
    (status,) = [x.status for x in plan(snapshot(of_git(), rows=[given], rejections=rejection(5)))
                 if isinstance(x, WriteStatus)]  # fmt: skip
    assert (status.phase, status.reason, status.message) == (
        "Pending", "SecretRefused", "label it by kubectl label ...",
    )  # fmt: skip
    (admitted,) = [c for c in status.conditions if c.type == "Admitted"]
    assert (admitted.status, admitted.reason) == ("False", "SecretRefused")


def looks(actions: list[Action]) -> list[str]:
    return [x.job.name for x in actions if isinstance(x, CheckSecret)]


@pytest.mark.parametrize("limit", [1, 2], ids=["where all slots are taken", "where one is free"])
def test_its_secret_is_looked_at_again_every_ten_seconds(limit: int) -> None:
    busy = job("b", age=200)
    taken: dict[str, Any] = {"rows": [row(busy, "running", 1)], "pods": [pod(busy)], "limit": limit}
    assert looks(plan(snapshot(of_git(), busy, rejections=rejection(60, 9), **taken))) == []
    actions = plan(snapshot(of_git(), busy, rejections=rejection(60, 10), **taken))
    assert looks(actions) == ["a"] and [x for x in actions if isinstance(x, Admit)] == []


def test_hundreds_of_refused_jobs_are_looked_at_in_turn() -> None:
    jobs = [of_git(name=f"token{n}", created_as=f"j{n}") for n in range(300)]
    seen = {job_.id: Rejection("SecretRefused", "label it", ago(10 + n), ago(500)) for n, job_ in enumerate(jobs)}
    asked = looks(plan(snapshot(*jobs, rejections=seen)))
    assert asked == [f"j{n}" for n in range(299, 299 - scheduler.MAX_SECRET_CHECKS, -1)]


def test_one_that_is_suspended_says_so() -> None:
    (positions,) = [x.positions for x in plan(snapshot(of_git(suspend=True), rejections=rejection(60)))
                 if isinstance(x, SetQueue)]  # fmt: skip
    assert positions == ((of_git().id, None, "Suspended"),)


def test_one_that_is_suspended_or_cancelled_is_not_looked_at() -> None:
    for given in (of_git(suspend=True), of_git(cancel=True)):
        assert looks(plan(snapshot(given, rejections=rejection(60, 20)))) == []


def test_it_fails_when_nobody_has_labelled_the_secret_in_time() -> None:
    assert [x for x in plan(snapshot(of_git(), rejections=rejection(599))) if isinstance(x, Fail)] == []
    (end,) = [x for x in plan(snapshot(of_git(), rejections=rejection(605))) if isinstance(x, Fail)]
    assert end.error is ErrorType.SECRET_REFUSED and "label it by kubectl" in end.message


def test_before_it_fails_its_secret_is_looked_at_once_more() -> None:
    """It may have been labelled since the last look."""
    actions = plan(snapshot(of_git(), rejections=rejection(605, 10)))
    assert looks(actions) == ["a"] and [x for x in actions if isinstance(x, Fail)] == []


def test_an_outage_is_not_counted_as_time_in_which_somebody_could_label_it() -> None:
    away = Uptime(ago(9000), outages=((ago(300), ago(200)),))
    for since, fails in ((650, False), (750, True)):
        actions = plan(snapshot(of_git(), rejections=rejection(since), uptime=away))
        assert any(isinstance(x, Fail) for x in actions) is fails


# --- the actuator ----------------------------------------------------------------------------------


def secret(bench: Bench, name: str, metadata: dict[str, Any]) -> None:
    bench.server.secrets[name] = {
        "kind": "PartialObjectMetadata", "metadata": {"name": name, "resourceVersion": "7", **metadata}
    }  # fmt: skip


def private(bench: Bench, name: str = "a", of: str = "token") -> None:
    bench.server.create_job(name, source={"git": {"url": URL, "secretRef": {"name": of}}})


async def test_no_slot_and_no_pod_before_the_secret_is_labelled(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    private(bench)
    bench.server.create_job("b")
    secret(bench, "token", {})
    await bench.settle()
    assert set(bench.server.pods) == {"b-a1"}
    found = await bench.row("a")
    assert (found.state, found.slot, found.attempt) == (JobState.PENDING, False, 0)
    assert f"kubectl -n ns label secret token {LABEL_GIT_CREDENTIALS}=true" in found.message
    assert bench.status("a")["reason"] == "SecretRefused"
    secret(bench, "token", labelled())
    monkeypatch.setattr(scheduler, "SECRET_CHECK_INTERVAL", timedelta(0))
    await bench.settle()
    assert set(bench.server.pods) == {"a-a1", "b-a1"}
    assert bench.status("a")["reason"] != "SecretRefused"


async def test_a_secret_that_does_not_exist_yet_is_waited_for(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    private(bench)
    await bench.settle()
    assert bench.server.pods == {} and "does not exist" in bench.status("a")["message"]
    secret(bench, "token", labelled())
    monkeypatch.setattr(scheduler, "SECRET_CHECK_INTERVAL", timedelta(0))
    await bench.settle()
    assert set(bench.server.pods) == {"a-a1"}


async def test_it_is_queued_as_soon_as_its_secret_is_labelled_also_where_all_slots_are_taken(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    private(bench)
    await bench.settle()
    assert bench.status("a")["reason"] == "SecretRefused"
    for name in ("b", "c", "d"):
        bench.server.create_job(name)
    await bench.settle()
    secret(bench, "token", labelled())
    monkeypatch.setattr(scheduler, "SECRET_CHECK_INTERVAL", timedelta(0))
    await bench.settle()
    assert set(bench.server.pods) == {"b-a1", "c-a1", "d-a1"}
    found = await bench.row("a")
    assert (found.queue_position, found.message) == (1, "Queued: 1st of 1, 3 jobs running")
    assert bench.status("a")["reason"] == "ConcurrencyLimit"


async def test_a_secret_that_lost_its_label_is_not_given_to_the_next_attempt(bench: Bench) -> None:
    private(bench)
    secret(bench, "token", labelled())
    await bench.settle()
    await bench.jobs.claim((await bench.row("a")).id, 1, "a-a1")
    secret(bench, "token", {})
    del bench.server.pods["a-a1"]
    await bench.settle()
    assert bench.server.pods == {}
    assert bench.status("a")["reason"] == "SecretRefused"


async def test_a_secret_that_stays_refused_is_logged_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    private(bench)
    secret(bench, "token", labelled())
    await bench.settle()
    secret(bench, "token", {})
    del bench.server.pods["a-a1"]
    await bench.settle()
    monkeypatch.setattr(lifecycle, "REJECTION_RETRY_INTERVAL", timedelta(0))
    for _ in range(3):
        await bench.loop.cycle()
    assert [record.message for record in caplog.records].count("Secret refused") == 1


async def test_only_metadata_is_asked_for(bench: Bench) -> None:
    private(bench)
    secret(bench, "token", labelled())
    await bench.settle()
    assert bench.server.accepted["GET /api/v1/namespaces/ns/secrets/token"] == (
        "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
    )


async def test_an_operator_without_the_right_says_which_setting_gives_it(bench: Bench) -> None:
    private(bench)
    bench.server.faults = [Fault("GET .*/secrets/token", 403, "secrets is forbidden", times=9)]
    await bench.settle()
    assert bench.server.pods == {}
    assert "repositories.gitSecrets" in bench.status("a")["message"]


async def test_an_api_server_that_fails_is_no_refusal(bench: Bench) -> None:
    private(bench)
    secret(bench, "token", labelled())
    bench.server.faults = [Fault("GET .*/secrets/token", 500)]
    await bench.settle()
    assert set(bench.server.pods) == {"a-a1"}
