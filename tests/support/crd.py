"""The CRD on the cluster of `make up`, for tests that install no chart."""

import asyncio
from pathlib import Path

import yaml
from kubernetes.aio import client

from codebase_index.api.crd import FILES

ROOT = Path(__file__).resolve().parents[2]


async def install_crd(api: client.ApiClient) -> None:
    """Create the CRD where it is missing, and wait until the API server serves it."""
    body = yaml.safe_load((ROOT / FILES[0]).read_text())
    extensions = client.ApiextensionsV1Api(api)
    try:
        await extensions.create_custom_resource_definition(body)
    except client.ApiException as error:
        if error.status != 409:
            raise
    async with asyncio.timeout(60):
        while True:
            found = await extensions.read_custom_resource_definition(body["metadata"]["name"])
            conditions = (found.status and found.status.conditions) or []
            if any(c.type == "Established" and c.status == "True" for c in conditions):
                return
            await asyncio.sleep(0.2)
