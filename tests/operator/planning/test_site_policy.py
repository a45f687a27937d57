"""What a site allows: read from the environment, and refused in sentences that name the setting."""

from datetime import timedelta

import pytest

from codebase_index.api.job import ErrorType
from codebase_index.api.resource import IndexingJobSpec
from codebase_operator.model.pod_timeouts import PodTimeouts
from codebase_operator.model.quantities import mebibytes, number
from codebase_operator.model.site_policy import PROVIDERS, SitePolicy


def spec(**more: object) -> IndexingJobSpec:
    return IndexingJobSpec.model_validate({"source": {"path": "/repositories/a"}, **more})


def test_nothing_set_is_the_defaults() -> None:
    assert SitePolicy.from_env({}) == SitePolicy()
    assert SitePolicy().providers == {"static", "sentence-transformers", "ollama", "openai"} == set(PROVIDERS)


def test_everything_can_be_set() -> None:
    env = {
        "CODEBASE_START_DEADLINE_SECONDS": "60", "CODEBASE_BLOCKED_DEADLINE_SECONDS": "0", "CODEBASE_MAX_CPU": "8",
        "CODEBASE_MAX_MEMORY": "16Gi", "CODEBASE_EMBEDDING_PROVIDERS": "static, ollama",
    }  # fmt: skip
    assert SitePolicy.from_env(env) == SitePolicy(
        timedelta(minutes=1), None, max_cpu="8", max_memory="16Gi", providers=frozenset({"static", "ollama"})
    )


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ({"CODEBASE_START_DEADLINE_SECONDS": "soon"}, "CODEBASE_START_DEADLINE_SECONDS must be a whole number"),
        ({"CODEBASE_MAX_MEMORY": "much"}, "CODEBASE_MAX_MEMORY: 'much' is not a quantity"),
        ({"CODEBASE_EMBEDDING_PROVIDERS": "exec"}, "holds 'exec'; there are static, sentence-transformers"),
        ({"CODEBASE_POD_TIMEOUTS": '{"heartbeatSeconds": 1}'}, "POD_TIMEOUTS.*heartbeatSeconds.*2 seconds"),
        ({"CODEBASE_POD_TIMEOUTS": '{"heartbeat_s": 5}'}, "POD_TIMEOUTS.*heartbeat_s"),
        ({"CODEBASE_POD_TIMEOUTS": "5 s"}, "CODEBASE_POD_TIMEOUTS is not usable"),
    ],
)
def test_what_makes_no_sense_is_named(env: dict[str, str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        SitePolicy.from_env(env)


@pytest.mark.parametrize(
    ("asked", "error", "said"),
    [
        (
            {"resources": {"cpu": "8001m"}},
            ErrorType.RESOURCES_REFUSED,
            "spec.resources.cpu 8001m is more than the 8 ",
        ),
        ({"resources": {"memory": "17Gi"}}, ErrorType.RESOURCES_REFUSED, "limits.maxMemory"),
        ({"embedding": {"provider": "openai"}}, ErrorType.EMBEDDING_REFUSED, "choose static, ollama, or"),
    ],
)
def test_more_than_allowed_is_refused_with_the_setting(
    asked: dict[str, object], error: ErrorType, said: str
) -> None:
    site = SitePolicy(max_cpu="8", max_memory="16Gi", providers=frozenset({"static", "ollama"}))
    violation = site.violation_of(spec(**asked))
    assert violation is not None and violation.error is error and said in violation.message


def test_the_maximum_itself_is_allowed() -> None:
    site = SitePolicy(max_cpu="8", max_memory="16Gi")
    assert site.violation_of(spec(resources={"cpu": "8000m", "memory": "16384Mi"})) is None


def test_without_maxima_anything_goes() -> None:
    assert SitePolicy().violation_of(spec(resources={"cpu": "999", "memory": "9999Gi"})) is None


@pytest.mark.parametrize(
    ("quantity", "value"),
    [("1500m", "1.5"), ("2", "2"), ("0.5", "0.5"), (".5", "0.5"), ("2Gi", str(2**31)), ("1k", "1000"),
     ("1e3", "1000"), ("3M", "3000000"), ("1Ti", str(2**40))],
)  # fmt: skip
def test_quantities_are_those_of_kubernetes(quantity: str, value: str) -> None:
    assert number(quantity) == number(value)


@pytest.mark.parametrize("quantity", ["", "-1", "2 Gi", "2gi", "1.2.3", "Gi"])
def test_what_is_no_quantity_is_refused(quantity: str) -> None:
    with pytest.raises(ValueError, match="is not a quantity"):
        number(quantity)


def test_memory_is_rounded_up() -> None:
    assert (mebibytes(1), mebibytes(2**20), mebibytes(2**20 + 1)) == ("1Mi", "1Mi", "2Mi")


def test_a_timeout_of_pods_may_be_set_and_the_others_keep_their_default() -> None:
    site = SitePolicy.from_env({"CODEBASE_POD_TIMEOUTS": '{"heartbeatSeconds": 6, "databaseReturnSeconds": 0.5}'})
    assert site.pod_timeouts == PodTimeouts(
        heartbeat=timedelta(seconds=6), database_return=timedelta(milliseconds=500)
    )


def test_every_timeout_of_pods_says_what_it_protects_from() -> None:
    assert all(field.description for field in PodTimeouts.model_fields.values())
