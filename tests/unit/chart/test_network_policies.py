"""Network policies: what may speak to what is what the architecture's picture shows."""

from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from tests.unit.chart.rendering import PORTS, Object, every_case, of_kind, pods, render, rendered


def selects(selector: Object, labels: Object) -> bool:
    return set(selector["matchLabels"].items()) <= set(labels.items())


@every_case
def test_every_selector_of_a_policy_or_service_finds_the_pods_it_means(case: str) -> None:
    objects = rendered(case)
    labels = {component: pod["metadata"]["labels"] for component, pod in pods(objects)}
    for service in of_kind(objects, "Service"):
        meant = service["metadata"]["labels"]["app.kubernetes.io/component"]
        found = [c for c, own in labels.items() if service["spec"]["selector"].items() <= own.items()]
        assert found == [meant]
    for policy in of_kind(objects, "NetworkPolicy"):
        meant = policy["metadata"]["labels"]["app.kubernetes.io/component"]
        found = [c for c, own in labels.items() if selects(policy["spec"]["podSelector"], own)]
        assert sorted(found) == (sorted(labels) if meant == "network" else [meant])


def reachable(policies: list[Object], source: Object, target: Object, port: Any) -> bool:
    """Whether policies let a pod with labels `source` reach `port` of one with labels `target`."""

    def allows(rule: Object, side: str, peer: Object) -> bool:
        ports = [entry["port"] for entry in rule.get("ports", [])]
        peers = [entry.get("podSelector") for entry in rule.get(side, [])]
        return (not ports or port in ports) and (
            side not in rule or any(p is not None and selects(p, peer) for p in peers)
        )

    def open_for(direction: str, own: Object, side: str, peer: Object) -> bool:
        matching = [p["spec"] for p in policies if selects(p["spec"]["podSelector"], own)]
        closing = [spec for spec in matching if direction in spec["policyTypes"]]
        return not closing or any(
            allows(rule, side, peer) for spec in closing for rule in spec.get(direction.lower(), [])
        )

    return open_for("Egress", source, "to", target) and open_for("Ingress", target, "from", source)


def test_policies_open_the_arrows_of_the_architecture_and_nothing_else() -> None:
    objects = rendered("default")
    policies = of_kind(objects, "NetworkPolicy")
    for policy in policies:  # container ports by name are those of the same number here
        for rule in policy["spec"].get("ingress", []):
            rule["ports"] = [{"port": PORTS[entry["port"]]} for entry in rule["ports"]]
    labels = {component: pod["metadata"]["labels"] for component, pod in pods(objects)}
    strangers = {"monitoring": {"app": "prometheus"}}
    open_arrows = {
        (source, target, port)
        for source, own in (labels | strangers).items()
        for target in labels
        for port in PORTS.values()
        if source != target and reachable(policies, own, labels[target], port)
    }
    assert open_arrows == {
        ("operator", "postgres", 5432), ("server", "postgres", 5432), ("indexer", "postgres", 5432),
        ("test", "server", 8080), ("monitoring", "server", 8080), ("monitoring", "operator", 9090),
        ("monitoring", "server", 8081),
    }  # fmt: skip


PORTS_NAMED: dict[str, tuple[Object, str, set[int]]] = {
    "a git host with a port": (
        {"repositories": {"gitHosts": ["git.invalid:8443", "ssh.invalid:2222", "git.invalid"]}},
        "indexer", {443, 22, 8443, 2222},
    ),
    "the same port twice": ({"repositories": {"gitHosts": ["git.invalid:443"]}}, "indexer", {443, 22}),
    "a proxy, for indexers": ({"proxy": {"https": "http://proxy.invalid:3128"}}, "indexer", {443, 22, 3128}),
    "a proxy, for the server": ({"proxy": {"https": "http://proxy.invalid:3128"}}, "server", {3128}),
    "a proxy with a password": ({"proxy": {"https": "http://a:b@proxy.invalid:3128/"}}, "server", {3128}),
    "a proxy at its default port": ({"proxy": {"https": "http://proxy.invalid"}}, "server", {80}),
    "a proxy by its IPv6 address": ({"proxy": {"https": "https://[2001:db8::1]"}}, "server", {443}),
    "an Ollama": ({"server": {"env": [{"name": "OLLAMA_URL", "value": "http://o:11434/"}]}}, "server", {11434}),
    "an Ollama of indexers": (
        {"indexer": {"env": [{"name": "OLLAMA_URL", "value": "http://o:11434"}]}}, "indexer", {443, 22, 11434},
    ),
    "an address from a Secret": (
        {"server": {"env": [{"name": "OPENAI_BASE_URL", "valueFrom": {"secretKeyRef": {"name": "a", "key": "b"}}},
                            {"name": "OTHER", "value": "http://x:99"}]}}, "server", set(),
    ),
    "an existing database": (
        {"database": {"existingSecret": "own"}, "networkPolicy": {"databasePort": 6432}}, "server", set(),
    ),
    "folders alone": ({"repositories": {"roots": [{"path": "/srv", "existingClaim": "a"}], "gitHosts": []}},
                      "indexer", set()),
}  # fmt: skip


