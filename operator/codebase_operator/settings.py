"""The operator's settings: the environment, and the pod template that the chart mounts."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from codebase_index.environment import flag
from codebase_index.store.address import Address, NoAddress, address_from_env, owner_address_from_env
from codebase_operator.model.site_policy import SitePolicy


class PodTemplate(BaseModel):
    """What a site decides about indexer pods; everything else is decided in `pods.py`.

    The fields are those of a pod and its container, in the wire's spelling, so the chart passes its values on.
    """

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True)

    image: str = Field(min_length=1)
    image_pull_policy: str = "IfNotPresent"
    image_pull_secrets: list[dict[str, Any]] = []
    service_account_name: str = "default"
    priority_class_name: str | None = None
    resources: dict[str, dict[str, str]] = {}
    env: list[dict[str, Any]] = []
    volumes: list[dict[str, Any]] = []
    volume_mounts: list[dict[str, Any]] = []
    node_selector: dict[str, str] = {}
    tolerations: list[dict[str, Any]] = []
    affinity: dict[str, Any] = {}
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    pod_security_context: dict[str, Any] | None = {}
    """Laid over the restricted one of `pods.py`; a field that is None is left out. None: no context at all."""
    security_context: dict[str, Any] | None = {}
    """The same, of the container."""
    extra_volume_mounts: list[dict[str, Any]] = []
    """A site's own, which may be written to; those of `volume_mounts` never are."""
    env_from: list[dict[str, Any]] = []
    init_containers: list[dict[str, Any]] = []
    runtime_class_name: str | None = None
    scheduler_name: str | None = None
    host_aliases: list[dict[str, Any]] = []
    dns_policy: str | None = None
    dns_config: dict[str, Any] = {}
    tmp_size_limit: str = "1Gi"
    work_size_limit: str = "10Gi"
    """Room for the clone of a git source."""


class SettingsInvalid(ValueError):
    """The environment or the pod template is not usable. The message names the variable and the fault."""


@dataclass(frozen=True)
class Settings:
    """Everything that the operator is told from outside."""

    namespace: str
    database: Address
    """Where Postgres is. It holds a password: never logged."""
    limit: int
    template: PodTemplate
    log_level: str = "INFO"
    lease: str | None = None
    """Name of the Lease that decides which of several operators acts; None for one that asks nobody."""
    pod: str = ""
    """Who this operator is for the others: its pod's name, so that a restarted container is still the same."""
    metrics_port: int | None = None
    worker_limit: int = 3
    """How many worker pods jobs with spec.parallelism may have at once, all together."""
    site: SitePolicy = field(default_factory=SitePolicy)
    """What jobs are allowed."""
    release: str = ""
    """The release that it is part of: operators of one stand by for each other, those of another stay out."""
    owner: Address | None = None
    """The role that migrates, for that alone; None: it is that of `database`."""
    server_deletes: bool = False
    """Whether the server's role may remove indexes."""

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ) -> "Settings":
        """Read CODEBASE_NAMESPACE, _MAX_CONCURRENT_JOBS, _POD_TEMPLATE, _LOG_LEVEL, and what is optional.

        That is CODEBASE_LEASE_NAME with CODEBASE_POD and CODEBASE_RELEASE, CODEBASE_METRICS_PORT,
        CODEBASE_MAX_WORKER_PODS, CODEBASE_SERVER_DELETES, CODEBASE_DATABASE_OWNER_URL_FILE, and what
        SitePolicy.from_env reads. Raises SettingsInvalid.
        """
        numbers = {
            "CODEBASE_MAX_CONCURRENT_JOBS": env.get("CODEBASE_MAX_CONCURRENT_JOBS", "3"),
            "CODEBASE_METRICS_PORT": env.get("CODEBASE_METRICS_PORT") or "0",
            "CODEBASE_MAX_WORKER_PODS": env.get("CODEBASE_MAX_WORKER_PODS", "3"),
        }
        for name, value in numbers.items():
            if not value.isdigit():
                raise SettingsInvalid(f"{name} must be a whole number, not {value!r}")
        lease, pod = env.get("CODEBASE_LEASE_NAME") or None, env.get("CODEBASE_POD", "")
        if lease and not pod:
            raise SettingsInvalid("CODEBASE_POD is not set: with CODEBASE_LEASE_NAME it says who holds the lease")
        for name in ("CODEBASE_NAMESPACE", "CODEBASE_POD_TEMPLATE"):
            if not env.get(name):
                raise SettingsInvalid(f"{name} is not set; the chart sets it for the operator's Deployment")
        try:
            database, owner = address_from_env(env), owner_address_from_env(env)
        except NoAddress as error:
            raise SettingsInvalid(str(error)) from error
        template = read_template(Path(env["CODEBASE_POD_TEMPLATE"]))
        try:
            site = SitePolicy.from_env(env)
        except ValueError as error:
            raise SettingsInvalid(str(error)) from error
        return cls(
            env["CODEBASE_NAMESPACE"], database, int(numbers["CODEBASE_MAX_CONCURRENT_JOBS"]), template,
            env.get("CODEBASE_LOG_LEVEL", "INFO"), lease, pod, int(numbers["CODEBASE_METRICS_PORT"]) or None,
            int(numbers["CODEBASE_MAX_WORKER_PODS"]), site, env.get("CODEBASE_RELEASE", ""),
            owner, flag(env, "CODEBASE_SERVER_DELETES", SettingsInvalid),
        )  # fmt: skip


def read_template(path: Path) -> PodTemplate:
    """Read the pod template, a JSON file. Raises SettingsInvalid."""
    try:
        return PodTemplate.model_validate(json.loads(path.read_text()))
    except (OSError, json.JSONDecodeError, ValidationError) as error:
        raise SettingsInvalid(f"the pod template {path} (CODEBASE_POD_TEMPLATE) is not usable: {error}") from error
