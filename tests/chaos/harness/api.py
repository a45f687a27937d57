"""A small asynchronous client of the Kubernetes API that survives the API server's own outages."""

import base64
import json
import ssl
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx

_MERGE_PATCH = {"Content-Type": "application/merge-patch+json"}


class ApiRefused(RuntimeError):
    """The API server answered with an error; the message is its own."""


class Api:
    """Requests as the cluster's administrator. Methods raise httpx.TransportError while the server is away."""

    def __init__(self, kubeconfig: Path) -> None:
        config = json.loads(kubeconfig.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        tls = ssl.create_default_context(cadata=_decoded(cluster, "certificate-authority-data"))
        with tempfile.NamedTemporaryFile("w") as pair:  # ssl reads certificates from files only
            pair.write(_decoded(user, "client-certificate-data") + _decoded(user, "client-key-data"))
            pair.flush()
            tls.load_cert_chain(pair.name)
        self._http = httpx.AsyncClient(base_url=cluster["server"], verify=tls, timeout=10, trust_env=False)

    async def close(self) -> None:
        """Close every connection."""
        await self._http.aclose()

    async def get(self, path: str, **query: str) -> dict[str, Any]:
        """Return an object or a list. Raises ApiRefused."""
        return _answer(await self._http.get(path, params=query))

    async def create(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Post an object to a collection or subresource. Raises ApiRefused."""
        return _answer(await self._http.post(path, json=body))

    async def patch(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Merge fields into an object. Raises ApiRefused."""
        return _answer(await self._http.patch(path, content=json.dumps(body), headers=_MERGE_PATCH))

    async def delete(self, path: str, **query: str) -> None:
        """Delete an object, or a collection; one that is gone already is fine. Raises ApiRefused."""
        answer = await self._http.delete(path, params=query)
        if answer.status_code != httpx.codes.NOT_FOUND:
            _answer(answer)

    async def watch(self, path: str, **query: str) -> AsyncIterator[dict[str, Any]]:
        """Yield the events of a collection until the server ends the watch."""
        asked = {"watch": "true", "timeoutSeconds": "300", **query}
        limit = httpx.Timeout(10, read=310)
        async with self._http.stream("GET", path, params=asked, timeout=limit) as answer:
            answer.raise_for_status()
            async for line in answer.aiter_lines():
                yield json.loads(line)


def _decoded(section: dict[str, str], field: str) -> str:
    return base64.b64decode(section[field]).decode()


def _answer(response: httpx.Response) -> dict[str, Any]:
    if response.is_error:
        raise ApiRefused(f"{response.request.method} {response.request.url.path}: {response.text}")
    return dict(response.json())
