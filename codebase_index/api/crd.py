"""The CustomResourceDefinition, generated from the pydantic types: schema, defaults and Python cannot drift.

`python -m codebase_index.api.crd` writes the files, `--check` fails when one is stale, `--print` shows the YAML.
"""

import math
import sys
from pathlib import Path
from typing import Any, Final

import yaml

from codebase_index.api.job import GROUP, KIND, MAX_NAME_LENGTH, PLURAL, VERSION
from codebase_index.api.resource import IndexingJobSpec, IndexingJobStatus

FILES: Final = (
    Path("crds") / f"{PLURAL}.{GROUP}.yaml",
    Path("charts/codebase-mcp/files/crd.yaml"),  # included by a template, behind crds.enabled
)

_HEADER: Final = "# Generated from codebase_index/api/resource.py by `make generate`; do not edit.\n"

_SCHEMA_KEYWORDS: Final = frozenset(
    {"type", "format", "description", "default", "enum", "pattern", "items", "properties", "required"}
    | {"minimum", "maximum", "minLength", "maxLength", "maxItems"}
)  # fmt: skip

_COLUMNS: Final = (
    ("Source", "string", ".status.source", 0, "Where the code is: a path, or an address"),
    ("Ref", "string", ".spec.ref", 0, "Branch, tag or commit; empty: the default branch, or what the path holds"),
    (
        "Phase",
        "string",
        ".status.phase",
        0,
        "Pending, Running, Blocked, Suspended, Completed, Failed or Cancelled",
    ),
    ("Progress", "string", ".status.percentage", 0, "Per cent done"),
    ("Files", "integer", ".status.progress.filesIndexed", 0, "Files indexed"),
    ("Total", "integer", ".status.progress.filesTotal", 0, "Files to index, known when the scan has ended"),
    ("Queue", "integer", ".status.queuePosition", 0, "Place among the waiting jobs, from 1"),
    ("Reason", "string", ".status.reason", 0, "Why the job is in this phase"),
    ("Age", "date", ".metadata.creationTimestamp", 0, "How long ago the job was made"),
    ("Chunks", "integer", ".status.progress.chunksCreated", 1, "Chunks written"),
    ("Commit", "string", ".status.commit", 1, "The commit that is indexed"),
    ("Pod", "string", ".status.podName", 1, "The pod that works on the job, or did last"),
    ("Node", "string", ".status.nodeName", 1, "The node that it runs on"),
    ("Attempt", "integer", ".status.attempt", 1, "The fencing token"),
    ("Message", "string", ".status.message", 1, "The same as the reason, for people, with what to do"),
)

_SOURCE_RULES: Final = (
    {"rule": "has(self.path) != has(self.git)", "message": "give exactly one of path and git"},
    {"rule": "self == oldSelf", "message": "source is immutable; create another job"},
)
_EMBEDDING_RULES: Final = ({"rule": "self == oldSelf", "message": "embedding is immutable; create another job"},)
_FILTERS: Final = ("include", "exclude")
_SPEC_RULES: Final = (
    {"rule": "!oldSelf.cancel || self.cancel", "message": "a cancelled job stays cancelled; create another job"},
    {
        # An index belongs to source, ref and filters: another one of these under way would be another index.
        "rule": "has(self.ref) == has(oldSelf.ref) && (!has(self.ref) || self.ref == oldSelf.ref)",
        "message": "ref is immutable; create another job",
    },
    *(
        {
            "rule": f"has(self.{name}) == has(oldSelf.{name})"
            f" && (!has(self.{name}) || self.{name} == oldSelf.{name})",
            "message": f"{name} is immutable; create another job",
        }
        for name in _FILTERS
    ),
    {
        "rule": "!has(self.ref) || (!self.ref.endsWith('.lock') && !self.ref.contains('.lock/'))",
        "message": "ref must not end with .lock, nor may a part of it: git knows no such ref",
    },
)
_ROOT_RULES: Final = (
    {
        "rule": f"size(self.metadata.name) <= {MAX_NAME_LENGTH}",
        "message": f"metadata.name must be at most {MAX_NAME_LENGTH} characters: pod names are made from it",
    },
)


