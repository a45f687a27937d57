"""The Secret with the database's passwords: made once, in the cluster, and kept by whatever is installed later."""

from base64 import b64decode, b64encode
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from aiohttp.test_utils import TestServer
from kubernetes.aio import client

from codebase_operator.cluster.api import ApiError
from codebase_operator.cluster.kubernetes_api import KubernetesApi
from codebase_operator.database_secret import ATTEMPTS, KEEP, ROLES, ensure
from tests.operator.fake_api import FakeApi, Fault

NAME, HOST, LABELS = "rel-database", "rel-postgres.ns.svc", {"app.kubernetes.io/instance": "rel"}


@pytest.fixture
def server() -> FakeApi:
    return FakeApi()


@pytest.fixture
async def api(server: FakeApi) -> AsyncIterator[KubernetesApi]:
    async with TestServer(server.application()) as http:
        configuration = client.Configuration()
        configuration.host = str(http.make_url("")).rstrip("/")
        api = KubernetesApi(client.ApiClient(configuration), "ns")
        yield api
        await api.close()


def values(server: FakeApi) -> dict[str, str]:
    return {key: b64decode(value).decode() for key, value in server.secrets[NAME]["data"].items()}


def stored(**data: str) -> dict[str, Any]:
    """The Secret as it is in the cluster, made by helm."""
    encoded = {key: b64encode(value.encode()).decode() for key, value in data.items()}
    return {"metadata": {"name": NAME, "resourceVersion": "7", "annotations": {"a": "b"}}, "data": encoded}


async def test_it_is_made_with_a_password_and_an_address_for_each_role(
    api: KubernetesApi, server: FakeApi
) -> None:
    assert await ensure(api, NAME, HOST, LABELS) == "made"
    secret, found = server.secrets[NAME], values(server)
    assert secret["metadata"]["labels"] == LABELS and secret["metadata"]["annotations"] == KEEP
    assert len({found[f"{prefix}password"] for prefix in ROLES}) == len(ROLES)
    for prefix, role in ROLES.items():
        url = urlsplit(found[f"{prefix}url"])
        assert (url.username, url.password, url.hostname) == (role, found[f"{prefix}password"], HOST)


async def test_one_that_is_there_is_not_written_again(api: KubernetesApi, server: FakeApi) -> None:
    await ensure(api, NAME, HOST, LABELS)
    before = server.secrets[NAME]
    assert await ensure(api, NAME, HOST, LABELS) == "kept as it is"
    assert server.secrets[NAME] == before


async def test_one_of_the_release_before_keeps_its_values_and_gets_what_it_lacks(
    api: KubernetesApi, server: FakeApi
) -> None:
    """And the annotation by which helm keeps it, though the next release has no such object."""
    server.secrets[NAME] = stored(password="it/s", other="theirs")
    assert (await ensure(api, NAME, HOST, LABELS)).startswith("kept, and given url")
    found = values(server)
    assert (found["password"], found["other"]) == ("it/s", "theirs")
    assert unquote(urlsplit(found["url"]).password or "") == "it/s"
    assert server.secrets[NAME]["metadata"]["annotations"] == {"a": "b", **KEEP}


async def test_what_another_writes_meanwhile_is_read_again(api: KubernetesApi, server: FakeApi) -> None:
    server.secrets[NAME] = stored(password="first", url="mine")
    server.faults.append(Fault("PATCH", 409))
    await ensure(api, NAME, HOST, LABELS)
    assert values(server)["password"] == "first"
    assert server.requests.count(f"GET /api/v1/namespaces/ns/secrets/{NAME}") == 2


@pytest.mark.parametrize(("status", "calls"), [(403, 1), (409, ATTEMPTS)])
async def test_a_refusal_is_told_and_nothing_is_made(
    api: KubernetesApi, server: FakeApi, status: int, calls: int
) -> None:
    server.faults.append(Fault("POST", status, times=99))
    with pytest.raises(ApiError) as refused:
        await ensure(api, NAME, HOST, LABELS)
    assert refused.value.status == status and not server.secrets
    assert len([line for line in server.requests if line.startswith("POST")]) == calls
