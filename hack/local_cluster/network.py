"""Network namespaces of the built-in cluster: nothing of it touches the host's own network.

Node 1 and the control plane share one namespace, in which an empty bridge holds the node's address
(this works where the kernel has no dummy device). Each further node has a namespace of its own,
joined to that bridge by a veth pair. They vanish with their namespaces.
"""

import json
from pathlib import Path

from .console import run, succeeds
from .paths import MAX_NODES, NAME

SERVICE_CIDR = "10.96.0.0/16"
API_SERVICE_ADDRESS = "10.96.0.1"
DNS_ADDRESS = "10.96.0.10"
POD_CIDR = "10.244.0.0/16"
API_PORT = 6443

_BRIDGE = "nodes0"

# Where packets are dropped while a node is cut off: before anything of the node sees what comes in, and after
# everything of it has seen what goes out. No other program of the cluster writes to these two chains.
_CUTS = ("--table raw {} PREROUTING --in-interface eth0", "--table mangle {} POSTROUTING --out-interface eth0")


def node_address(number: int) -> str:
    """The address of a node; node 1 is also where the API server listens."""
    return f"10.99.0.{number}"


def pod_cidr(number: int) -> str:
    """The addresses of the pods on one node."""
    return f"10.244.{number - 1}.0/24"


def netns(number: int) -> str:
    """The name of a node's network namespace."""
    return NAME if number == 1 else f"{NAME}-{number}"


def existing() -> list[str]:
    """Our network namespaces on this machine, from whichever checkout they come."""
    names = [netns(number) for number in range(1, MAX_NODES + 1)]
    return [name for name in names if Path("/run/netns", name).exists()]


def ensure(nodes: int) -> None:
    """Create the namespaces, links and routes of `nodes` nodes; what is there already stays as it is."""
    for number in range(1, nodes + 1):
        name = netns(number)
        if name not in existing():
            run(["ip", "netns", "add", name])
        _ip(name, "link set lo up")
        if number == 1:
            _first_node(name)
        else:
            _further_node(number, name)
            reconnect(number)
        _forwarding(name)
    for number in range(1, nodes + 1):
        for other in range(1, nodes + 1):
            if other != number:
                _ip(netns(number), f"route replace {pod_cidr(other)} via {node_address(other)}")


def _first_node(name: str) -> None:
    if not _has_link(name, _BRIDGE):
        _ip(name, f"link add {_BRIDGE} type bridge")
    _ip(name, f"addr replace {node_address(1)}/24 dev {_BRIDGE}")
    _ip(name, f"link set {_BRIDGE} up")
    # Without any route to it, a service's address is refused before iptables can translate it.
    _ip(name, f"route replace default dev {_BRIDGE}")


def _further_node(number: int, name: str) -> None:
    first, link = netns(1), f"node{number}"
    if not _has_link(name, "eth0"):
        run(["ip", "link", "add", link, "netns", first, "type", "veth", "peer", "name", "eth0", "netns", name])
    _ip(first, f"link set {link} master {_BRIDGE} up")
    _ip(name, f"addr replace {node_address(number)}/24 dev eth0")
    _ip(name, "link set eth0 up")
    _ip(name, f"route replace default via {node_address(1)}")


def cut_off(number: int) -> None:
    """Cut a further node off from all others, in silence, until `reconnect`.

    The link stays up and addresses still resolve, so that nobody is refused and no connection is reset: packets
    are lost, as behind a switch that fails. What runs on the node goes on.
    """
    for rule in _CUTS:
        if not succeeds(_drop(number, rule, "--check")):
            run(_drop(number, rule, "--insert"))


def reconnect(number: int) -> None:
    """End what `cut_off` began; nothing happens to a node that is connected."""
    for rule in _CUTS:
        while succeeds(_drop(number, rule, "--delete")):
            pass


def _drop(number: int, rule: str, action: str) -> list[str]:
    inside = ["nsenter", f"--net=/run/netns/{netns(number)}", "iptables", "--wait"]
    return [*inside, *rule.format(action).split(), "--jump", "DROP"]


def _forwarding(name: str) -> None:
    inside = ["nsenter", f"--net=/run/netns/{name}", "sysctl", "-qw"]
    run([*inside, "net.ipv4.ip_forward=1"])
    # Absent where br_netfilter is not loaded; then bridged traffic skips iptables, which one node survives.
    succeeds([*inside, "net.bridge.bridge-nf-call-iptables=1"])


def _ip(name: str, arguments: str) -> str:
    return run(["ip", "-n", name, *arguments.split()])


def _has_link(name: str, link: str) -> bool:
    listed = json.loads(_ip(name, "-j link show") or "[]")
    return any(entry["ifname"] == link for entry in listed)


def remove(number: int | None = None) -> None:
    """Delete the namespace of a further node or all, and with them all links, routes and rules in them."""
    if number is not None and _has_link(netns(1), f"node{number}"):
        _ip(netns(1), f"link delete node{number}")  # the namespace itself ends some time after its deletion
    for name in existing():
        if number is None or name == netns(number):
            run(["ip", "netns", "delete", name])
