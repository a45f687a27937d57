"""Fixtures of the wiring tests: a namespace of their own, and an operator in it."""

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest
from kubernetes.aio import client, config

from codebase_index.store.database import Database
from codebase_index.store.jobs import Jobs
from tests.crd import install_crd
from tests.operator.wiring import KUBECONFIG, Cluster, Operator


@pytest.fixture
async def cluster(database: Database) -> AsyncIterator[Cluster]:
    assert KUBECONFIG.exists(), f"no cluster: {KUBECONFIG} is missing; run `make up`"
    configuration = client.Configuration()
    await config.load_kube_config(str(KUBECONFIG), client_configuration=configuration)
    async with client.ApiClient(configuration) as api:
        await install_crd(api)
        core = client.CoreV1Api(api)
        namespace = f"wiring-{uuid4().hex[:8]}"
        await core.create_namespace({"metadata": {"name": namespace}})
        try:
            yield Cluster(api, namespace, Jobs(database))
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