@pytest.mark.parametrize("what", PORTS_NAMED)
def test_policies_open_the_ports_that_the_values_name(what: str) -> None:
    values, component, expected = PORTS_NAMED[what]
    database = values.get("networkPolicy", {}).get("databasePort", 5432)
    (policy,) = [p for p in of_kind(render(values), "NetworkPolicy") if p["metadata"]["name"].endswith(component)]
    opened = [[entry["port"] for entry in rule["ports"]] for rule in policy["spec"]["egress"]]
    assert [database] in opened
    others = [ports for ports in opened if ports not in ([53, 53, 5353, 5353], [database], [443, 6443])]
    assert sorted(port for ports in others for port in ports) == sorted(expected)


def allowed_at(values: Object, component: str, port: int, address: str) -> bool:
    """Whether a component may reach a port of an address outside of the cluster."""
    objects = render(values) if values else rendered("default")
    (policy,) = [p for p in of_kind(objects, "NetworkPolicy") if p["metadata"]["name"].endswith(component)]
    ip = ip_address(address)
    rules = [rule for rule in policy["spec"]["egress"] if port in [entry["port"] for entry in rule["ports"]]]
    blocks = [peer["ipBlock"] for rule in rules for peer in rule.get("to", []) if "ipBlock" in peer]
    return any("to" not in rule for rule in rules) or any(
        ip in ip_network(block["cidr"]) and not any(ip in ip_network(inner) for inner in block.get("except", []))
        for block in blocks
    )


@pytest.mark.parametrize("address", ["140.82.121.4", "2606:50c0:8000::153", "64:ff9b::8c52:7904"])
def test_indexers_reach_git_hosts_at_public_addresses(address: str) -> None:
    assert allowed_at({}, "indexer", 443, address)
    assert not allowed_at({}, "indexer", 80, address)


@pytest.mark.parametrize(
    "address",
    ["10.96.0.1", "172.31.255.1", "192.168.1.1", "169.254.169.254", "100.100.100.200", "127.0.0.1", "0.0.0.0",
     "224.0.0.1", "fd00:ec2::254", "fe80::1", "::1", "::ffff:10.0.0.1", "64:ff9b::a9fe:a9fe", "64:ff9b::a60:1",
     "64:ff9b::c0a8:101"],
)  # fmt: skip
def test_indexers_reach_no_private_link_local_or_service_address(address: str) -> None:
    assert not allowed_at({}, "indexer", 443, address)


def test_a_site_opens_the_networks_of_its_own_git_hosts_and_no_others() -> None:
    own: Object = {"networkPolicy": {"privateNetworks": ["10.20.0.0/16", "fd12::/16"]}}
    assert all(allowed_at(own, "indexer", 22, address) for address in ("10.20.3.4", "fd12::1"))
    assert not any(allowed_at(own, "indexer", 22, address) for address in ("10.21.0.1", "fd13::1"))


def test_services_that_the_values_name_are_reached_in_the_cluster_too_and_never_on_the_link() -> None:
    ollama = [{"name": "OLLAMA_URL", "value": "http://ollama.models.svc:11434"}]
    for component in ("indexer", "server"):
        values: Object = {component: {"env": ollama}}
        assert allowed_at(values, component, 11434, "10.96.7.7")
        assert not any(allowed_at(values, component, 11434, link) for link in ("169.254.169.254", "fe80::1"))


@pytest.mark.parametrize(
    ("values", "address", "allowed"),
    [({}, "8.8.8.8", False), ({}, "169.254.20.10", True), ({"networkPolicy": {"dns": []}}, "8.8.8.8", True),
     ({"networkPolicy": {"dns": [{"ipBlock": {"cidr": "10.0.0.2/32"}}]}}, "10.0.0.2", True)],
)  # fmt: skip
def test_names_are_looked_up_at_the_clusters_own_servers(values: Object, address: str, allowed: bool) -> None:
    parts = ("operator", "server", "indexer", "test")
    assert {allowed_at(values, part, 53, address) for part in parts} == {allowed}
