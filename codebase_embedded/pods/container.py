"""What of a pod's manifest a process can keep: its environment, folders and limits. Pure.

A process has no mounts of its own. A variable whose value is the path of an emptyDir gets the folder that is made
for it; every other path is the same inside and outside.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from codebase_operator.model.quantities import number

INHERITED: Final = frozenset({
    "PATH", "HOME", "LANG", "LC_ALL", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR",
    "HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "NO_PROXY", "no_proxy",
    "OLLAMA_URL", "OPENAI_API_KEY", "OPENAI_BASE_URL", "EMBEDDING_CONCURRENCY",
    "CODEBASE_MODELS", "CODEBASE_KEPT_VECTORS", "CODEBASE_SKIP_SECRET_FILES", "CODEBASE_REDACT_SECRETS",
    "CODEBASE_REQUIRE_SANDBOX",
    "CODEBASE_SSH_KNOWN_HOSTS", "CODEBASE_TRUSTED_CA",
    "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_HEADERS",
    "OTEL_EXPORTER_OTLP_TIMEOUT", "OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG", "OTEL_RESOURCE_ATTRIBUTES",
})  # fmt: skip
"""What a process gets of the instance's environment; on a cluster, image and chart give it."""

NICE: Final = 5
"""Niceness of an indexer: searches, and the user's own programs, go first."""

_REFERENCE: Final = re.compile(r"\$\$|\$\(([A-Za-z_][A-Za-z0-9_]*)\)")


@dataclass(frozen=True)
class Container:
    """The one container of a pod, as a process."""

    environment: Mapping[str, str]
    folders: tuple[Path, ...]
    """Those of its emptyDir volumes; they go with the pod."""
    limits: Mapping[str, int]
    """Resource limits by the names of `setrlimit`, without RLIMIT_."""
    grace: float
    """Seconds from SIGTERM to SIGKILL."""


def container_of(pod: Mapping[str, Any], folder: Path, inherited: Mapping[str, str]) -> Container:
    """Read a pod's manifest. `folder` is the pod's own, for its volumes."""
    spec = pod["spec"]
    main = spec["containers"][0]
    empty = {volume["name"] for volume in spec.get("volumes") or () if "emptyDir" in volume}
    volumes = {
        mount["mountPath"]: folder / mount["name"]
        for mount in main.get("volumeMounts") or ()
        if mount["name"] in empty
    }
    environment = {name: value for name, value in inherited.items() if name in INHERITED}
    for variable in main.get("env") or ():
        value = _value(variable, pod, environment)
        environment[variable["name"]] = str(volumes.get(value, value))
    return Container(
        environment=environment,
        folders=tuple(volumes.values()),
        limits=_limits(main.get("resources") or {}),
        grace=spec.get("terminationGracePeriodSeconds", 30),
    )


def _value(variable: Mapping[str, Any], pod: Mapping[str, Any], earlier: Mapping[str, str]) -> str:
    field = ((variable.get("valueFrom") or {}).get("fieldRef") or {}).get("fieldPath")
    if field is not None:
        found: Any = pod
        for name in field.split("."):
            found = found[name]
        return str(found)

    def expand(reference: re.Match[str]) -> str:
        return "$" if reference[1] is None else earlier.get(reference[1], reference[0])

    return _REFERENCE.sub(expand, variable.get("value") or "")


def _limits(resources: Mapping[str, Any]) -> dict[str, int]:
    """Return the limits that a process can have. There are no dumps of memory, which may hold anybody's code.

    Memory is limited for each process, not for all of a pod, and without what it maps from files (RLIMIT_DATA).
    """
    limits = {"CORE": 0}
    memory = (resources.get("limits") or {}).get("memory")
    if memory:
        limits["DATA"] = int(number(memory))
    return limits
