"""kubeconform and kube-score, which judge Kubernetes objects as text, and the schemas that the first judges by.

These are those of the Kubernetes that `make up` runs: its module holds the OpenAPI document that its API server
serves at /openapi/v2. `python -m hack.manifests` compiles the two and fetches the module beforehand.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hack.local_cluster.build import go_module, go_program
from hack.local_cluster.console import fail
from hack.local_cluster.errors import ClusterError

SCHEMA_LOCATION = "{{.Group}}_{{.ResourceAPIVersion}}_{{.ResourceKind}}.json"
"""Where kubeconform finds the schema of a kind, in the folder of `write_schemas`. The core group is called v1."""

_KUBECONFORM = ("github.com/yannh/kubeconform/cmd/kubeconform", "v0.7.0")
_KUBE_SCORE = ("github.com/zegl/kube-score/cmd/kube-score", "v1.20.0")
_REFERENCE = "#/definitions/"

Schema = dict[str, Any]

# What the API server takes, and its OpenAPI document cannot say.
_LENIENT: dict[str, Schema] = {
    "io.k8s.apimachinery.pkg.api.resource.Quantity": {"type": ["string", "number"]},
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": {"type": ["string", "integer"]},
}


def kubeconform() -> Path:
    """kubeconform, compiled the first time. Raises ClusterError."""
    return go_program(*_KUBECONFORM)


def kube_score() -> Path:
    """kube-score, compiled the first time. Raises ClusterError."""
    return go_program(*_KUBE_SCORE)


def openapi() -> Schema:
    """The OpenAPI document of the API server of `make up`. Raises ClusterError."""
    file = go_module("k8s.io/kubernetes") / "api" / "openapi-spec" / "swagger.json"
    document: Schema = json.loads(file.read_text())
    return document


def write_schemas(document: Schema, folder: Path) -> None:
    """Write a JSON schema for each kind of an OpenAPI document, which takes no field that it does not name."""
    definitions = {name: _strict(name, definition) for name, definition in document["definitions"].items()}
    for name, definition in document["definitions"].items():
        for kind in definition.get("x-kubernetes-group-version-kind", []):
            needed = {one: definitions[one] for one in _reachable(name, definitions)}
            path = f"{kind['group'] or kind['version']}_{kind['version']}_{kind['kind'].lower()}.json"
            (folder / path).write_text(json.dumps({"$ref": _REFERENCE + name, "definitions": needed}))


def _strict(name: str, definition: Schema) -> Schema:
    if name in _LENIENT:
        return _LENIENT[name]
    # Without properties it is a map, a scalar, or anything: RawExtension and the like.
    return {"additionalProperties": False, **definition} if "properties" in definition else definition


def _reachable(name: str, definitions: Schema) -> set[str]:
    found, waiting = {name}, [name]
    while waiting:
        new = set(_references(definitions[waiting.pop()])) - found
        found |= new
        waiting += new
    return found


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        target = node.get("$ref")
        if isinstance(target, str):  # JSONSchemaProps has a property of this name
            yield target.removeprefix(_REFERENCE)
        node = list(node.values())
    for child in node if isinstance(node, list) else ():
        yield from _references(child)


def main() -> int:
    """Fetch and compile what is missing. Exit code 2 where that is not possible."""
    try:
        print(kubeconform(), kube_score(), sep="\n")
        openapi()
    except ClusterError as error:
        return fail(error)
    return 0


if __name__ == "__main__":
    sys.exit(main())
