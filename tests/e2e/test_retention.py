"""What goes by itself after a job's end, and an index when its administrator says so."""

import pytest

from codebase_index.api.job import PLURAL
from hack.deployment.chart import NAMESPACE
from hack.deployment.commands import CommandFailed, kubectl, kubectl_json
from hack.deployment.mcp_client import connect
from tests.support.kube import OPERATOR, apply_job, hold_slots, job_status, patch_job, query
from tests.support.waiting import wait_for

pytestmark = pytest.mark.cluster

TTL = 5  # seconds: long enough to look at what there is before


def events_about(uid: str) -> list[str]:
    """The reasons of the Events that the API server has about an object."""
    events = kubectl_json("get", "events", "-n", NAMESPACE, "--field-selector", f"involvedObject.uid={uid}")
    return [event["reason"] for event in events["items"]]


def admin(*arguments: str) -> str:
    """Run the administrator's command as docs/failures.md says."""
    return kubectl("exec", "-n", NAMESPACE, OPERATOR, "--", "codebase-mcp", "admin", *arguments)


async def test_a_job_goes_with_its_events_and_its_index_only_on_request(
    server_url: str, small_repository: str
) -> None:
    name = small_repository.rpartition("/")[2]
    uid = apply_job(name, small_repository, ttlSecondsAfterFinished=TTL)
    wait_for(lambda: "Completed" in events_about(uid), "the job is completed, and an Event says so")
    wait_for(lambda: query(f"SELECT count(*) FROM jobs WHERE id = '{uid}'") == "0", "the row is gone")
    assert events_about(uid) == []
    assert name not in [job["metadata"]["name"] for job in kubectl_json("get", PLURAL, "-n", NAMESPACE)["items"]]

    async with connect(server_url) as tools:
        found = await tools.call("search_code", query="class", repo=small_repository)
        assert found["results"] and found["index_state"] == "complete"
    assert [line.split()[4:6] for line in admin("list").splitlines() if small_repository in line] == [["-", "20"]]

    assert admin("delete", small_repository).endswith("done\n")
    assert [line for line in admin("list").splitlines() if small_repository in line] == []
    held = f"FROM files f JOIN indexes i ON i.id = f.index_id WHERE i.source = '{small_repository}'"
    assert query(f"SELECT count(*) {held}") == "0"
    assert query("SELECT count(*) FROM chunks WHERE file_id NOT IN (SELECT id FROM files)") == "0"


async def test_an_index_is_not_removed_under_a_job(server_url: str, small_repository: str) -> None:
    (uid,) = hold_slots(small_repository)
    name = query(f"SELECT cr_name FROM jobs WHERE id = '{uid}'")
    with pytest.raises(
        CommandFailed, match=f"job {name} in namespace {NAMESPACE} is blocked.*nothing was removed"
    ):
        admin("delete", small_repository)
    patch_job(name, cancel=True)
    wait_for(lambda: job_status(name).get("phase") == "Cancelled", "the job is cancelled")
    wait_for(lambda: query(f"SELECT slot FROM jobs WHERE id = '{uid}'") == "f", "its pod is gone")
    assert admin("delete", small_repository).endswith("done\n")
