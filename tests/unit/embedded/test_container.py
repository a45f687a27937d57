"""What of a pod's manifest a process keeps."""

from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from codebase_embedded.operator_process import pod_template
from codebase_embedded.pods.container import container_of
from codebase_embedded.settings import Settings
from codebase_operator.cluster.pods import indexer_pod
from tests.operator.builders import job

FOLDER = Path("/data/pods/1")
ENVIRONMENT = {"PATH": "/usr/bin", "HOME": "/home/ada", "AWS_SECRET_ACCESS_KEY": "x"}
DATABASE = {"CODEBASE_DATABASE_URL_FILE": "/data/database-url"}


def pod(*variables: dict[str, Any], **main: Any) -> dict[str, Any]:
    container = {
        "env": list(variables),
        "volumeMounts": [{"name": "work", "mountPath": "/work"}, {"name": "roots", "mountPath": "/roots"}],
        **main,
    }
    volumes = [{"name": "work", "emptyDir": {}}, {"name": "roots", "hostPath": {"path": "/srv"}}]
    return {"metadata": {"name": "shop-a1"}, "spec": {"containers": [container], "volumes": volumes}}


def environment(*variables: dict[str, Any]) -> dict[str, str]:
    return dict(container_of(pod(*variables), FOLDER, {}).environment)


def test_a_process_inherits_nothing_that_may_be_secret() -> None:
    assert container_of(pod(), FOLDER, ENVIRONMENT).environment == {"PATH": "/usr/bin", "HOME": "/home/ada"}


@pytest.mark.parametrize(
    ("value", "means"),
    [
        ("$(A)/b", "a/b"),
        ("$$(A)", "$(A)"),
        ("$(UNKNOWN)", "$(UNKNOWN)"),
        ("$5", "$5"),
        ("/work", "/data/pods/1/work"),
        ("/work/data/database-url", "/work/data/database-url"),  # a path of the machine's
        ("/roots/shop", "/roots/shop"),
    ],
)
def test_a_value_is_expanded_as_the_kubelet_does(value: str, means: str) -> None:
    assert environment({"name": "A", "value": "a"}, {"name": "B", "value": value})["B"] == means


def test_a_field_of_the_pod_is_a_value() -> None:
    field = {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}
    assert environment(field) == {"POD": "shop-a1"}


def test_memory_is_limited_and_nothing_is_dumped() -> None:
    limited = pod(resources={"limits": {"cpu": "2", "memory": "512Mi"}})
    assert container_of(limited, FOLDER, {}).limits == {"CORE": 0, "DATA": 512 * 2**20}


def test_the_operators_own_manifest_gives_an_indexer_all_that_it_reads() -> None:
    settings = Settings(Path("/data"), roots=(Path("/home/$ada"),), processes=2)
    shop = job("shop", source={"path": "/home/$ada/shop"})
    manifest = indexer_pod(shop, 3, pod_template(settings, DATABASE))
    manifest["metadata"]["uid"] = str(uuid4())
    container = container_of(manifest, FOLDER, ENVIRONMENT)
    assert container.environment["CODEBASE_POD"] == "shop-a3" and container.environment["CODEBASE_ATTEMPT"] == "3"
    assert container.environment["CODEBASE_ROOTS"] == '[{"path": "/home/$ada"}]'
    assert '"/home/$ada/shop"' in container.environment["CODEBASE_JOB_SPEC"]
    assert container.environment["TMPDIR"] == "/data/pods/1/work" and FOLDER / "work" in container.folders
    assert container.environment["CODEBASE_DATABASE_URL_FILE"] == "/data/database-url"
    assert container.environment["CODEBASE_PROCESSES"] == "2" and container.grace == 3
