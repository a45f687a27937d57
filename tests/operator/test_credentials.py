"""Which Secrets a job gets: only those that are labelled for it, for their hosts, and never the release's own."""

from datetime import timedelta
from typing import Any

import pytest

from codebase_index.job import ANNOTATION_GIT_HOSTS, GROUP, LABEL_GIT_CREDENTIALS, ErrorType, JobState
from codebase_operator import order
from codebase_operator.actions import Admit, Fail, SetQueue, WriteStatus
from codebase_operator.credentials import own_secrets, problem_with
from codebase_operator.model import Job, Refusal
from codebase_operator.planner import plan
from codebase_operator.settings import PodTemplate
from tests.operator.bench import Bench
from tests.operator.builders import ago, job, row, snapshot
from tests.operator.fake_api import Fault

OWN = frozenset({"release-database"})
URL = "https://git.example.org/shop.git"


def of_git(name: str = "token", url: str = URL, **more: Any) -> Job:
    return job("a", source={"git": {"url": url, "secretRef": {"name": name}}}, **more)


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
    assert problem_with(of_git(url=url), labelled(hosts), OWN) is None


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
    problem = problem_with(of_git(name, url), metadata, OWN)
    assert problem is not None and said in problem


def test_a_job_without_a_secret_needs_none() -> None:
    assert problem_with(job("a"), None, OWN) is None


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
    assert own_secrets(template) == {"registry", "openai", "postgres", "ca"}


# --- the planner -----------------------------------------------------------------------------------


def refusal(since: float, at: float = 1) -> dict[Any, Refusal]:
    return {of_git().id: Refusal("SecretRefused", "label it by kubectl label ...", ago(at), ago(since))}


def test_a_job_whose_secret_is_refused_holds_no_slot_and_no_place() -> None:
    b, c = job("b", age=10), job("c", age=9)
    s = snapshot(of_git(), b, c, limit=1, refusals=refusal(5))
    actions = plan(s)
    assert [x.job.name for x in actions if isinstance(x, Admit)] == ["b"]
    (places,) = [x.places for x in actions if isinstance(x, SetQueue)]
    assert (of_git().id, None, "label it by kubectl label ...") in places
    assert (c.id, 1, "Queued: 1st of 1, 1 job running") in places


def test_its_condition_says_what_to_do() -> None:
    given = row(of_git(), message="label it by kubectl label ...")
    (status,) = [x.status for x in plan(snapshot(of_git(), rows=[given], refusals=refusal(5)))
                 if isinstance(x, WriteStatus)]  # fmt: skip
    assert (status.phase, status.reason, status.message) == (
        "Pending", "SecretRefused", "label it by kubectl label ...",
    )  # fmt: skip
    (admitted,) = [c for c in status.conditions if c.type == "Admitted"]
    assert (admitted.status, admitted.reason) == ("False", "SecretRefused")


def test_it_is_tried_again_where_nobody_else_wants_the_slot() -> None:
    again = order.SECRET_AGAIN.total_seconds() + 1
    s = snapshot(of_git(), job("b", age=10), limit=2, refusals=refusal(60, again))
    assert [x.job.name for x in plan(s) if isinstance(x, Admit)] == ["b", "a"]
    s = snapshot(of_git(), job("b", age=10), limit=1, refusals=refusal(60, again))
    assert [x.job.name for x in plan(s) if isinstance(x, Admit)] == ["b"]


def test_it_fails_when_nobody_has_labelled_the_secret_in_time() -> None:
    assert [x for x in plan(snapshot(of_git(), refusals=refusal(599))) if isinstance(x, Fail)] == []
    (end,) = [x for x in plan(snapshot(of_git(), refusals=refusal(601))) if isinstance(x, Fail)]
    assert end.error is ErrorType.SECRET_REFUSED and "label it by kubectl" in end.message


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
    monkeypatch.setattr(order, "SECRET_AGAIN", timedelta(0))
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
    monkeypatch.setattr(order, "SECRET_AGAIN", timedelta(0))
    await bench.settle()
    assert set(bench.server.pods) == {"a-a1"}


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
