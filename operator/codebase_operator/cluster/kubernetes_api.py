"""The operator's calls to the Kubernetes API.

On plain dicts: the client's generated models would parse every field of every pod, to read a handful.
"""

import json
import os
from typing import Any, Final
from uuid import UUID

import aiohttp
from kubernetes.aio import client, config

from codebase_index.api.job import GROUP, LABEL_COMPONENT, LABEL_JOB_ID, PLURAL, VERSION
from codebase_operator.cluster.api import ApiError, ClusterApi
from codebase_operator.cluster.pods import COMPONENT

POD_SELECTOR: Final = f"{LABEL_COMPONENT}={COMPONENT}"
TIMEOUT: Final = 10.0
"""Seconds for a call: the loop must never hang on one."""


class KubernetesApi(ClusterApi):
    """Calls in one namespace."""

    def __init__(self, api_client: client.ApiClient, namespace: str) -> None:
        self._client = api_client
        self._core = f"/api/v1/namespaces/{namespace}"
        self._jobs = f"/apis/{GROUP}/{VERSION}/namespaces/{namespace}/{PLURAL}"
        self._leases = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"

    @classmethod
    async def connect(cls, namespace: str) -> "KubernetesApi":
        """Use the pod's service account, or outside a cluster the kubeconfig."""
        configuration = client.Configuration()
        if "KUBERNETES_SERVICE_HOST" in os.environ:
            config.load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
        else:
            await config.load_kube_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
        return cls(client.ApiClient(configuration), namespace)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()  # type: ignore[no-untyped-call]

    async def list_jobs(self) -> dict[str, Any]:
        """List all jobs from the source of truth: without a resourceVersion, a list is never stale."""
        return await self._call("GET", self._jobs)

    async def list_pods(self) -> dict[str, Any]:
        """List all indexer pods from the source of truth."""
        return await self._call("GET", f"{self._core}/pods", query=[("labelSelector", POD_SELECTOR)])

    async def pods_of(self, job_id: UUID) -> dict[str, Any]:
        """List the pods of one job from the source of truth."""
        selector = f"{POD_SELECTOR},{LABEL_JOB_ID}={job_id}"
        return await self._call("GET", f"{self._core}/pods", query=[("labelSelector", selector)])

    async def read_job(self, name: str) -> dict[str, Any]:
        """Read one job."""
        return await self._call("GET", f"{self._jobs}/{name}")

    async def write_status(self, name: str, uid: str, version: str, status: dict[str, Any]) -> dict[str, Any]:
        """Merge a status into a job, if it is still of this version; 409 otherwise."""
        body = {"metadata": {"uid": uid, "resourceVersion": version}, "status": status}
        content = "application/merge-patch+json"
        return await self._call("PATCH", f"{self._jobs}/{name}/status", body=body, content_type=content)

    async def delete_job(self, name: str, uid: str) -> None:
        """Delete a job, if it is still this one."""
        await self._call("DELETE", f"{self._jobs}/{name}", body={"preconditions": {"uid": uid}})

    async def create_pod(self, manifest: dict[str, Any]) -> dict[str, Any]:
        """Create a pod."""
        return await self._call("POST", f"{self._core}/pods", body=manifest)

    async def read_pod(self, name: str) -> dict[str, Any]:
        """Read one pod."""
        return await self._call("GET", f"{self._core}/pods/{name}")

    async def delete_pod(self, name: str, uid: str, *, force: bool) -> dict[str, Any]:
        """Delete a pod, if it is still this one; `force` removes it without asking its node."""
        grace = {"gracePeriodSeconds": 0} if force else {}
        body = {"preconditions": {"uid": uid}, **grace}
        return await self._call("DELETE", f"{self._core}/pods/{name}", body=body)

    async def secret_metadata(self, name: str) -> dict[str, Any]:
        """Read a Secret's metadata, and nothing of what it holds; 404 when there is none."""
        accept = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
        body = await self._call("GET", f"{self._core}/secrets/{name}", accept=accept)
        return dict(body["metadata"])

    async def read_secret(self, name: str) -> dict[str, Any]:
        """Read a Secret; 404 when there is none."""
        return await self._call("GET", f"{self._core}/secrets/{name}")

    async def create_secret(self, manifest: dict[str, Any]) -> dict[str, Any]:
        """Create a Secret; 409 when it is there already."""
        return await self._call("POST", f"{self._core}/secrets", body=manifest)

    async def merge_secret(self, name: str, changes: dict[str, Any]) -> dict[str, Any]:
        """Merge changes into a Secret, if it is still of the version that they name; 409 otherwise."""
        content = "application/merge-patch+json"
        return await self._call("PATCH", f"{self._core}/secrets/{name}", body=changes, content_type=content)

    async def create_event(self, manifest: dict[str, Any]) -> None:
        """Record an Event."""
        await self._call("POST", f"{self._core}/events", body=manifest)

    async def delete_events(self, uid: str) -> None:
        """Delete the Events about the object with this uid, whatever reported them."""
        query = [("fieldSelector", f"involvedObject.uid={uid}")]
        await self._call("DELETE", f"{self._core}/events", query=query)

    async def read_lease(self, name: str) -> dict[str, Any]:
        """Read a lease; 404 when there is none."""
        return await self._call("GET", f"{self._leases}/{name}")

    async def create_lease(self, name: str, spec: dict[str, Any]) -> dict[str, Any]:
        """Create a lease; 409 when it is there already."""
        body = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": name}, "spec": spec}
        return await self._call("POST", self._leases, body=body)

    async def replace_lease(self, body: dict[str, Any]) -> dict[str, Any]:
        """Replace a lease by a changed one, if it is still of this version; 409 otherwise."""
        return await self._call("PUT", f"{self._leases}/{body['metadata']['name']}", body=body)

    async def _call(
        self,
        method: str,
        path: str,
        *,
        query: list[tuple[str, str]] | None = None,
        body: dict[str, Any] | None = None,
        content_type: str = "application/json",
        accept: str = "application/json",
    ) -> dict[str, Any]:
        request = await self._client.param_serialize(
            method, path, query_params=query, body=body, auth_settings=["BearerToken"],
            header_params={"Accept": accept, "Content-Type": content_type},
        )  # fmt: skip
        try:
            response = await self._client.call_api(*request, _request_timeout=TIMEOUT)
            text = await response.read()  # type: ignore[no-untyped-call]
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise ApiError(0, f"{type(error).__name__}: {error}") from error
        return _body(response.status, text)


def _body(status: int, text: bytes) -> dict[str, Any]:
    """Return the answer's body. Raises ApiError with the server's own message."""
    try:
        body = json.loads(text)
    except ValueError:
        body = {"message": text.decode(errors="replace")[:500]}
    if status >= 400:
        raise ApiError(status, str(body.get("message", "")))
    return dict(body)
