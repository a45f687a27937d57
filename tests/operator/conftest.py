"""Fixtures: the operator's cycles one by one; for the wiring tests a namespace of their own, and an operator."""

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest
from aiohttp.test_utils import TestServer
from kubernetes.aio import client, config

from codebase_index.store.database import Database
from codebase_operator.cluster.kubernetes_api import KubernetesApi
from tests.operator.fake_api import FakeApi
from tests.operator.harness import Bench
from tests.operator.wiring.environment import KUBECONFIG, Cluster, Operator
from tests.support.crd import install_crd


@pytest.fixture
async def cluster(database: Database) -> AsyncIterator[Cluster]:
    assert KUBECONFIG.exists(), f"no cluster: {KUBECONFIG} is missing; run `make up`"
    configuration = client.Configuration()
    await config.load_kube_config(  # type: ignore[no-untyped-call]
        str(KUBECONFIG), client_configuration=configuration
    )
    async with client.ApiClient(configuration) as api:
        await install_crd(api)
        core = client.CoreV1Api(api)
        namespace = f"wiring-{uuid4().hex[:8]}"
        await core.create_namespace(client.V1Namespace(metadata=client.V1ObjectMeta(name=namespace)))
        try:
            yield Cluster(api, namespace, database)
        finally:
            await core.delete_namespace(namespace)


@pytest.fixture
async def operator(cluster: Cluster, dsn: str, tmp_path: Path) -> AsyncIterator[Operator]:
    operator = Operator(cluster.namespace, dsn, tmp_path)
    operator.start()
    try:
        yield operator
        assert operator.running(), operator.log.read_text()[-3000:]
    finally:
        if operator.running():
            operator.stop()
    assert operator.tracebacks() == []


@pytest.fixture
async def bench(database: Database) -> AsyncIterator[Bench]:
    server = FakeApi()
    async with TestServer(server.application()) as http:
        configuration = client.Configuration()
        configuration.host = str(http.make_url("")).rstrip("/")
        api = KubernetesApi(client.ApiClient(configuration), "ns")
        yield Bench(server, api, database)
        await api.close()
