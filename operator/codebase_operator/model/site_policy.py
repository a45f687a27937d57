"""What a site sets for its jobs: deadlines, resources, embedding providers, queue length, pod timeouts. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Final, get_args

from codebase_index.api.job import ErrorType
from codebase_index.api.resource import EmbeddingSpec, IndexingJobSpec
from codebase_operator.model.pod_timeouts import DEFAULT_TIMEOUTS, PodTimeouts
from codebase_operator.model.quantities import number

PROVIDERS: Final[tuple[str, ...]] = get_args(EmbeddingSpec.model_fields["provider"].annotation)
"""Every embedding provider that there is."""


@dataclass(frozen=True)
class Violation:
    """A limit that a job violates: the error type and message that end it."""

    error: ErrorType
    message: str


@dataclass(frozen=True)
class SitePolicy:
    """The limits. A deadline or maximum of None: there is none."""

    start_deadline: timedelta | None = timedelta(minutes=10)
    """How long a job may hold a slot before a pod takes it: what Kubernetes gives a Deployment's progress."""
    blocked_deadline: timedelta | None = timedelta(hours=1)
    """How long a job may hold a slot while it waits for the embedding service."""
    max_cpu: str | None = None
    max_memory: str | None = None
    providers: frozenset[str] = frozenset(PROVIDERS)
    max_waiting: int | None = 500
    """How many jobs may wait for a slot. Jobs beyond it are not in the queue yet, and cost nothing."""
    pod_timeouts: PodTimeouts = DEFAULT_TIMEOUTS

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> "SitePolicy":
        """Read CODEBASE_START_DEADLINE_SECONDS, _BLOCKED_DEADLINE_SECONDS, _MAX_WAITING_JOBS (0: none), _MAX_CPU,
        _MAX_MEMORY, _EMBEDDING_PROVIDERS (comma-separated), and _POD_TIMEOUTS (a JSON object).

        Raises ValueError, which names the variable.
        """
        providers = frozenset(_split(env.get("CODEBASE_EMBEDDING_PROVIDERS") or ",".join(PROVIDERS)))
        if unknown := providers - frozenset(PROVIDERS):
            raise ValueError(f"CODEBASE_EMBEDDING_PROVIDERS holds {min(unknown)!r}; there are {_join(PROVIDERS)}")
        return cls(
            _deadline(env, "CODEBASE_START_DEADLINE_SECONDS", cls.start_deadline),
            _deadline(env, "CODEBASE_BLOCKED_DEADLINE_SECONDS", cls.blocked_deadline),
            _quantity(env, "CODEBASE_MAX_CPU"), _quantity(env, "CODEBASE_MAX_MEMORY"), providers,
            _integer(env, "CODEBASE_MAX_WAITING_JOBS", cls.max_waiting, "number"), _pod_timeouts(env),
        )  # fmt: skip

    def violation_of(self, spec: IndexingJobSpec) -> Violation | None:
        """Return the limit that keeps a job from ever starting here, or None."""
        provider, asked = spec.embedding.provider, spec.resources
        if provider not in self.providers:
            return Violation(
                ErrorType.EMBEDDING_REFUSED,
                f"spec.embedding.provider {provider} is not allowed here: choose {_join(self.providers)}, or "
                "have it added to embedding.providers in the chart",
            )
        for what, wanted, most in (
            ("cpu", asked and asked.cpu, self.max_cpu), ("memory", asked and asked.memory, self.max_memory),
        ):  # fmt: skip
            if wanted and most and number(wanted) > number(most):
                return Violation(
                    ErrorType.RESOURCES_REFUSED,
                    f"spec.resources.{what} {wanted} is more than the {most} that this site allows: ask for less, "
                    f"or have limits.max{what.capitalize()} raised in the chart",
                )
        return None

    @property
    def memory_limit(self) -> Decimal | None:
        """The maximum of memory in bytes."""
        return number(self.max_memory) if self.max_memory else None


def _split(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _join(providers: Mapping[str, object] | frozenset[str] | tuple[str, ...]) -> str:
    return ", ".join(name for name in PROVIDERS if name in providers)


def _deadline(env: Mapping[str, str], name: str, default: timedelta | None) -> timedelta | None:
    if not env.get(name):
        return default
    seconds = _integer(env, name, None, "number of seconds")
    return timedelta(seconds=seconds) if seconds else None


def _integer(env: Mapping[str, str], name: str, default: int | None, what: str) -> int | None:
    text = env.get(name)
    if not text:
        return default
    if not text.isdecimal():
        raise ValueError(f"{name} must be a whole {what}, not {text!r}")
    return int(text) or None


def _pod_timeouts(env: Mapping[str, str]) -> PodTimeouts:
    try:
        return PodTimeouts.parse(env.get("CODEBASE_POD_TIMEOUTS", ""))
    except ValueError as error:
        raise ValueError(f"CODEBASE_POD_TIMEOUTS is not usable: {error}") from error


def _quantity(env: Mapping[str, str], name: str) -> str | None:
    text = env.get(name) or None
    if text:
        try:
            number(text)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
    return text
