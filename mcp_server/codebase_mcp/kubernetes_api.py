"""The way to the Kubernetes API: the pod's service account, or else KUBECONFIG."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from kubernetes.aio import client, config


@asynccontextmanager
async def open_api() -> AsyncIterator[client.ApiClient]:
    """Yield a client. No connection is made yet.

    Raises kubernetes.aio.config.ConfigException where there is neither of them.
    """
    configuration = client.Configuration()
    if "KUBERNETES_SERVICE_HOST" in os.environ and "KUBECONFIG" not in os.environ:
        config.load_incluster_config(configuration)  # type: ignore[no-untyped-call]
    else:
        await config.load_kube_config(  # type: ignore[no-untyped-call]
            os.environ.get("KUBECONFIG"), client_configuration=configuration
        )
    configuration.retries = 1
    async with client.ApiClient(configuration) as api:
        yield api
