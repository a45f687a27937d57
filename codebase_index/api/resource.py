"""The IndexingJob custom resource as pydantic types: the CRD is generated from them (`crd.py`).

`spec` is intent, written by users and the MCP server; `status` is a mirror for people and kubectl,
written by the operator alone. The facts of the work are in Postgres.
"""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel

from codebase_index.api.counters import Counters
from codebase_index.api.git_url import MAX_URL_LENGTH, GitUrl, identity_of
from codebase_index.api.job import JobState, target_of
from codebase_index.api.shapes import CPU, GIT_URL, LINE, MEMORY, MODEL, PATH, REF, SECRET_NAME

# Of the status, which the operator alone writes. No shapes: a mirror that an older one wrote must be readable.
LongText = Annotated[str, Field(max_length=4096)]
ShortText = Annotated[str, Field(max_length=253)]

# Of the spec, which anybody may write.
Name = Annotated[str, Field(max_length=253), LINE]
Glob = Annotated[str, Field(min_length=1, max_length=256), LINE]


def _validate_ref(ref: str) -> str:
    # git keeps locks beside refs. RE2 cannot say it, so the CRD has a rule of its own (crd.py).
    if ref.endswith(".lock") or ".lock/" in ref:
        raise ValueError("must not end with .lock, nor may a part of it: git knows no such ref")
    if not ref.isprintable():
        raise ValueError("must be " + REF.allowed)
    return ref


def _validate_git_url(url: str) -> str:
    GitUrl.parse(url)
    return url


Ref = Annotated[str, Field(min_length=1, max_length=255), REF, AfterValidator(_validate_ref)]
GitAddress = Annotated[
    str, Field(min_length=1, max_length=MAX_URL_LENGTH), GIT_URL, AfterValidator(_validate_git_url)
]


class _Model(BaseModel):
    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,  # `kubectl explain` shows them
    )


class SecretRef(_Model):
    """A Secret of the job's namespace with `username` and `password`, or `ssh-privatekey`."""

    name: Annotated[str, Field(min_length=1, max_length=253), SECRET_NAME]
    """The Secret's name. It has to be labelled for git, and annotated with the hosts it is for."""


class GitSource(_Model):
    """A repository to clone."""

    url: GitAddress
    """An https or ssh URL of an allowed host, without credentials."""
    secret_ref: SecretRef | None = None
    """Credentials for a private repository."""


class Source(_Model):
    """Where the code is: exactly one of a path under a repository root, and a git URL."""

    path: Annotated[str, Field(min_length=1, max_length=4096), PATH] | None = None
    """Absolute path of the repository, under one of the configured roots."""
    git: GitSource | None = None
    """A repository to clone instead."""

    @model_validator(mode="after")
    def _exactly_one(self) -> "Source":
        if (self.path is None) == (self.git is None):
            raise ValueError("must be exactly one of path and git")
        return self

    def __str__(self) -> str:
        return self.path or (self.git.url if self.git else "")

    @property
    def identity(self) -> str:
        """What tells this source from others, however it is spelt."""
        return identity_of(self.git.url) if self.git else self.path or ""


class EmbeddingSpec(_Model):
    """Which model makes the vectors. The default needs no service."""

    provider: Literal["static", "sentence-transformers", "ollama", "openai"] = "static"
    """static and sentence-transformers run inside the indexer; the others are services."""
    model: Annotated[str, Field(min_length=1, max_length=253), MODEL] | None = None
    """The provider's name of the model; absent: its default."""


class Resources(_Model):
    """Limits for the indexer pod, as Kubernetes quantities. Absent: the operator's defaults."""

    cpu: Annotated[str, Field(max_length=16), CPU] | None = None
    """Cores, such as 2 or 1500m: one process for each."""
    memory: Annotated[str, Field(max_length=16), MEMORY] | None = None
    """Memory, such as 4Gi: up to 300 MB for each process, and 250 MB."""


class IndexingJobSpec(_Model):
    """What the user wants."""

    source: Source
    """Where the code is. Immutable."""
    ref: Ref | None = None
    """Branch, tag or commit; absent: what the path holds, or the default branch. Immutable."""
    name: Name | None = None
    """A name for people and for searches."""
    force_reindex: bool = False
    """Index unchanged files again too."""
    priority: int = Field(default=0, ge=-1000, le=1000)
    """Higher gets a slot first; among equals the older job."""
    parallelism: int = Field(default=1, ge=1, le=16)
    """How many pods may work on it at once, of those that the site has to give."""
    suspend: bool = False
    """Stop for now and free the slot; what is done is kept."""
    cancel: bool = False
    """Stop for good. Cannot be taken back."""
    embedding: EmbeddingSpec = EmbeddingSpec()
    """Which model makes the vectors. Immutable."""
    include: list[Glob] = Field(default=[], max_length=64)
    """Globs of the files to index; none: all. Jobs with other globs fill another index. Immutable."""
    exclude: list[Glob] = Field(default=[], max_length=64)
    """Globs of files to leave out, beside .gitignore and .mcpignore; as for include. Immutable."""
    backoff_limit: int = Field(default=6, ge=0, le=100)
    """How many attempts may fail by themselves before the job does. Disruptions are not counted."""
    active_deadline_seconds: int | None = Field(default=None, ge=1, le=604800)
    """The job fails when it is not finished so long after its first start. Time of suspension counts."""
    ttl_seconds_after_finished: int = Field(default=604800, ge=0, le=31536000)
    """How long the finished job is kept. The index stays."""
    resources: Resources | None = None
    """Limits for the indexer pod; absent: the operator's defaults."""

    @property
    def target(self) -> str:
        """Digest of source, ref and filters: jobs of a namespace with one target share an index."""
        return target_of(self.source.identity, self.ref, self.include, self.exclude)

    @property
    def labels_of_target(self) -> list[str]:
        """What the label of a job for this target may say, today's target first.

        Version 0.1.0 made it from the address as it was written, and knew no filters. Of its spellings these are
        looked for: as it is written now, in its canonical form, and without and with `.git`.
        """
        written = [str(self.source)]
        if self.source.git:
            identity = self.source.identity
            written += [str(GitUrl.parse(self.source.git.url)), identity, f"{identity}.git"]
        return list(dict.fromkeys([self.target, *(target_of(text, self.ref) for text in written)]))

    @classmethod
    def stored(cls, given: dict[str, Any]) -> "IndexingJobSpec":
        """Read of a spec that an older version took in, and this one refuses, what names the job. Never raises.

        Nothing is done with it: it is shown, and counted as what it is.
        """
        source = _mapping(given.get("source"))
        git = _mapping(source.get("git"))
        url = GitSource.model_construct(url=_text(git.get("url")) or "") if git else None
        return cls.model_construct(
            source=Source.model_construct(path=_text(source.get("path")), git=url),
            ref=_text(given.get("ref")), name=_text(given.get("name")),
            suspend=given.get("suspend") is True, cancel=given.get("cancel") is True,
        )  # fmt: skip


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


