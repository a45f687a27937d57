"""A namespace has one release: a second one is refused at its installation."""

import pytest

from hack.deployment.chart import NAMESPACE, RELEASE
from hack.deployment.commands import CHECKOUT, CommandFailed, helm

pytestmark = pytest.mark.cluster


def test_a_second_release_in_the_namespace_is_refused_with_what_to_do(server_url: str) -> None:
    with pytest.raises(
        CommandFailed,
        match=f"release {RELEASE} of codebase-mcp runs the jobs of namespace {NAMESPACE}.*a namespace of its own",
    ):
        helm(
            "install", "second", str(CHECKOUT / "charts" / "codebase-mcp"), "--namespace", NAMESPACE,
            "--values", str(CHECKOUT / ".images" / "values.yaml"), "--set", "repositories.gitHosts={example.org}",
            "--dry-run=server",
        )  # fmt: skip