def crd() -> dict[str, Any]:
    """Return the definition as the API server takes it."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{PLURAL}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": KIND, "listKind": f"{KIND}List", "plural": PLURAL, "singular": KIND.lower(),
                "shortNames": ["ij"], "categories": ["indexing"],
            },
            "versions": [_version()],
        },
    }  # fmt: skip


def _version() -> dict[str, Any]:
    return {
        "name": VERSION,
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "schema": {"openAPIV3Schema": _root_schema()},
        "selectableFields": [
            {"jsonPath": path} for path in (".status.phase", ".spec.source.path", ".spec.source.git.url")
        ],
        "additionalPrinterColumns": [
            {
                "name": name, "type": kind, "jsonPath": path,
                **({"priority": priority} if priority else {}), **({"description": text} if text else {}),
            }
            for name, kind, path, priority, text in _COLUMNS
        ],
    }  # fmt: skip


def _root_schema() -> dict[str, Any]:
    spec, status = structural(IndexingJobSpec), structural(IndexingJobStatus)
    spec["x-kubernetes-validations"] = list(_SPEC_RULES)
    spec["properties"]["source"]["x-kubernetes-validations"] = list(_SOURCE_RULES)
    spec["properties"]["embedding"]["x-kubernetes-validations"] = list(_EMBEDDING_RULES)
    status["properties"]["conditions"] |= {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}
    return {
        "type": "object",
        "description": "A repository to be indexed in the background, and how far that is.",
        "required": ["spec"],
        "properties": {
            "apiVersion": {
                "type": "string",
                "description": "Version of this form: indexing.codebase-mcp.io/v1alpha1.",
            },
            "kind": {"type": "string", "description": "IndexingJob."},
            "metadata": {"type": "object"},  # the API server describes it, and refuses a description of ours
            "spec": spec,
            "status": status,
        },
        "x-kubernetes-validations": list(_ROOT_RULES),
    }


def structural(model: type[IndexingJobSpec] | type[IndexingJobStatus]) -> dict[str, Any]:
    """Return a model's schema in the structural form that Kubernetes demands: no references, no alternatives."""
    schema = model.model_json_schema(by_alias=True)
    return _flatten(schema, schema.get("$defs", {}))


def _flatten(node: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    if "$ref" in node:
        target = definitions[node["$ref"].rsplit("/", 1)[-1]]
        return _flatten({**target, **{key: value for key, value in node.items() if key != "$ref"}}, definitions)
    if "anyOf" in node:  # an optional field: it is absent rather than null
        (inner,) = (option for option in node["anyOf"] if option.get("type") != "null")
        rest = {key: value for key, value in node.items() if key not in ("anyOf", "default")}
        return _flatten({**inner, **rest}, definitions)
    flat = {key: value for key, value in node.items() if key in _SCHEMA_KEYWORDS}
    if "properties" in flat:
        flat["properties"] = {name: _flatten(child, definitions) for name, child in flat["properties"].items()}
    if "items" in flat:
        flat["items"] = _flatten(flat["items"], definitions)
    if flat.get("type") == "integer":
        flat["format"] = "int64"
    if isinstance(flat.get("default"), dict):
        flat["default"] = {name: value for name, value in flat["default"].items() if value is not None}
    if "description" in flat:
        flat["description"] = " ".join(flat["description"].split())
    return flat


def document() -> str:
    """Return the text of the generated files."""
    return _HEADER + yaml.safe_dump(crd(), sort_keys=False, allow_unicode=True, width=math.inf)


def main(arguments: list[str]) -> int:
    """Write the files, or with --check compare them, or with --print show the text."""
    root, text = Path(__file__).resolve().parents[2], document()
    if "--print" in arguments:
        sys.stdout.write(text)
        return 0
    stale = [path for path in FILES if not (root / path).exists() or (root / path).read_text() != text]
    if "--check" in arguments:
        for path in stale:
            sys.stderr.write(f"{path} is stale: run `make generate` and commit it\n")
        return 1 if stale else 0
    for path in stale:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
