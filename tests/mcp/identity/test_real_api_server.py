"""Identity by a real API server: its service accounts, its tokens, its rules."""

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from kubernetes.aio import client, config

from codebase_index.api.job import AUDIENCE, GROUP
from tests.mcp.identity.conftest import Serving
from tests.mcp.identity.test_matrix import NOTHING, OWNER, READER, READING, SHOP, UNKNOWN, WRITER, matrix
from tests.support.crd import install_crd

pytestmark = pytest.mark.cluster

ROOT = Path(__file__).resolve().parents[3]
KUBECONFIG = Path(os.environ.get("KUBECONFIG") or ROOT / ".cluster" / "kubeconfig")


class Site:
    """A namespace of this test's own, with service accounts."""

    def __init__(self, api: client.ApiClient, namespace: str) -> None:
        self.namespace = namespace
        self._core, self._rbac = client.CoreV1Api(api), client.RbacAuthorizationV1Api(api)

    async def account(self, name: str, *rules: tuple[str, list[str], list[str]]) -> None:
        """Make a service account that may use verbs on resources, of some names alone where any are given."""
        meta = client.V1ObjectMeta(name=name)
        await self._core.create_namespaced_service_account(self.namespace, client.V1ServiceAccount(metadata=meta))
        given = [
            client.V1PolicyRule(api_groups=[GROUP], resources=[what], verbs=verbs, resource_names=names or None)
            for what, verbs, names in rules
        ]
        await self._rbac.create_namespaced_role(self.namespace, client.V1Role(metadata=meta, rules=given))
        binding = client.V1RoleBinding(
            metadata=meta,
            role_ref=client.V1RoleRef(api_group="rbac.authorization.k8s.io", kind="Role", name=name),
            subjects=[client.RbacV1Subject(kind="ServiceAccount", name=name, namespace=self.namespace)],
        )
        await self._rbac.create_namespaced_role_binding(self.namespace, binding)

    async def token(self, account: str, audience: str | None = AUDIENCE) -> str:
        """Return a token of an account; without an audience it is one for the API server."""
        spec = client.V1TokenRequestSpec(audiences=[audience] if audience else [], expiration_seconds=600)
        made: Any = await self._core.create_namespaced_service_account_token(
            account, self.namespace, client.AuthenticationV1TokenRequest(spec=spec)
        )
        return str(made.status.token)


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    assert KUBECONFIG.exists(), f"no cluster: {KUBECONFIG} is missing; run `make up`"
    configuration = client.Configuration()
    await config.load_kube_config(  # type: ignore[no-untyped-call]
        str(KUBECONFIG), client_configuration=configuration
    )
    async with client.ApiClient(configuration) as api:
        await install_crd(api)
        core, namespace = client.CoreV1Api(api), f"identity-{uuid4().hex[:8]}"
        await core.create_namespace(client.V1Namespace(metadata=client.V1ObjectMeta(name=namespace)))
        try:
            yield Site(api, namespace)
        finally:
            await core.delete_namespace(namespace)


async def test_rights_are_those_of_the_cluster(serving_with: Serving, site: Site, roots: Path, shop: Any) -> None:
    await shop.completed({"shop.py": "def checkout(): pass"}, path="/work/shop", namespace=site.namespace)
    await shop.completed({"bank.py": "def checkout(): pass"}, path="/work/bank", namespace=site.namespace)
    jobs, code = "indexingjobs", ("indexes", ["get"], list[str]())
    await site.account("nobody")
    await site.account("reader", code, (jobs, ["get", "list"], []))
    await site.account("writer", code, (jobs, ["get", "list", "create", "patch"], []))
    await site.account("owner", code, (jobs, ["get", "list", "create", "patch", "delete", "prioritize"], []))
    await site.account("one", ("indexes", ["get"], [SHOP]))
    tokens: dict[str, str | None] = {
        name: await site.token(name) for name in ("nobody", "reader", "writer", "owner", "one")
    }
    tokens |= {"for the API server": await site.token("owner", None), "no token": None, "garbage": "x" * 500}
    tokens["for another"] = await site.token("owner", "another")
    async with serving_with(KUBECONFIG, CODEBASE_AUTH="kubernetes", CODEBASE_NAMESPACE=site.namespace) as served:
        assert await matrix(served, tokens, roots) == {
            **dict.fromkeys(["no token", "garbage", "for the API server", "for another"], UNKNOWN),
            "nobody": NOTHING, "one": READING, "reader": READER, "writer": WRITER, "owner": OWNER,
        }  # fmt: skip
        found = await served.post(tokens["one"], "search_code", {"query": "checkout", "mode": "text"})
    assert "shop.py" in found.text and "bank" not in found.text
