"""A program in a pod is reached by every address of it."""

import socket
from collections.abc import Callable
from functools import partial

import pytest

from codebase_index.listening import listen_everywhere, listen_on
from codebase_operator.app import liveness_endpoint


def is_reached(address: str, port: int) -> bool:
    try:
        with socket.create_connection((address, port), timeout=30):
            return True
    except OSError:
        return False


def test_addresses_of_both_families_are_listened_on() -> None:
    with listen_everywhere(0) as listening:
        port = listening.getsockname()[1]
        assert is_reached("127.0.0.1", port)
        assert is_reached("::1", port) == socket.has_dualstack_ipv6()


def test_without_ipv6_it_is_ipv4(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "has_dualstack_ipv6", lambda: False)
    with listen_everywhere(0) as listening:
        assert listening.family == socket.AF_INET
        assert is_reached("127.0.0.1", listening.getsockname()[1])


@pytest.mark.parametrize("listen", [listen_everywhere, partial(listen_on, "127.0.0.1")])
def test_a_connection_sends_what_is_written_at_once(listen: Callable[[int], socket.socket]) -> None:
    """An answer is a head and a body: the body waited for the client to acknowledge the head, 40 ms later."""
    with listen(0) as listening, socket.create_connection(("127.0.0.1", listening.getsockname()[1]), timeout=30):
        accepted, _ = listening.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@pytest.mark.parametrize(("env", "endpoint"), [
    ({}, "http://0.0.0.0:8080/healthz"),
    ({"CODEBASE_POD_IP": "10.0.0.7"}, "http://0.0.0.0:8080/healthz"),
    ({"CODEBASE_POD_IP": "fd00::7"}, "http://[::]:8080/healthz"),
    ({"CODEBASE_POD_IP": "fd00::7", "CODEBASE_LIVENESS": "http://127.0.0.1:1/healthz"}, "http://127.0.0.1:1/healthz"),
])  # fmt: skip
def test_the_kubelet_reaches_the_operator_by_the_pods_first_address(env: dict[str, str], endpoint: str) -> None:
    assert liveness_endpoint(env) == endpoint
