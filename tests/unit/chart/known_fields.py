"""Whether Kubernetes knows each field of an object: by the types of its generated client, without a cluster."""

import re
from collections.abc import Iterator
from typing import Any, Final

from kubernetes.aio.client import models

SCALARS: Final[dict[str, type | tuple[type, ...]]] = {"str": str, "int": int, "bool": bool, "float": (int, float)}
FREE: Final = {"CustomResourceDefinition"}
"""Kinds whose schema has fields of its own: a test of the definition looks at it."""


def unknown_fields(o: dict[str, Any]) -> Iterator[str]:
    """Say what of an object is no field, or of another type. Nothing is said of kinds that it does not know."""
    version = o.get("apiVersion", "v1").rpartition("/")[2]
    model = getattr(models, f"{version.title()}{o.get('kind', 'PodTemplateSpec')}", None)
    if model is not None and o.get("kind") not in FREE:
        yield from _of_model(o, model, o.get("kind", "Pod"))


def _of_model(node: Any, model: Any, path: str) -> Iterator[str]:
    if not isinstance(node, dict):
        yield f"{path} is {node!r}, and has to be a {model.__name__}"
        return
    fields = {wire: model.openapi_types[name] for name, wire in model.attribute_map.items()}
    for name, value in node.items():
        if name not in fields:
            yield f"{path}.{name} is no field of {model.__name__}"
        else:
            yield from _of_type(value, fields[name], f"{path}.{name}")


def _of_type(value: Any, kind: str, path: str) -> Iterator[str]:
    if found := re.fullmatch(r"[Ll]ist\[(.+)\]", kind):
        if not isinstance(value, list):
            yield f"{path} is {value!r}, and has to be a list"
            return
        for number, item in enumerate(value):
            yield from _of_type(item, found[1], f"{path}[{number}]")
    elif found := re.fullmatch(r"[Dd]ict[(\[]str, (.+)[)\]]", kind):
        for name, item in (value or {}).items():
            yield from _of_type(item, found[1], f"{path}.{name}")
    elif kind in SCALARS:
        if not isinstance(value, SCALARS[kind]) or (kind == "int" and isinstance(value, bool)):
            yield f"{path} is {value!r}, and has to be a {kind}"
    elif model := getattr(models, kind, None):
        yield from _of_model(value, model, path)
