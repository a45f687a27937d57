"""What the operator tells the pod, in environment variables."""

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from codebase_index.api.job import MAX_PROCESSES
from codebase_index.api.source_policy import SourcePolicy
from codebase_index.environment import flag
from codebase_index.store.address import Address, address_from_env
from codebase_indexer.content.secret_files import SecretPolicy
from codebase_indexer.source.disk_space import VOLUME_BYTES

MAX_CACHED_VECTORS = 1_000_000
"""Vectors of cacheable models that are kept for other jobs: 1 GB of disk at 384 dimensions, 1.8 GB at 768."""


@dataclass(frozen=True)
class Settings:
    """One attempt of one job. `spec` is the custom resource's spec as JSON, not validated yet."""

    job_id: UUID
    attempt: int
    pod: str
    spec: str
    processes: int
    policy: SourcePolicy
    work_dir: Path
    database: Address
    max_cached_vectors: int = MAX_CACHED_VECTORS
    work_bytes: int = VOLUME_BYTES
    """Size of the volume that clones are made in."""
    secrets: SecretPolicy = field(default_factory=SecretPolicy)
    requires_sandbox: bool = False
    """Whether files are read only where the processes that parse them can be confined."""
    worker_index: int = 0
    """Index of a worker pod of the attempt, from 1; 0 for the leader."""

    @property
    def is_leader(self) -> bool:
        """Whether this pod leads the attempt: it scans, reports, writes and ends the job. Workers only index."""
        return self.worker_index == 0

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ) -> "Settings":
        """Read CODEBASE_JOB_ID, _ATTEMPT, _POD, _JOB_SPEC, _PROCESSES, _WORK_BYTES, _WORKER_INDEX, _KEPT_VECTORS,
        _SKIP_SECRET_FILES, _REDACT_SECRETS, _REQUIRE_SANDBOX, the policy, and the database's address.

        Raises KeyError or ValueError for a missing or invalid value.
        """
        job_id = UUID(env["CODEBASE_JOB_ID"])
        return cls(
            job_id=job_id,
            attempt=int(env["CODEBASE_ATTEMPT"]),
            pod=env["CODEBASE_POD"],
            spec=env["CODEBASE_JOB_SPEC"],
            processes=min(
                max(1, int(env.get("CODEBASE_PROCESSES") or len(os.sched_getaffinity(0)))), MAX_PROCESSES
            ),
            policy=SourcePolicy.from_env(dict(env)),
            work_dir=Path(tempfile.gettempdir()) / f"job-{job_id}",
            database=address_from_env(env),
            max_cached_vectors=max(0, int(env.get("CODEBASE_KEPT_VECTORS") or MAX_CACHED_VECTORS)),
            work_bytes=int(env.get("CODEBASE_WORK_BYTES") or VOLUME_BYTES),
            secrets=SecretPolicy(
                skip_files=flag(env, "CODEBASE_SKIP_SECRET_FILES", ValueError, default=True),
                redact=flag(env, "CODEBASE_REDACT_SECRETS", ValueError, default=True),
            ),
            requires_sandbox=flag(env, "CODEBASE_REQUIRE_SANDBOX", ValueError),
            worker_index=int(env.get("CODEBASE_WORKER_INDEX") or 0),
        )
