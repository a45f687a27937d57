"""The server's metrics: their labels are bounded, and the page names each."""

from pathlib import Path

import pytest

from codebase_mcp.metrics import REGISTRY, announce, count_refusal, watch_connections

PAGE = (Path(__file__).parents[3] / "docs" / "observability.md").read_text()


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"codebase_server_{name}", labels) or 0.0


def test_the_page_names_every_metric() -> None:
    for metric in REGISTRY.collect():
        suffix = "_total" if metric.type == "counter" else ""
        assert f"`{metric.name.removeprefix('codebase_server_')}{suffix}`" in PAGE, metric.name


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("validation: mode is 'x'", "validation"),
        ("queue is full: 20 of your jobs wait", "queue is full"),
        ("/srv/secret-project is not known", "other"),
        ("a name that a caller made up: nothing", "other"),
    ],
)
def test_refusals_are_counted_by_words_of_ours_alone(text: str, reason: str) -> None:
    before = value("refusals_total", tool="search_code", reason=reason)
    count_refusal("search_code", text)
    assert value("refusals_total", tool="search_code", reason=reason) == before + 1


def test_the_first_crash_and_the_first_refusals_of_a_tool_are_an_increase() -> None:
    announce("a_new_tool")
    for name, labels in (("calls_total", {"outcome": "crashed"}), ("refusals_total", {"reason": "busy"})):
        assert REGISTRY.get_sample_value(f"codebase_server_{name}", {"tool": "a_new_tool", **labels}) == 0


def test_connections_are_counted_when_somebody_asks() -> None:
    counts = {"idle": 3, "used": 1}
    watch_connections(lambda: counts["idle"], lambda: counts["used"])
    counts["used"] = 2
    assert (value("database_connections", state="idle"), value("database_connections", state="used")) == (3, 2)
