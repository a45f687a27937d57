"""A client of the Kubernetes API: list, create and cancel IndexingJobs."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import chain
from typing import Any

import aiohttp
from kubernetes.aio import client
from kubernetes.aio.client.exceptions import ApiException

from codebase_index.api.job import GROUP, LABEL_TARGET, PLURAL, VERSION
from codebase_index.api.resource import IndexingJob, IndexingJobSpec
from codebase_mcp.jobs.cluster import (
    Cluster,
    ClusterUnavailable,
    JobRefused,
    NameConflict,
    manifest,
    of_target,
    parse_each,
)
from codebase_mcp.kubernetes_api import open_api

REQUEST_TIMEOUT_SECONDS = 3.0
"""A tool should answer within a second; three allow for a busy API server, not for one that is down."""


_DENIED = re.compile(
    r"(?:ValidatingAdmissionPolicy|admission webhook) .* denied (?:the )?request: (.+)", re.DOTALL
)


class KubernetesCluster(Cluster):
    """`Cluster` over the real API server."""

    def __init__(self, api: client.ApiClient, namespace: str) -> None:
        self._api: Any = client.CustomObjectsApi(api)  # its annotations take no **kwargs
        self.namespace = namespace
        self._resource = {"group": GROUP, "version": VERSION, "namespace": namespace, "plural": PLURAL}

    @classmethod
    @asynccontextmanager
    async def connect(cls, namespace: str) -> AsyncIterator["KubernetesCluster"]:
        """Use the pod's service account, or else KUBECONFIG.

        Raises kubernetes.aio.config.ConfigException when there is neither. No connection is made yet.
        """
        async with open_api() as api:
            yield cls(api, namespace)

    async def list_for_target(self, spec: IndexingJobSpec) -> list[IndexingJob]:
        """Return every job with this spec's target, whoever created it.

        By the label that `create` sets, in this version or the one before. Jobs made with kubectl have none, so
        those are filtered here. Not by a field selector: Kubernetes before 1.31 has none for custom resources.
        """
        known = f"{LABEL_TARGET} in ({','.join(spec.labels_of_target)})"
        bodies = await asyncio.gather(
            self._list(label_selector=known), self._list(label_selector=f"!{LABEL_TARGET}")
        )
        return of_target(spec, chain(*bodies))

    async def list_all(self) -> list[IndexingJob]:
        """Return every job of the namespace, including those whose spec this version would refuse."""
        return list(parse_each(IndexingJob.parse_stored, await self._list()))

    async def create(self, name: str, spec: IndexingJobSpec, caller: str | None = None) -> IndexingJob:
        """Create a job; `caller` is the label of who asked for it. Raises NameConflict and JobRefused."""
        try:
            return IndexingJob.parse(await self._call(self._api.create_namespaced_custom_object(
                **self._resource, body=manifest(name, spec, caller), _request_timeout=REQUEST_TIMEOUT_SECONDS
            )))  # fmt: skip
        except ApiException as error:
            if error.status == 409:
                raise NameConflict(name) from error
            if why := _denial(error):
                raise JobRefused(why) from error
            raise _unavailable(error) from error

    async def cancel(self, name: str, uid: str) -> bool:
        """Set spec.cancel. False when no job has this name and uid any more."""
        # The uid in the patch is a precondition: for a later job of the same name it would be a change of an
        # immutable field (422), which is the only thing about this patch that can be invalid.
        body = {"metadata": {"uid": uid}, "spec": {"cancel": True}}
        try:
            await self._call(self._api.patch_namespaced_custom_object(
                **self._resource, name=name, body=body, _content_type="application/merge-patch+json",
                _request_timeout=REQUEST_TIMEOUT_SECONDS,
            ))  # fmt: skip
        except ApiException as error:
            if error.status in (404, 422):
                return False
            raise _unavailable(error) from error
        return True

    async def ping(self) -> None:
        """Check that the API answers, by a listing of one."""
        await self._list(limit=1)

    async def _list(self, **selectors: str | int) -> list[dict[str, Any]]:
        try:
            answer = await self._call(self._api.list_namespaced_custom_object(
                **self._resource, **selectors, _request_timeout=REQUEST_TIMEOUT_SECONDS
            ))  # fmt: skip
        except ApiException as error:
            raise _unavailable(error) from error
        return list(answer["items"])

    async def _call(self, request: Any) -> Any:
        try:
            return await request
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ClusterUnavailable(f"the Kubernetes API does not answer ({type(error).__name__})") from error


def _denial(error: ApiException) -> str | None:
    """Return what an admission policy or webhook says, where it is one that refused the request."""
    try:
        message = str(json.loads(error.body or "{}").get("message", ""))
    except (ValueError, AttributeError):
        return None
    found = _DENIED.search(message)
    return found[1] if found else None


def _unavailable(error: ApiException) -> ClusterUnavailable:
    reasons = {
        401: "does not accept this server's credentials",
        403: "forbids this server to use IndexingJobs; its Role must allow get, list, create and patch",
        404: "does not know IndexingJobs; install the CRD (it comes with the Helm chart)",
        422: "refuses the job as invalid",
        429: "asks to slow down",
    }
    reason = reasons.get(error.status, "fails")
    return ClusterUnavailable(f"the Kubernetes API {reason} (HTTP {error.status})")
