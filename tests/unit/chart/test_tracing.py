"""Where spans are sent: all three programs are told, and may."""

from tests.unit.chart.rendering import Object, named, pods, render, rendered

ENDPOINT = "http://otel.invalid:4318"
PROGRAMS = ("operator", "server", "indexer")


def variables(objects: list[Object]) -> dict[str, dict[str, Object]]:
    """Of each program, its variables of OpenTelemetry by their names."""
    containers = {component: pod["spec"]["containers"][0] for component, pod in pods(objects)}
    return {
        program: {e["name"]: e for e in containers[program]["env"] if e["name"].startswith("OTEL_")}
        for program in PROGRAMS
    }


def test_all_programs_are_told_the_collector_and_its_headers_are_in_a_secret() -> None:
    tracing = {"endpoint": ENDPOINT, "headersSecret": {"name": "otel", "key": "token"}}
    for found in variables(render({"tracing": tracing})).values():
        assert found["OTEL_EXPORTER_OTLP_ENDPOINT"]["value"] == ENDPOINT
        reference = found["OTEL_EXPORTER_OTLP_HEADERS"]["valueFrom"]["secretKeyRef"]
        assert reference == {"name": "otel", "key": "token"}
    for found in variables(render({"tracing": {"endpoint": ENDPOINT}})).values():
        assert list(found) == ["OTEL_EXPORTER_OTLP_ENDPOINT"]


def test_without_an_address_nothing_is_sent() -> None:
    headers = render({"tracing": {"headersSecret": {"name": "otel"}}})
    for objects in (rendered("generated password"), headers):
        assert all(found == {} for found in variables(objects).values())


def test_the_network_policies_let_all_programs_reach_the_collector() -> None:
    objects = render({"tracing": {"endpoint": ENDPOINT}})
    for program in PROGRAMS:
        policy = named(objects, "NetworkPolicy", f"rel-codebase-mcp-{program}")
        ports = [port["port"] for rule in policy["spec"]["egress"] for port in rule["ports"]]
        assert 4318 in ports, program


def test_the_operator_is_let_out_to_nothing_but_the_collector() -> None:
    """The proxy is for those that reach git hosts and embedding services."""
    before, after = (
        named(render(values), "NetworkPolicy", "rel-codebase-mcp-operator")["spec"]
        for values in ({}, {"proxy": {"https": "http://proxy.invalid:3128"}})
    )
    assert before == after
