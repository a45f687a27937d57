"""A server in a cluster: found with the user's kubeconfig, reached through the API server."""

import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from kubernetes.aio import client, config
from kubernetes.aio.client.exceptions import ApiException
from kubernetes.aio.config import ConfigException

from codebase_cli.exits import NoServer
from codebase_cli.servers.endpoint import Endpoint
from codebase_cli.servers.port_forward import PodUnreachable, PortForward
from codebase_cli.servers.service_account import ServiceAccountToken

SELECTOR = "app.kubernetes.io/name=codebase-mcp,app.kubernetes.io/component=server"
"""Labels of the server's Service and pods, as the chart sets them."""

ANSWER_SECONDS = 5.0
"""How long the API server may take for an answer: a cluster that is gone must not hold a person up."""

INSTALL = "install it there (helm install, see charts/codebase-mcp/README.md), or use --embedded"


class NoRelease(NoServer):
    """The cluster cannot be asked, or has no release, or several. `worth_telling` is false where nobody has a
    cluster at all.
    """

    def __init__(self, message: str, *, worth_telling: bool = True) -> None:
        super().__init__(message)
        self.worth_telling = worth_telling


@dataclass(frozen=True)
class Release:
    """A release of the chart in a cluster."""

    context: str
    namespace: str
    api: client.Configuration = field(repr=False)

    def __str__(self) -> str:
        return f"the server in namespace {self.namespace} of {self.context}"


async def find_release(context: str | None, namespace: str | None) -> Release:
    """Return the release that is meant: of this namespace, else of the context's, else the cluster's only one.

    Raises NoRelease.
    """
    name, of_context, configuration = await _configuration(context)
    async with client.ApiClient(configuration) as api:
        core = client.CoreV1Api(api)
        if namespace:
            if await _has_release(core, name, namespace):
                return Release(name, namespace, configuration)
            raise NoRelease(f"no release of codebase-mcp in namespace {namespace} of {name}; {INSTALL}")
        if await _has_release(core, name, of_context):
            return Release(name, of_context, configuration)
        elsewhere = await _namespaces_with_release(core)
    if len(elsewhere) == 1:
        return Release(name, elsewhere[0], configuration)
    if elsewhere:
        raise NoRelease(
            f"{name} has releases in the namespaces {', '.join(elsewhere)}; say which with --namespace"
        )
    raise NoRelease(f"no release of codebase-mcp in {name}; {INSTALL}", worth_telling=bool(context))


@asynccontextmanager
async def forwarded(
    release: Release, token: str | None = None, service_account: str | None = None
) -> AsyncIterator[Endpoint]:
    """Open a way to the release's server through the API server, for as long as the block.

    It is sent this token, or else tokens of this service account, or else none.

    It ends in a Unix socket in a folder of this user alone: on a TCP port every user of this machine could use
    the rights of this kubeconfig. Each connection takes a pod that is ready now, so that a restart costs the calls
    in flight and nothing else.
    """
    folder = Path(tempfile.mkdtemp(prefix="codebase-mcp-"))
    try:
        async with client.ApiClient(release.api) as api:
            core = client.CoreV1Api(api)

            async def pod() -> tuple[str, int]:
                return await _ready_pod(core, release)

            forward = PortForward(release.api, release.namespace, pod)
            async with forward.listening(folder / "server"):
                account = service_account if not token else None
                auth = ServiceAccountToken(core, release.namespace, account) if account else None
                yield Endpoint("http://localhost/mcp", str(release), token, auth=auth, socket=folder / "server")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def _configuration(context: str | None) -> tuple[str, str, client.Configuration]:
    """Return the context's name and namespace, and how its API server is reached. Raises NoRelease."""
    _require_kubeconfig(worth_telling=bool(context))
    try:
        contexts, current = config.list_kube_config_contexts()  # type: ignore[no-untyped-call]
    except (ConfigException, OSError) as error:
        raise NoRelease(
            f"no usable kubeconfig ({error}); set KUBECONFIG, or use --embedded", worth_telling=bool(context)
        ) from error
    chosen = next((c for c in contexts if c["name"] == context), None) if context else current
    if chosen is None:
        names = ", ".join(c["name"] for c in contexts) or "none"
        raise NoRelease(f"the kubeconfig has no context {context}; there is {names}")
    configuration = client.Configuration()
    try:
        await config.load_kube_config(  # type: ignore[no-untyped-call]
            context=chosen["name"], client_configuration=configuration
        )
    except (ConfigException, OSError) as error:
        raise NoRelease(f"the credentials of context {chosen['name']} cannot be had: {error}") from error
    configuration.retries = 0
    return chosen["name"], chosen["context"].get("namespace") or "default", configuration


def _require_kubeconfig(*, worth_telling: bool) -> None:
    paths = [path for path in (os.environ.get("KUBECONFIG") or "~/.kube/config").split(os.pathsep) if path]
    if not any(Path(path).expanduser().exists() for path in paths):
        raise NoRelease(
            f"there is no kubeconfig at {', '.join(paths)}; set KUBECONFIG, or use --embedded",
            worth_telling=worth_telling,
        )


async def _has_release(core: client.CoreV1Api, context: str, namespace: str) -> bool:
    try:
        return bool(await _services(core.list_namespaced_service, namespace=namespace))
    except ApiException as error:
        raise NoRelease(
            f"{context} refuses to list services in namespace {namespace} ({error.status} {error.reason}); "
            "ask for the rights that charts/codebase-mcp/README.md names, or say another --namespace"
        ) from error
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise NoRelease(f"the API server of {context} does not answer ({_reason(error)})") from error


async def _namespaces_with_release(core: client.CoreV1Api) -> list[str]:
    try:
        return sorted({s.metadata.namespace for s in await _services(core.list_service_for_all_namespaces)})
    except ApiException:
        return []  # who may not look into all namespaces names one


async def _services(listing: Any, **where: str) -> list[Any]:
    answer = await listing(**where, label_selector=SELECTOR, _request_timeout=ANSWER_SECONDS)
    return list(answer.items)


async def _ready_pod(core: client.CoreV1Api, release: Release) -> tuple[str, int]:
    """Return a pod of the server that is ready, and its port for clients. Raises PodUnreachable."""
    try:
        pods: Any = await core.list_namespaced_pod(
            release.namespace, label_selector=SELECTOR, _request_timeout=ANSWER_SECONDS
        )
    except (ApiException, aiohttp.ClientError, TimeoutError, OSError) as error:
        raise PodUnreachable(f"the pods of {release} cannot be listed ({_reason(error)})") from error
    ready = [pod for pod in pods.items if not pod.metadata.deletion_timestamp and _is_ready(pod)]
    if not ready:
        raise PodUnreachable(f"no pod of {release} is ready ({len(pods.items)} there)")
    pod = min(ready, key=lambda pod: pod.metadata.name)
    ports = [port for container in pod.spec.containers for port in container.ports or ()]
    return pod.metadata.name, next(port.container_port for port in ports if port.name == "http")


def _is_ready(pod: Any) -> bool:
    return any(c.type == "Ready" and c.status == "True" for c in pod.status.conditions or ())


def _reason(error: Exception) -> str:
    if isinstance(error, ApiException):
        return f"{error.status} {error.reason}"
    if isinstance(error, TimeoutError):
        return f"no answer within {ANSWER_SECONDS:.0f} s"
    return str(error) or type(error).__name__
