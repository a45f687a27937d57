"""Makes the Secret with the embedded database's passwords: the program of a Job that is a hook of the chart.

In the cluster, so that no release, rendering or diff of helm's holds a password, and none of them can bring an
old one back (docs/decisions/0024). A Secret that is there stays as it is; what it lacks is added.
"""

import asyncio
import base64
import json
import logging
import os
import secrets
import sys
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

from codebase_index import logs
from codebase_index.store import rights
from codebase_operator.cluster.api import ApiError
from codebase_operator.cluster.kubernetes_api import KubernetesApi

log = logging.getLogger(__name__)

ROLES: Final = {"": "codebase", **{role.removeprefix("codebase_") + "-": role for role in rights.ROLES}}
"""The role that owns the database, and those of the programs, by what the keys of their values begin with."""

KEEP: Final = {"helm.sh/resource-policy": "keep"}
"""helm removes what a release had and the next one has not: builds before this one made the Secret so."""

ATTEMPTS: Final = 5
"""Against others that write the Secret in the same moment."""


def lacking(present: Mapping[str, str], host: str) -> dict[str, str]:
    """Return what a Secret with these values lacks: a password and an address at `host` for each role."""
    added: dict[str, str] = {}
    for prefix, role in ROLES.items():
        password = present.get(f"{prefix}password") or secrets.token_hex(24)
        address = f"postgresql://{role}:{quote(password, safe='')}@{host}:5432/codebase"
        added |= {f"{prefix}password": password, f"{prefix}url": address}
    return {key: value for key, value in added.items() if not present.get(key)}


async def ensure(api: KubernetesApi, name: str, host: str, labels: Mapping[str, str]) -> str:
    """Make the Secret, or add what it lacks; return what was done, for the log. Raises ApiError."""
    for _ in range(ATTEMPTS):
        try:
            return await _ensure(api, name, host, labels)
        except ApiError as error:
            if error.status != 409:
                raise
    raise ApiError(409, f"the Secret {name} was changed by others {ATTEMPTS} times in a row")


async def _ensure(api: KubernetesApi, name: str, host: str, labels: Mapping[str, str]) -> str:
    try:
        found = await api.read_secret(name)
    except ApiError as error:
        if error.status != 404:
            raise
        metadata = {"name": name, "labels": dict(labels), "annotations": KEEP}
        secret = {"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "metadata": metadata}
        await api.create_secret({**secret, "stringData": lacking({}, host)})
        return "made"
    present = {key: base64.b64decode(value).decode() for key, value in (found.get("data") or {}).items()}
    added = lacking(present, host)
    if not added and KEEP.items() <= (found["metadata"].get("annotations") or {}).items():
        return "kept as it is"
    metadata = {"resourceVersion": found["metadata"]["resourceVersion"], "annotations": KEEP}
    await api.merge_secret(name, {"metadata": metadata, "stringData": added})
    return f"kept, and given {', '.join(added) or 'the annotation by which helm keeps it'}"


async def run(env: Mapping[str, str]) -> str:
    """Do it in the pod's namespace, with its account. Raises ApiError."""
    api = await KubernetesApi.connect(env["CODEBASE_NAMESPACE"])
    try:
        labels: dict[str, Any] = json.loads(env["CODEBASE_SECRET_LABELS"])
        return await ensure(api, env["CODEBASE_SECRET"], env["CODEBASE_DATABASE_HOST"], labels)
    finally:
        await api.close()


def main() -> int:
    """Do it; 1 when the API server refuses or does not answer: the Job tries again."""
    logs.configure("database-secret", os.environ.get("CODEBASE_LOG_LEVEL", "INFO"))
    name = os.environ["CODEBASE_SECRET"]
    try:
        done = asyncio.run(run(os.environ))
    except ApiError as error:
        log.error("the Secret %s is not made: %s; the Job tries again", name, error)
        return 1
    log.info("the Secret %s is %s", name, done)
    return 0


if __name__ == "__main__":
    sys.exit(main())
