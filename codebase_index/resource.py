"""The IndexingJob custom resource as pydantic types: the CRD is generated from them (`crd.py`).

`spec` is intent, written by users and the MCP server; `status` is a mirror for people and kubectl,
written by the operator alone. The facts of the work are in Postgres.
"""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from codebase_index.job import target_of

LongText = Annotated[str, Field(max_length=4096)]
ShortText = Annotated[str, Field(max_length=253)]
Glob = Annotated[str, Field(min_length=1, max_length=256)]


class _Model(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True)


class SecretRef(_Model):
    """A Secret of the job's namespace with `username` and `password`, or `ssh-privatekey`."""

    name: ShortText = Field(min_length=1)


class GitSource(_Model):
    """A repository to clone."""

    url: str = Field(min_length=1, max_length=2048, pattern=r"^(https|ssh)://[^\s]+$")
    secret_ref: SecretRef | None = None


class Source(_Model):
    """Where the code is: exactly one of a path under a repository root, and a git URL."""

    path: str | None = Field(default=None, min_length=1, max_length=4096, pattern=r"^/")
    git: GitSource | None = None

    def __str__(self) -> str:
        return self.path or (self.git.url if self.git else "")


class EmbeddingSpec(_Model):
    """Which model makes the vectors. The default needs no service."""

    provider: Literal["static", "ollama", "openai"] = "static"
    model: ShortText | None = None


class Resources(_Model):
    """Limits for the indexer pod, as Kubernetes quantities. Absent: the operator's defaults."""

    cpu: str | None = Field(default=None, max_length=16, pattern=r"^[0-9]+(\.[0-9]+)?m?$")
    memory: str | None = Field(default=None, max_length=16, pattern=r"^[0-9]+(Mi|Gi)$")


class IndexingJobSpec(_Model):
    """What the user wants."""

    source: Source
    ref: str | None = Field(default=None, min_length=1, max_length=255, pattern=r"^[A-Za-z0-9][A-Za-z0-9._/@+-]*$")
    name: ShortText | None = None
    force_reindex: bool = False
    priority: int = Field(default=0, ge=-1000, le=1000)
    parallelism: int = Field(default=1, ge=1, le=16)
    suspend: bool = False
    cancel: bool = False
    embedding: EmbeddingSpec = EmbeddingSpec()
    include: list[Glob] = Field(default=[], max_length=64)
    exclude: list[Glob] = Field(default=[], max_length=64)
    backoff_limit: int = Field(default=6, ge=0, le=100)
    active_deadline_seconds: int | None = Field(default=None, ge=1, le=604800)
    ttl_seconds_after_finished: int = Field(default=604800, ge=0, le=31536000)
    resources: Resources | None = None

    @property
    def target(self) -> str:
        """Digest of source and ref: jobs with one target share an index."""
        return target_of(str(self.source), self.ref)


class Progress(_Model):
    """How far the work is. Neither the percentage nor a counter ever falls."""

    percent: int = Field(default=0, ge=0, le=100)
    phase: ShortText | None = None
    message: LongText | None = None
    files_total: int | None = None
    files_indexed: int = 0
    files_skipped: int = 0
    chunks_created: int = 0
    estimated_remaining_seconds: int | None = None
    last_updated_time: datetime | None = None


class Condition(_Model):
    """One aspect of the job's state, in the form of `metav1.Condition`."""

    type: ShortText
    status: Literal["True", "False", "Unknown"]
    reason: ShortText
    message: Annotated[str, Field(max_length=32768)] = ""
    last_transition_time: datetime
    observed_generation: int | None = None


class IndexingJobStatus(_Model):
    """The operator's mirror of the `jobs` row, and of the pod."""

    # A status written by a newer operator must not stop an older one.
    model_config = ConfigDict(extra="ignore")

    phase: ShortText | None = None
    reason: ShortText | None = None
    message: LongText | None = None
    conditions: list[Condition] = Field(default=[], max_length=16)
    attempt: int = 0
    restarts: int = 0
    progress: Progress | None = None
    queue_position: int | None = None
    commit: ShortText | None = None
    pod_name: ShortText | None = None
    node_name: ShortText | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    cancelled_at: datetime | None = None
    observed_generation: int | None = None


class Metadata(BaseModel):
    """The part of ObjectMeta that we read."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="ignore", frozen=True)

    name: str
    namespace: str
    uid: str
    resource_version: str = ""
    generation: int = 0
    creation_timestamp: datetime
    deletion_timestamp: datetime | None = None
    labels: dict[str, str] = {}


class IndexingJob(BaseModel):
    """A custom resource as the API server returns it."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    metadata: Metadata
    spec: IndexingJobSpec
    status: IndexingJobStatus = IndexingJobStatus()

    @classmethod
    def parse(cls, body: dict[str, Any]) -> "IndexingJob":
        """Read a body from the API. Raises pydantic.ValidationError for one that the CRD should refuse."""
        return cls.model_validate(body)
