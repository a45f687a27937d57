"""The operator over outages of the API server and of the database: it waits, says so, and goes on."""

import asyncio
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml

from tests.operator.wiring.environment import KUBECONFIG, Cluster, Door, Operator, eventually

pytestmark = pytest.mark.cluster


async def test_an_outage_of_the_api_server_is_noticed_and_survived(
    cluster: Cluster, dsn: str, tmp_path: Path
) -> None:
    settings = yaml.safe_load(KUBECONFIG.read_text())
    target = settings["clusters"][0]["cluster"]
    address = urlsplit(target["server"])
    door = Door(lambda: asyncio.open_connection(address.hostname, address.port))
    await door.open()
    target["server"] = f"https://{address.hostname}:{door.port}"
    through_the_door = tmp_path / "kubeconfig"
    through_the_door.write_text(yaml.safe_dump(settings))
    operator = Operator(cluster.namespace, dsn, tmp_path, through_the_door, lease="codebase-operator")
    operator.start()
    try:
        await cluster.create("before")

        async def works() -> bool:
            return await cluster.pods() == {"before-a1"} and await operator.probe() == 200

        await eventually("the operator works", works)
        await door.shut()
        await cluster.create("meanwhile")

        async def noticed() -> bool:
            assert await operator.probe() == 200  # a restart would not bring the API server back
            return "lists in a row failed" in await operator.says() and not await operator.is_leader()

        await eventually("it says so, and does nothing without its lease", noticed)
        await door.open()

        async def recovered() -> bool:
            there = await cluster.pods() == {"before-a1", "meanwhile-a1"}
            return there and "lists in a row" not in await operator.says()

        await eventually("the operator works again by itself", recovered)
        await cluster.create("after")

        async def hears_again() -> bool:
            return "after-a1" in await cluster.pods()

        await eventually("the operator hears of new jobs again", hears_again)
    finally:
        operator.stop()
        await door.shut()


async def test_an_outage_of_the_database_is_shown_and_survived(
    cluster: Cluster, postgres: str, dsn: str, tmp_path: Path
) -> None:
    folder = parse_qs(urlsplit(postgres).query)["host"][0]
    door = Door(lambda: asyncio.open_unix_connection(next(Path(folder).glob(".s.PGSQL.*[0-9]"))))
    await door.open()
    name = urlsplit(dsn).path.lstrip("/")
    operator = Operator(cluster.namespace, f"postgresql://postgres@127.0.0.1:{door.port}/{name}", tmp_path)
    await door.shut()
    operator.start()
    try:
        job_id = await cluster.create("patient")

        async def told() -> bool:
            status = await cluster.status("patient")
            return (status.get("phase"), status.get("reason")) == ("Pending", "DatabaseUnavailable")

        await eventually("the reason is shown", told)
        assert await cluster.pods() == set()
        assert await operator.probe() == 200  # a restart would not help
        await door.open()

        async def has_pod() -> bool:
            return await cluster.pods() == {"patient-a1"}

        await eventually("the job is admitted when the database is back", has_pod)
        await cluster.jobs.claim(job_id, 1, "patient-a1")

        async def phase_is(phase: str) -> bool:
            return (await cluster.status("patient")).get("phase") == phase

        await eventually("the job runs", lambda: phase_is("Running"))
        await door.shut()
        await eventually("the running job is blocked", lambda: phase_is("Blocked"))
        await door.open()
        await eventually("the job runs on", lambda: phase_is("Running"))
        assert (await cluster.row(job_id)).attempt == 1
    finally:
        operator.stop()
        await door.shut()