class _Mirror(_Model):
    # A status written by a newer operator must not stop an older one, nor an older server.
    model_config = ConfigDict(extra="ignore")


class Stage(_Mirror):
    """What a job is at."""

    percent: int = Field(default=0, ge=0, le=100)
    """Per cent done."""
    phase: ShortText | None = None
    """What it is at: scanning, indexing and so on."""
    message: LongText | None = None
    """The same as a sentence."""
    files_total: int | None = None
    """Known when the scan has ended."""


class Progress(Counters, Stage):
    """How far the work is. Neither the percentage nor a counter ever falls."""

    estimated_remaining_seconds: int | None = None
    """How long the rest will take at the present pace; absent while that cannot be said."""
    last_updated_time: datetime | None = None
    """When this was written; every two seconds at most."""


class Condition(_Mirror):
    """One aspect of the job's state, in the form of `metav1.Condition`."""

    type: ShortText
    """Admitted, Running, Suspended, Cancelled, Succeeded, Degraded, Complete, Failed, Stalled or Ready."""
    status: Literal["True", "False", "Unknown"]
    """Whether it is so."""
    reason: ShortText
    """Why, in one word."""
    message: Annotated[str, Field(max_length=32768)] = ""
    """Why, for people."""
    last_transition_time: datetime
    """Since when it has had this status."""
    observed_generation: int | None = None
    """Generation of the resource that this is about."""


class IndexingJobStatus(_Mirror):
    """The operator's mirror of the `jobs` row, and of the pod."""

    phase: ShortText | None = None
    """For display: Pending, Running, Blocked, Suspended, Completed, Failed or Cancelled. Conditions say more."""
    reason: ShortText | None = None
    """Why the job is in this phase, in one word."""
    message: LongText | None = None
    """The same for people, with what to do."""
    conditions: list[Condition] = Field(default=[], max_length=16)
    """How the job stands, one aspect each: what `kubectl wait ij/NAME --for=condition=Complete` waits for."""
    source: LongText | None = None
    """Where the code is, in one field: the path, or the address."""
    percentage: ShortText | None = None
    """How far the work is, as `kubectl get` shows it: 42%."""
    attempt: int = 0
    """The fencing token: only the pod of this attempt may write."""
    restarts: int = 0
    """How often a container or a pod was started again."""
    progress: Progress | None = None
    queue_position: int | None = None
    """Place among the waiting jobs, from 1."""
    commit: ShortText | None = None
    """The commit that is indexed."""
    pod_name: ShortText | None = None
    """The pod that works on the job, or did last."""
    node_name: ShortText | None = None
    """The node that it runs on."""
    started_at: datetime | None = None
    """When the first pod began to work on the job."""
    completed_at: datetime | None = None
    """When the job ended, completed or failed."""
    cancelled_at: datetime | None = None
    """When the job ended, cancelled."""
    observed_generation: int | None = None
    """Generation of the resource that this status is about."""


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
    annotations: dict[str, str] = {}


class IndexingJob(BaseModel):
    """A custom resource as the API server returns it."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    metadata: Metadata
    spec: IndexingJobSpec
    status: IndexingJobStatus = IndexingJobStatus()

    @property
    def state(self) -> JobState:
        """The state that its status mirrors; pending before the operator has seen it."""
        try:
            return JobState((self.status.phase or "pending").lower())
        except ValueError:
            return JobState.PENDING

    @classmethod
    def parse(cls, body: dict[str, Any]) -> "IndexingJob":
        """Read a body from the API. Raises pydantic.ValidationError for one that the CRD should refuse."""
        return cls.model_validate(body)

    @classmethod
    def parse_stored(cls, body: dict[str, Any]) -> "IndexingJob":
        """Read a body also where its spec is one that this version refuses. Raises pydantic.ValidationError."""
        try:
            return cls.parse(body)
        except ValidationError:
            known = UnvalidatedJob.model_validate(body)
            return cls.model_construct(
                metadata=known.metadata, spec=IndexingJobSpec.stored(known.spec), status=known.status
            )


class UnvalidatedJob(BaseModel):
    """A custom resource whose spec is not validated."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    metadata: Metadata
    spec: dict[str, Any] = {}
    status: IndexingJobStatus = IndexingJobStatus()


def problem_of(error: ValidationError) -> str:
    """Return a sentence on what is wrong with a spec. The value itself is not repeated: it may hold anything."""
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(["spec", *(str(part) for part in first["loc"])])
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return f"{where} {first['msg'].removeprefix('Value error, ')}{more}"
